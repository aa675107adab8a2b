"""Who runs a command, and the record of what it does."""

import getpass
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ittybatch.cli.output import errors
from ittybatch.engine.recording import Record, recorded
from ittybatch.errors import IttybatchError
from ittybatch.ledger import open_ledger
from ittybatch.ledger.actions import Asker, Via
from ittybatch.settings import Settings

_PATIENCE_S = 3.0


def operator() -> Asker:
    """Who runs this command: the user of the operating system, and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"user {os.getuid()}"
    return Asker(f"{user}@{socket.gethostname()}", Via.CLI)


@contextmanager
def recorded_if_possible(
    settings: Settings,
    action: str,
    *,
    batch: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Iterator[Record]:
    """Record a command that needs no ledger; without one it is run anyway.

    Args:
        settings: The address of the ledger.
        action: What the command does.
        batch: The batch that it is about.
        details: What it is asked for in detail, by name.
    """
    try:
        ledger = open_ledger(settings, patience_s=_PATIENCE_S)
    except IttybatchError as error:
        errors.print(f"This is not among the recorded actions: {error}", markup=False)
        yield Record(None)
        return
    with recorded(ledger, operator(), action, batch=batch, details=details) as record:
        yield record
