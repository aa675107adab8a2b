"""The Prefect flows: a batch, its chunks, and maintenance."""
