"""Looking at volumes: the Neuroglancer page, and pictures of it."""
