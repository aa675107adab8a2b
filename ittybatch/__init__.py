"""Push whole media libraries through Ittybit with Prefect. From Python: `ittybatch.api`."""

__version__ = "0.4.0"
