"""volumekit measured against its peers."""
