"""Prefect's pages, as people use them: in a real browser."""
