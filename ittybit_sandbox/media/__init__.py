"""Media: download, probe, encode and store."""
