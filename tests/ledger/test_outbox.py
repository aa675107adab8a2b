"""The outbox: what sinks are to be told, in the transaction that makes it true."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select, update

from ittybatch.ittybit.job import JobStatus
from ittybatch.ittybit.marks import Mark, marked_metadata
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.control import cancel_batch
from ittybatch.ledger.models import Follower, Job, Outbox, Sink
from ittybatch.ledger.outbox import note_followed
from ittybatch.ledger.pending import PendingRow, mark, pending_page, retry_refused
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.sinks import (
    DeclaredSink,
    back_off,
    keep_leases,
    lease_sink,
    release_sinks,
    sink_statuses,
    sinks_due,
    sync_sinks,
)
from ittybatch.ledger.submission import Accepted, Refused, record_accepted, record_refused
from tests.ledger import library

TABLE = DeclaredSink("table", "sql")
LIVE = DeclaredSink("live", "http", on_accepted=True)


def _declare(ledger: Ledger, *sinks: DeclaredSink) -> None:
    ledger.write(sync_sinks, sinks)


def _pending(ledger: Ledger, sink: str = "table") -> list[PendingRow]:
    return list(ledger.read(pending_page, sink, 100).rows)


def _events(ledger: Ledger, sink: str = "table") -> list[tuple[str, str]]:
    return [(row.event, row.state) for row in _pending(ledger, sink)]


def _rows(ledger: Ledger) -> int:
    query = select(func.count()).select_from(Outbox)
    return int(ledger.read(lambda tx: tx.execute(query).scalar_one()))


def _follow(ledger: Ledger, job: int, metadata: str) -> None:
    def follow(transaction: Transaction) -> None:
        transaction.execute(select(Job.id).where(Job.id == job).with_for_update())
        made = transaction.execute(
            insert(Follower)
            .values(job_id=job, digest=metadata, user_metadata=metadata, created_at=transaction.now)
            .returning(Follower.id)
        ).scalar_one()
        note_followed(transaction, [made])

    ledger.write(follow)


def pass_deadlines(ledger: Ledger) -> None:
    """Let every deadline have passed."""
    ledger.write(
        lambda tx: tx.execute(update(Job).values(deadline_at=tx.now - timedelta(seconds=1)))
    )


def test_without_a_sink_nothing_is_written(ledger: Ledger) -> None:
    """A ledger whose user declares no sink does not grow."""
    library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.remote("task-0")])
    assert _rows(ledger) == 0


def test_each_active_sink_gets_a_job_that_ended(ledger: Ledger) -> None:
    """With everything that a sink needs."""
    _declare(ledger, TABLE, LIVE)
    library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.remote("task-0")])
    [row] = _pending(ledger)
    assert (row.event, row.state, row.task_id) == ("ended", "succeeded", "task-0")
    assert (row.uri, row.rendition, row.kind) == ("s3://media/a.mov", "sd", "video")
    assert (row.output_url, row.output_width) == ("https://cdn.test/out.mp4", 854)
    assert row.user_metadata == '{"show":"pilot"}'
    assert (row.attempts, row.follows) == (1, False)
    page = ledger.read(pending_page, "table", 10)
    assert page.batches[row.batch_id].profile == "test"
    assert not page.batches[row.batch_id].of_requests
    assert _events(ledger, "live") == [("accepted", "succeeded"), ("ended", "succeeded")]


def _fail_for_good(ledger: Ledger, _job: int) -> None:
    ledger.write(settle, [library.failed("task-0", "invalid_input", "could not decode")])


def _cancel_at_ittybit(ledger: Ledger, _job: int) -> None:
    ledger.write(settle, [library.remote("task-0", JobStatus.CANCELLED)])


def _let_it_expire(ledger: Ledger, job: int) -> None:
    pass_deadlines(ledger)
    assert ledger.write(expire, job)


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (_fail_for_good, "failed"),
        (_cancel_at_ittybit, "cancelled"),
        (_let_it_expire, "expired"),
    ],
)
def test_every_end_is_reported(
    ledger: Ledger, end: Callable[[Ledger, int], None], state: str
) -> None:
    """Not only successes."""
    _declare(ledger, TABLE)
    _, [sent] = library.submitted(ledger, library.job("a.mov", attempts=1))
    end(ledger, sent.job_id)
    assert _events(ledger) == [("ended", state)]


def test_a_failure_that_is_tried_again_is_no_end(ledger: Ledger) -> None:
    """The sink hears of the last attempt only."""
    _declare(ledger, TABLE)
    library.submitted(ledger, library.job("a.mov", attempts=2))
    ledger.write(settle, [library.failed("task-0")])
    assert _rows(ledger) == 0


def test_a_refused_submission_is_reported(ledger: Ledger) -> None:
    """It never had an id at Ittybit."""
    _declare(ledger, TABLE)
    _, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(record_refused, [Refused(sent.job_id, 1, "invalid_options", "no such width")])
    [row] = _pending(ledger)
    assert (row.state, row.task_id, row.error_message) == ("failed", None, "no such width")


def test_a_cancelled_batch_reports_its_unsent_jobs(ledger: Ledger) -> None:
    """Someone may wait for their results."""
    _declare(ledger, TABLE)
    batch = library.planned_batch(ledger, library.job("a.mov"), library.job("b.mov"))
    ledger.write(cancel_batch, batch, "Not needed.")
    assert _events(ledger) == [("ended", "cancelled")] * 2


def test_a_late_success_is_reported_after_the_expiry(ledger: Ledger) -> None:
    """A job that was given up and succeeds ends twice."""
    _declare(ledger, TABLE)
    _, [sent] = library.submitted(ledger, library.job("a.mov"))
    _let_it_expire(ledger, sent.job_id)
    ledger.write(settle, [library.remote("task-0")])
    assert _events(ledger) == [("ended", "succeeded")] * 2


def test_a_duplicate_webhook_reports_nothing(ledger: Ledger) -> None:
    """In one group and in the next."""
    _declare(ledger, TABLE)
    library.submitted(ledger, library.job("a.mov"))
    job = library.remote("task-0")
    ledger.write(settle, [job, job])
    ledger.write(settle, [job])
    assert _rows(ledger) == 1


def test_a_settlement_that_is_rolled_back_leaves_no_row(ledger: Ledger) -> None:
    """The row and the state that it reports are one commit."""
    _declare(ledger, TABLE)
    library.submitted(ledger, library.job("a.mov"))

    def settle_and_fail(transaction: Transaction) -> None:
        settle(transaction, [library.remote("task-0")])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.write(settle_and_fail)
    assert _rows(ledger) == 0


def test_acceptance_is_reported_before_the_end(ledger: Ledger) -> None:
    """To sinks that want it, once."""
    _declare(ledger, TABLE, LIVE)
    _, [sent] = library.submitted(ledger, library.job("a.mov"))
    assert _events(ledger, "live") == [("accepted", "submitted")]
    assert _events(ledger) == []
    ledger.write(record_accepted, [Accepted(sent.job_id, 1, "task-0")])
    assert len(_events(ledger, "live")) == 1, "recorded twice, reported once"


def test_a_job_that_ended_before_its_answer_is_not_reported_as_accepted(ledger: Ledger) -> None:
    """A webhook may overtake the response to the submission."""
    _declare(ledger, LIVE)
    _, [sent] = library.claimed(ledger, library.job("a.mov"))
    marked = marked_metadata(
        {},
        Mark(sent.batch_id, sent.job_key, 1),
        item=0,
        rendition="sd",
        bucket="media",
        key="a.mov",
    )
    ledger.write(settle, [library.remote("task-9", metadata=marked)])
    ledger.write(record_accepted, [Accepted(sent.job_id, 1, "task-9")])
    assert _events(ledger, "live") == [("ended", "succeeded")]


def test_followers_are_told_with_their_own_metadata(ledger: Ledger) -> None:
    """Two rows of a user's table may name the same upload."""
    _declare(ledger, TABLE)
    _, [sent] = library.submitted(ledger, library.job("a.mov"))
    _follow(ledger, sent.job_id, '{"row":2}')
    ledger.write(settle, [library.remote("task-0")])
    assert [(row.follows, row.user_metadata) for row in _pending(ledger)] == [
        (False, '{"show":"pilot"}'),
        (True, '{"row":2}'),
    ]


