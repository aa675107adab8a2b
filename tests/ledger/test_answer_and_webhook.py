"""A job's webhook arrives while the answer to its submission is being recorded."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.states import Verdict
from ittybatch.ledger.submission import Accepted, Submission, record_accepted
from tests.ledger import library

PATIENCE_S = 20
_WAITERS = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def marks(sent: Submission) -> dict[str, object]:
    return {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": sent.attempt}


def test_a_webhook_that_waits_for_the_answer_to_commit_is_applied(postgres_url: str) -> None:
    """The answer does not see the webhook yet, so the webhook must see the answer."""
    ledger = Ledger(create_ledger_engine(postgres_url), patience_s=5)
    _, (sent,) = library.claimed(ledger, library.job("a.mov"))
    answered, webhook_waits = threading.Event(), threading.Event()

    def answer(transaction: Transaction) -> None:
        early = record_accepted(transaction, [Accepted(sent.job_id, sent.attempt, "task-0")])
        assert early == []
        answered.set()
        assert webhook_waits.wait(PATIENCE_S)

    def webhook() -> list[Verdict]:
        told = library.remote("task-0", metadata=marks(sent))
        return ledger.write(receive, [Arrival(b"{}", told)])

    with ThreadPoolExecutor(2) as pool:
        recorded = pool.submit(ledger.write, answer)
        assert answered.wait(PATIENCE_S)
        received = pool.submit(webhook)
        deadline = time.monotonic() + PATIENCE_S
        while not ledger.read(lambda found: found.execute(_WAITERS).scalar_one()):
            assert time.monotonic() < deadline
        webhook_waits.set()
        recorded.result(PATIENCE_S)
        assert received.result(PATIENCE_S) == [Verdict.APPLIED]
    assert library.rows(ledger, sent.batch_id)[0].state == "succeeded"
    ledger.close()
