"""Which jobs of earlier batches are made again: by batch, state, reason and time."""

from datetime import timedelta
from typing import Any

from sqlalchemy import update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.models import Job
from ittybatch.ledger.retrying import RetryFilter, batches_with, ended_jobs
from tests.ledger.test_scans import NIGHT, scan


def found(ledger: Ledger, **wanted: Any) -> list[str]:  # noqa: ANN401 - any field
    meant = RetryFilter(**{"batch": None, "states": ["failed"], **wanted})
    return [each.item.key for each in ledger.read(ended_jobs, meant, after=0, limit=10)]


def _because(transaction: Transaction, key: str, kind: str, message: str, hours: int) -> None:
    transaction.execute(
        update(Job)
        .where(Job.job_key == key.ljust(32, "0"))
        .values(error_kind=kind, error_message=message, completed_at=NIGHT + timedelta(hours=hours))
    )


def test_jobs_are_found_by_batch_reason_and_time(ledger: Ledger) -> None:
    """In every batch where none is named; in any case, with percent signs as they are."""
    first = scan(ledger, 1, "a", "b", state="failed")
    second = scan(ledger, 2, "c", state="failed")
    scan(ledger, 3, "d", state="succeeded")
    ledger.write(_because, "a", "timeout", "took too long", 1)
    ledger.write(_because, "b", "encoder", "stopped at 100% by a TimeOut", 2)
    ledger.write(_because, "c", "encoder", "no video stream", 3)
    assert found(ledger) == ["in/a", "in/b", "in/c"]
    assert found(ledger, batch=first) == ["in/a", "in/b"]
    assert found(ledger, reason="timeout") == ["in/a", "in/b"]
    assert found(ledger, reason="100%") == ["in/b"]
    assert found(ledger, reason="_ideo") == []
    assert found(ledger, since=NIGHT + timedelta(hours=2)) == ["in/b", "in/c"]
    assert found(ledger, before=NIGHT + timedelta(hours=2)) == ["in/a"]
    [one, _] = ledger.read(ended_jobs, RetryFilter(first, ["failed"]), after=0, limit=10)
    assert found(ledger, batch=first, jobs=[one.id]) == [one.item.key]
    assert found(ledger, batch=second, jobs=[one.id]) == []
    meant = RetryFilter(None, ["failed"], reason="encoder")
    assert ledger.read(batches_with, meant) == sorted([first, second])