def test_a_follower_of_an_ended_job_is_told_at_once(ledger: Ledger) -> None:
    """What was made before is not made again, but its row is written."""
    _declare(ledger, TABLE)
    _, [sent] = library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.remote("task-0")])
    _follow(ledger, sent.job_id, '{"row":2}')
    assert [row.user_metadata for row in _pending(ledger)] == ['{"show":"pilot"}', '{"row":2}']


def test_a_follower_of_an_accepted_job_hears_that_it_is_processing(ledger: Ledger) -> None:
    """As the first request did."""
    _declare(ledger, LIVE)
    _, [sent] = library.submitted(ledger, library.job("a.mov"))
    _follow(ledger, sent.job_id, '{"row":2}')
    assert [(row.event, row.user_metadata) for row in _pending(ledger, "live")] == [
        ("accepted", '{"show":"pilot"}'),
        ("accepted", '{"row":2}'),
    ]
    ledger.write(settle, [library.remote("task-0")])
    assert [row.event for row in _pending(ledger, "live")][2:] == ["ended", "ended"]


def test_a_sink_that_is_no_longer_declared_gets_nothing_new(ledger: Ledger) -> None:
    """It keeps what waits for it, and continues once it is declared again."""
    _declare(ledger, TABLE)
    library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    ledger.write(settle, [library.remote("task-0")])
    _declare(ledger)
    ledger.write(settle, [library.remote("task-1")])
    [status] = ledger.read(sink_statuses)
    assert (status.active, status.pending) == (False, 1)
    assert ledger.read(sinks_due, "me") == []
    _declare(ledger, TABLE)
    assert ledger.read(sinks_due, "me") == ["table"]


