"""Alembic revisions, one per file. Each file name starts with the number of the revision."""
