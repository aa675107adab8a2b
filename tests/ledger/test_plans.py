"""No statement of everyday work reads through a table that grows for ever."""

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select, text

from bench.full import fill
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.batches import end_batch, read_batch
from ittybatch.ledger.brakes import hold_if_alike
from ittybatch.ledger.chunks import finish_chunk, release_chunks
from ittybatch.ledger.counters import recount, recount_all
from ittybatch.ledger.identity import owned_chunk
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.models import Base, Chunk, Job
from ittybatch.ledger.overdue import expired_jobs, note_polled, overdue_jobs
from ittybatch.ledger.pending import job_bodies, mark, pending_page, retry_refused
from ittybatch.ledger.plan import PlannedItem
from ittybatch.ledger.progress import batch_progress
from ittybatch.ledger.pulse import ended_lately, pulse
from ittybatch.ledger.quarantine import held_jobs, release
from ittybatch.ledger.queries import (
    batch_status,
    batch_statuses,
    ended_per_minute,
    past_durations,
)
from ittybatch.ledger.retention import tidy
from ittybatch.ledger.runs import (
    note_call,
    ready_runs,
    silent_runs,
    suspended_runs,
    unbound_runs,
    waiting_runs,
    wake_settled,
)
from ittybatch.ledger.same_object import same_jobs
from ittybatch.ledger.search import JobSearch, search_jobs
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.shares import count_shares
from ittybatch.ledger.sinks import DeclaredSink, sink_statuses, sinks_due, sync_sinks
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import (
    Accepted,
    claim_due,
    record_accepted,
    return_unsent,
    unanswered,
)
from ittybatch.ledger.timeline import item_history
from ittybatch.ledger.watch import read_watch
from ittybatch.profiles import Item
from tests.ledger import library
from tests.ledger.plans import GROWING, scans, statements_of, told

JOBS = 20_000
Work = Callable[[], object]


def _analyse(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("ANALYZE"))


def _sizes(ledger: Ledger) -> dict[str, int]:
    def count(tx: Transaction, name: str) -> int:
        return int(tx.execute(select(func.count()).select_from(table(name))).scalar_one())

    table = Base.metadata.tables.__getitem__
    return {name: ledger.read(count, name) for name in GROWING}


