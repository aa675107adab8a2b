"""Push whole media libraries through Ittybit with Prefect."""

__version__ = "0.1.0"
