"""`python -m tests.intake.dying MOMENT`: an intake that is killed as it takes one request.

Its settings come from the environment, as usual. It prints what it answers, if it comes so far.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, NoReturn

import pytest

from ittybatch.engine.sending import Sending
from ittybatch.intake import intake, sender
from ittybatch.ledger import Transaction, open_ledger
from ittybatch.ledger.intake import Order, Receipt, take
from ittybatch.ledger.submission import Submission
from ittybatch.settings import Settings
from tests.intake.harness import by_profile


class Moment(StrEnum):
    """When it is killed."""

    BEFORE_COMMIT = "before the request is in the ledger"
    DURING_COMMIT = "when every statement is done, and nothing is committed"
    AFTER_COMMIT = "after the commit, before anything is sent"
    WHILE_SENDING = "when Ittybit has some of the jobs, and nobody knows"
    BEFORE_RECORD = "when Ittybit has answered, before that is recorded"
    DURING_RECORD = "when every statement is done, and nothing is committed, of the record"
    AFTER_RECORD = "when all is in the ledger, before the caller has an answer"


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _doomed(moment: Moment) -> None:
    """Change the intake so that it dies at that moment."""
    patch = pytest.MonkeyPatch()
    match moment:
        case Moment.BEFORE_COMMIT | Moment.DURING_COMMIT:
            patch.setattr(intake, "take", _dying_take(moment))
        case Moment.AFTER_COMMIT:
            patch.setattr(sender.Sender, "send", lambda *_: _die())
        case Moment.WHILE_SENDING:
            patch.setattr(Sending, "task_of", _dying_task_of())
        case Moment.BEFORE_RECORD | Moment.DURING_RECORD:
            patch.setattr(sender, "_record", _dying_record(moment))
        case Moment.AFTER_RECORD:
            patch.setattr(sender.Sender, "_tell", lambda *_: _die())


def _dying_take(moment: Moment) -> Callable[..., Receipt]:
    def dying(transaction: Transaction, orders: Sequence[Order], **given: Any) -> Receipt:  # noqa: ANN401
        if moment is Moment.DURING_COMMIT:
            take(transaction, orders, **given)
        _die()

    return dying


def _dying_task_of() -> Callable[..., Awaitable[str]]:
    send = Sending.task_of
    sent = 0

    async def dying(self: Sending, submission: Submission, **given: Any) -> str:  # noqa: ANN401
        nonlocal sent
        task = await send(self, submission, **given)
        sent += 1
        if sent == 2:
            _die()
        return task

    return dying


def _dying_record(moment: Moment) -> Callable[..., None]:
    record = sender._record

    def dying(transaction: Transaction, group: sender._Group) -> None:
        if moment is Moment.DURING_RECORD:
            record(transaction, group)
        _die()

    return dying


async def _take(moment: Moment) -> None:
    _doomed(moment)
    settings = Settings()
    taker = intake.Intake(open_ledger(settings), settings)
    await taker.start()
    taken = await taker.take(
        by_profile("a.mov", idempotency_key="mine", body_digest="body"), answer_within_s=20
    )
    sys.stdout.write(str(taken))


if __name__ == "__main__":
    asyncio.run(_take(Moment(sys.argv[1])))
