"""`python -m tests.receiver.dying MOMENT`: a receiver that is killed as it keeps a webhook.

It prints the port that it listens on. Its settings come from the environment, as usual.
"""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import NoReturn

import pytest
import uvicorn

from ittybatch.ledger import Transaction
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.states import Verdict
from ittybatch.receiver import create_app, inbox
from ittybatch.receiver.serving import server_config
from ittybatch.settings import Settings


class Moment(StrEnum):
    """When it is killed."""

    BEFORE = "before its commit"
    DURING = "during its commit"
    AFTER = "after its commit"


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _doomed(moment: Moment) -> None:
    """Change the receiver so that it dies at its first webhook."""

    def before(_transaction: Transaction, _arrivals: Sequence[Arrival]) -> NoReturn:
        _die()

    def during(transaction: Transaction, arrivals: Sequence[Arrival]) -> NoReturn:
        # Every statement is done, and nothing is committed.
        receive(transaction, arrivals)
        _die()

    async def after(_inbox: inbox.Inbox, arrivals: Sequence[Arrival]) -> Sequence[Verdict]:
        await _inbox._ledger.write_from_loop(_inbox._thread, receive, arrivals)
        _die()

    patch = pytest.MonkeyPatch()
    if moment is Moment.AFTER:
        patch.setattr(inbox.Inbox, "_commit", after)
    else:
        patch.setattr(inbox, "receive", before if moment is Moment.BEFORE else during)


def main(moment: Moment) -> None:
    """Listen until the first webhook."""
    _doomed(moment)
    app = create_app(Settings(), waker=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        uvicorn.Server(server_config(app, host="127.0.0.1", port=port)).run([listener])


if __name__ == "__main__":
    main(Moment(sys.argv[1]))
