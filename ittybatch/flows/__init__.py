"""The story of a batch, in three flows."""
