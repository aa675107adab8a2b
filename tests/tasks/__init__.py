"""The steps of the flows."""
