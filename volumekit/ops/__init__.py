"""Volume in, volume out: convert, downsample, export."""
