"""One level of a dataset as one array, whatever its format and storage."""