def test_a_deployment_adds_sinks_and_ends_none(ledger: Ledger) -> None:
    """The machine that deploys may have another file than the receiver."""
    _declare(ledger, TABLE)
    ledger.write(sync_sinks, [LIVE], keep_others=True)
    assert [(each.name, each.active) for each in ledger.read(sink_statuses)] == [
        ("live", True),
        ("table", True),
    ]
    _declare(ledger, LIVE)
    assert [each.active for each in ledger.read(sink_statuses)] == [True, False]


def test_one_receiver_at_a_time_delivers_to_a_sink(ledger: Ledger) -> None:
    """Until it gives the sink back, or its lease runs out."""
    _declare(ledger, TABLE)
    library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.remote("task-0")])
    assert ledger.write(lease_sink, "table", "one", 15)
    assert not ledger.write(lease_sink, "table", "two", 15)
    assert ledger.read(sinks_due, "one") == ["table"]
    assert ledger.read(sinks_due, "two") == []
    assert ledger.write(keep_leases, ["table"], "two", 15) == []
    assert ledger.write(keep_leases, ["table"], "one", 15) == ["table"]
    ledger.write(release_sinks, "one")
    assert ledger.write(lease_sink, "table", "two", 15)
    ledger.write(
        lambda tx: tx.execute(update(Sink).values(lease_until=tx.now - timedelta(seconds=1)))
    )
    assert ledger.write(lease_sink, "table", "one", 15), "the other is lost"


def test_a_sink_that_backs_off_is_not_due(ledger: Ledger) -> None:
    """Nobody leases it before its time."""
    _declare(ledger, TABLE)
    library.submitted(ledger, library.job("a.mov"))
    ledger.write(settle, [library.remote("task-0")])
    ledger.write(back_off, "table", "Connection refused\x00", 60)
    assert ledger.read(sinks_due, "me") == []
    assert not ledger.write(lease_sink, "table", "me", 15)
    [status] = ledger.read(sink_statuses)
    assert (status.failures, status.last_error) == (1, "Connection refused")
    assert retry_refused(ledger) == 0
    assert ledger.read(sinks_due, "me") == ["table"], "a person asked for it"


def test_refused_rows_are_kept_and_sent_again(ledger: Ledger) -> None:
    """A person corrects the table first."""
    _declare(ledger, TABLE)
    library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    ledger.write(settle, [library.remote("task-0"), library.remote("task-1")])
    first, second = _pending(ledger)
    ledger.write(mark, "table", [first.id], [(second.id, "no column output_url")])
    [status] = ledger.read(sink_statuses)
    assert (status.pending, status.refused) == (0, 1)
    assert status.last_error == "no column output_url"
    assert retry_refused(ledger, "another") == 0
    assert retry_refused(ledger, "table") == 1
    assert [row.id for row in _pending(ledger)] == [second.id]


def test_a_refused_acceptance_is_not_sent_after_the_end(ledger: Ledger) -> None:
    """The user's row would go back from ready to processing."""
    _declare(ledger, LIVE)
    library.submitted(ledger, library.job("a.mov"))
    [accepted] = _pending(ledger, "live")
    ledger.write(mark, "live", [], [(accepted.id, "400")])
    ledger.write(settle, [library.remote("task-0")])
    [ended] = _pending(ledger, "live")
    ledger.write(mark, "live", [ended.id], [])
    assert retry_refused(ledger) == 0
    assert _pending(ledger, "live") == []
    [status] = ledger.read(sink_statuses)
    assert status.refused == 0