@pytest.fixture
def busy(ledger: Ledger) -> tuple[Ledger, str, int]:
    """A ledger with many ended batches and one that is under way: its id, and a chunk of it."""
    fill(ledger, JOBS, chunk_items=5, batch_jobs=JOBS // 4)
    jobs = [library.job(f"{number:03}.mov") for number in range(200)]
    batch = library.planned_batch(ledger, *jobs, chunk_size=50)
    chunk = library.released_chunk(ledger, batch)
    for _ in range(2):
        library.released_chunk(ledger, batch)
    ledger.write(sync_sinks, [DeclaredSink("table", "sql", on_accepted=True)])
    _analyse(ledger)
    return ledger, batch, chunk


def test_no_everyday_statement_reads_through_a_table_that_grows(
    busy: tuple[Ledger, str, int],
) -> None:
    """Of webhooks, legs, reconcile, recount, quarantine, waking, metrics, sinks and tidying."""
    ledger, batch, chunk = busy
    sent = ledger.write(claim_due, chunk, 40)
    by_task = {f"task-{each.job_id}": each for each in sent}

    def accept() -> None:
        answers = [Accepted(each.job_id, 1, task) for task, each in by_task.items()]
        ledger.write(record_accepted, answers[:30])

    def webhooks() -> None:
        tasks = [*by_task][:10]
        arrivals = [Arrival(task.encode(), library.remote(task)) for task in tasks]
        marked = library.remote("task-early", metadata=_marks(sent[35]))
        ledger.write(receive, [*arrivals, Arrival(b"early", marked)])
        ledger.write(receive, [Arrival(b"strange", library.remote("task-of-nobody"))])
        ledger.write(receive, [Arrival(b"failed", library.failed([*by_task][11]))])

    def bodies() -> None:
        ledger.read(lambda tx: job_bodies(tx, pending_page(tx, "table", 5).rows))

    def _marks(submission: object) -> dict[str, object]:
        job_key = getattr(submission, "job_key")  # noqa: B009  any submission
        return {"batch_id": batch, "job_id": job_key, "attempt": 1}

    objects = [
        PlannedItem(Item("s3://media/001.mov", fingerprint), [library.job("001.mov")])
        for fingerprint in ("an ETag", None)
    ]
    work: dict[str, Work] = {
        "accept": accept,
        "webhooks": webhooks,
        "claim": lambda: ledger.write(claim_due, chunk, 5),
        "unanswered": lambda: ledger.read(unanswered, chunk),
        "return": lambda: ledger.write(return_unsent, [(sent[39].job_id, 1)], 0),
        "recount all": lambda: list(recount_all(ledger)),
        "recount": lambda: ledger.write(recount, batch),
        "overdue": lambda: ledger.read(overdue_jobs, silent_s=0, limit=20),
        "overdue of a chunk": lambda: ledger.read(overdue_jobs, silent_s=0, chunk=chunk, limit=20),
        "expired": lambda: ledger.read(expired_jobs, batch),
        "polled": lambda: ledger.write(note_polled, [each.job_id for each in sent]),
        "settle": lambda: ledger.write(settle, [library.remote([*by_task][20])]),
        "expire": lambda: ledger.write(expire, sent[21].job_id),
        "quarantine": lambda: ledger.read(held_jobs, limit=20),
        "quarantine of a batch": lambda: ledger.read(held_jobs, batch=batch, limit=20),
        "quarantine by input": lambda: ledger.read(held_jobs, input_prefix="s3://media/", limit=5),
        "release from quarantine": lambda: release(ledger, input_prefix="s3://nowhere/"),
        "ready": lambda: ledger.read(ready_runs),
        "silent": lambda: ledger.read(silent_runs, 60),
        "unbound": lambda: ledger.read(unbound_runs, 5),
        "waiting": lambda: ledger.read(waiting_runs, batches_only=True),
        "suspended": lambda: ledger.read(suspended_runs),
        "same object": lambda: ledger.read(same_jobs, [(each, False) for each in objects]),
        "call": lambda: ledger.write(note_call, [f"chunk:{chunk}"]),
        "wake": lambda: ledger.write(wake_settled, [chunk]),
        "metrics": lambda: ledger.read(read_watch),
        "status": lambda: ledger.read(batch_status, batch),
        "release chunks": lambda: ledger.write(release_chunks, batch, 10, 1000),
        "finish chunk": lambda: ledger.write(finish_chunk, chunk),
        "alike": lambda: ledger.write(hold_if_alike, batch),
        "speed": lambda: ledger.read(ended_per_minute, batch),
        "durations": lambda: ledger.read(past_durations),
        "end": lambda: ledger.write(end_batch, batch),
        "sinks due": lambda: ledger.read(sinks_due, "me"),
        "results": lambda: ledger.read(pending_page, "table", 5, except_jobs=[1, 2]),
        "bodies": bodies,
        "delivered": lambda: ledger.write(mark, "table", [1, 2], [(3, "refused")]),
        "sinks": lambda: ledger.read(sink_statuses),
        "retry sinks": lambda: retry_refused(ledger),
        "tidy": lambda: tidy(ledger, older_than=timedelta(days=400)),
    }
    sizes = _sizes(ledger)
    faults: dict[str, list[str]] = defaultdict(list)
    for name, each in work.items():
        for statement in statements_of(ledger, each):
            faults[name] += [
                f"{fault}: {statement[0]}" for fault in scans(ledger, statement, sizes)
            ]
    assert not any(faults.values()), told({name: each for name, each in faults.items() if each})


def test_no_statement_of_the_page_reads_through_a_table_that_grows(
    busy: tuple[Ledger, str, int],
) -> None:
    """Batches, renditions, the pulse, jobs and items. A day of minutes is read as a whole."""
    ledger, batch, chunk = busy
    ended = ledger.read(lambda tx: tx.rows(select(Chunk.batch_id, Chunk.id).limit(1)))[0]
    ledger.write(count_shares, [ended.id])
    _analyse(ledger)
    columns = (Job.id, Job.item_number, Job.job_key)
    job, item, key = ledger.read(
        lambda tx: tx.rows(select(*columns).where(Job.chunk_id == chunk).limit(1))
    )[0]
    searches = [
        JobSearch(ended.batch_id),
        JobSearch(ended.batch_id, states=[JobState.FAILED]),
        JobSearch(states=[JobState.PLANNED], rendition="sd"),
        JobSearch(text="task_100000000007"),
        JobSearch(text=str(job)),
        JobSearch(text=key),
        JobSearch(text="s3://media/001.mov"),
    ]
    work: dict[str, Work] = {
        "progress": lambda: ledger.read(batch_progress, [batch]),
        "speeds": lambda: ledger.read(ended_lately, [batch]),
        "pulse": lambda: ledger.read(pulse, timedelta(hours=1), batch=batch),
        "status": lambda: ledger.read(batch_statuses, [batch]),
        "item": lambda: ledger.read(item_history, chunk, item),
        "actions": lambda: ledger.read(recent_actions, batch=batch),
        "shares": lambda: ledger.write(count_shares, [chunk]),
        **{
            f"search {number}": partial(ledger.read, search_jobs, each, limit=20)
            for number, each in enumerate(searches)
        },
    }
    sizes = _sizes(ledger)
    faults = {
        name: [
            f"{fault}: {statement[0]}"
            for statement in statements_of(ledger, each)
            for fault in scans(ledger, statement, sizes)
        ]
        for name, each in work.items()
    }
    assert not any(faults.values()), told({name: each for name, each in faults.items() if each})


def test_a_scan_is_noticed(busy: tuple[Ledger, str, int]) -> None:
    """On both databases: what the test above relies on."""
    ledger, batch, _ = busy
    assert ledger.read(read_batch, batch).id == batch
    bad = select(func.count()).where(Chunk.sent == -1)
    [statement] = statements_of(ledger, lambda: ledger.read(lambda tx: tx.rows(bad)))
    assert list(scans(ledger, statement, _sizes(ledger)))
    jobs = text("SELECT count(*) FROM jobs WHERE rendition = 'none'")
    [statement] = statements_of(ledger, lambda: ledger.read(lambda tx: tx.rows(jobs)))
    assert list(scans(ledger, statement, _sizes(ledger)))
    assert owned_chunk("batch:x") is None
