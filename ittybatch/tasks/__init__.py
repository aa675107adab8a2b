"""The steps of the flows, as Prefect tasks: one file for each step of a batch."""
