"""Uploads: from the announcement of a file to its jobs."""
