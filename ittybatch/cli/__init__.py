"""The command line."""

from ittybatch.cli.app import main

__all__ = ["main"]
