"""Which jobs of earlier batches are made again: by batch, state, reason and time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.control import cancel_batch
from ittybatch.ledger.models import Job
from ittybatch.ledger.quarantine import HeldFilter, find_held
from ittybatch.ledger.recorded import ledger_time
from ittybatch.ledger.retrying import RetryFilter, batches_with, count_ended, ended_jobs
from ittybatch.ledger.settlement import settle
from tests.ledger import library
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


def test_what_was_recorded_later_can_be_left_out(ledger: Ledger) -> None:
    """Whatever Ittybit's clock says of it; a job that was cancelled between attempts ended then."""
    chunk, _ = library.submitted(ledger, *(library.job(f"in/{name}") for name in "abc"))
    early = library.failed("task-0", "invalid_input", "x")
    ledger.write(settle, [replace(early, finished_at=datetime.now(UTC) + timedelta(days=1))])
    ledger.write(settle, [library.failed("task-2")])  # will be sent again
    before = ledger.read(ledger_time)
    ledger.write(settle, [library.failed("task-1", "invalid_input", "x")])
    batch = library.place(ledger, chunk).batch_id
    ledger.write(cancel_batch, batch, "enough")
    states = ["failed", "cancelled"]
    assert found(ledger, states=states) == ["in/a", "in/b", "in/c"]
    assert found(ledger, states=states, recorded_before=before) == ["in/a"]
    wanted = HeldFilter(recorded_before=before)
    assert [each.input for each in ledger.read(find_held, wanted, limit=9)] == ["s3://media/in/a"]


def test_jobs_are_found_by_a_reason_that_numbers_and_names_hide(ledger: Ledger) -> None:
    """Also behind a whole page of jobs with the same words in another reason."""
    first = scan(ledger, 1, *"abcdef", state="failed")
    for key in "abc":
        ledger.write(_because, key, "fetch", f"could not fetch s3://in/{key}1: HTTP 501", 1)
    ledger.write(_because, "d", "fetch", "could not fetch s3://in/d: HTTP 404", 1)
    ledger.write(_because, "e", "fetch", "could not\nfetch https://in.test/e?x=1: HTTP 404", 1)
    ledger.write(_because, "f", "100%_fetch", "", 1)
    wanted = RetryFilter(first, ["failed"], alike="could not fetch …: HTTP 404")
    keys, after = [], 0
    while ended := ledger.read(ended_jobs, wanted, after=after, limit=2):
        keys += [each.item.key for each in ended]
        after = ended[-1].id
    assert keys == ["in/d", "in/e"]
    assert ledger.read(count_ended, wanted) == {"image": 2}
    assert found(ledger, alike="could not fetch s3://other/z: HTTP 501") == ["in/a", "in/b", "in/c"]
    assert found(ledger, alike="100%_fetch") == ["in/f"]
    assert found(ledger, alike="100%xfetch") == []


def test_what_a_later_batch_has_taken_up_can_be_left_out(ledger: Ledger) -> None:
    """Unless that batch was cancelled before it sent them."""
    first = scan(ledger, 1, "a", "b", state="failed")
    second = scan(ledger, 2, "a", state="failed")
    assert found(ledger, batch=first, skip_retried=True) == ["in/b"]
    assert found(ledger, batch=second, skip_retried=True) == ["in/a"]
    assert ledger.read(count_ended, RetryFilter(first, ["failed"])) == {"image": 2}
    third = scan(ledger, 3, "b", state="cancelled")
    assert found(ledger, batch=first, skip_retried=True) == ["in/b"]
    assert ledger.read(count_ended, RetryFilter(third, ["failed"], skip_retried=True)) == {}
