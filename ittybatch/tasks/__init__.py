"""The steps of the flows: one Prefect task, or a tight pair, a file."""
