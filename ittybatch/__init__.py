"""Push whole media libraries through Ittybit with Prefect."""

__version__ = "0.2.0"
