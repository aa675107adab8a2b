"""Settings of a soak: nobody's but its own, for every process that it starts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import OURS

DATABASES = ("sqlite", "postgres")


@contextmanager
def alone(folder: Path, database: str, settings: Mapping[str, str]) -> Iterator[None]:
    """Take everybody else's settings out of the environment for a block.

    Args:
        folder: Where a ledger on SQLite lies.
        database: What the ledger is on.
        settings: What is set in their place.
    """
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(settings)
    if database == "sqlite":
        os.environ["DATABASE_URL"] = f"sqlite:///{folder / 'ledger.db'}"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
