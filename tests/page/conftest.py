"""A receiver on each database in turn, with its page."""

from tests.receiver.conftest import receiver

__all__ = ["receiver"]
