"""The receiver is killed: what it has answered 200 is in the ledger, the rest is sent again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.states import JobState
from tests.ledger import library
from tests.receiver.dying import Moment
from tests.receiver.harness import SECRET, Running, deliveries, payload, running
from tests.soak.receiver import hammer


@contextmanager
def _doomed(moment: Moment, ledger_url: str) -> Iterator[Running]:
    """A receiver in a process of its own, which dies at its first webhook."""
    environment = {**os.environ, "DATABASE_URL": ledger_url, "ITTYBIT_WEBHOOK_SECRET": SECRET}
    command = [sys.executable, "-m", "tests.receiver.dying", moment]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield Running(int(process.stdout.readline()))
        assert process.wait(20) == -9


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.name.lower())
def test_a_webhook_during_which_the_receiver_dies_counts_once(
    ledger_url: str, ledger: Ledger, moment: Moment
) -> None:
    """No 200, so it is sent again; it is new to the next receiver only if it was not kept."""
    chunk, [sent] = library.submitted(ledger, library.job("a.mov"))
    with _doomed(moment, ledger_url) as up, pytest.raises(httpx.TransportError):
        up.post(payload("task-0"))
    was_kept = moment is Moment.AFTER
    [row] = library.rows(ledger, sent.batch_id)
    assert row.state is (JobState.SUCCEEDED if was_kept else JobState.SUBMITTED)
    assert len(deliveries(ledger)) == was_kept

    with running(ledger_url) as up:
        answer = up.post(payload("task-0"))
    assert (answer.status_code, answer.text) == (200, "duplicate" if was_kept else "applied")
    place = library.place(ledger, chunk)
    assert (place.succeeded, place.in_flight) == (1, 0)
    assert [(each.verdict, each.times) for each in deliveries(ledger)] == [
        ("applied", 1 + was_kept)
    ]


def test_under_load_nothing_that_was_answered_200_is_missing(ledger_url: str) -> None:
    """64 connections that never rest, and a SIGKILL in the middle."""
    seen = hammer(ledger_url, seconds=3, kills=1)
    assert seen.holds, seen.told()
    assert seen.kills == 1
    assert seen.broken > 0, "it was killed while it worked"
    assert seen.answered_after_a_kill > 0, "the next one went on"
    assert seen.kept >= seen.answered > seen.answered_after_a_kill
