"""A ledger after many nights: batches that have ended, and one that is under way."""

from datetime import timedelta

from sqlalchemy import text

from bench.databases import released_chunks
from ittybatch.ledger import Ledger, Transaction

_BATCH_JOBS = 100_000
_FAILED_OF_100 = 2
# Other items than those of batches that are planned afterwards.
_FIRST = 1_000_000
_TASK = "'task_' || CAST(jobs.id + 100000000000 AS TEXT)"
_ERROR = "'input: track ' || (jobs.id % 7) || ' of ' || jobs.job_key || '.mov cannot be decoded'"
_OF_BATCH = "chunk_id IN (SELECT id FROM chunks WHERE batch_id = :batch)"
_BODY = '{"id": "task_100000000001", "object": "job", "kind": "video", "output": {}}' * 8
# What the product does job by job, for a whole batch at once.
_ENDING = (
    f"""
    INSERT INTO attempts (job_id, number, idempotency_key, state, task_id, sent_at, completed_at)
    SELECT id, 1, job_key, CASE WHEN {{failed}} THEN 'failed' ELSE 'succeeded' END, {_TASK},
        :began, :ended FROM jobs WHERE {_OF_BATCH}
    """,
    f"""
    INSERT INTO deliveries
        (task_id, digest, received_at, last_received_at, times, status, verdict, body)
    SELECT {_TASK}, job_key || job_key, :ended, :ended, 1, 'succeeded', 'applied', :body
    FROM jobs WHERE {_OF_BATCH}
    """,
    f"""
    UPDATE jobs SET state = CASE WHEN {{failed}} THEN 'failed' ELSE 'succeeded' END, attempt = 1,
        task_id = {_TASK}, submitted_at = :began, completed_at = :ended, deadline_at = :ended,
        error_kind = CASE WHEN {{failed}} THEN 'invalid_input' END,
        error_message = CASE WHEN {{failed}} THEN {_ERROR} END,
        output_url = 'https://store.ittybit.net/org_123/' || {_TASK} || '.mp4'
    WHERE {_OF_BATCH}
    """,
    """
    UPDATE chunks SET state = 'done', sent = planned, planned = 0, ended_at = :ended,
        failed = (SELECT count(*) FROM jobs WHERE chunk_id = chunks.id AND state = 'failed'),
        succeeded = (SELECT count(*) FROM jobs WHERE chunk_id = chunks.id AND state <> 'failed')
    WHERE batch_id = :batch
    """,
    "UPDATE runs SET state = 'ended' WHERE batch_id = :batch",
    """
    UPDATE batches SET state = 'some_failed', ended_at = :ended, scan_done = true
    WHERE id = :batch
    """,
)


def fill(ledger: Ledger, jobs: int, *, chunk_items: int, batch_jobs: int = _BATCH_JOBS) -> None:
    """Fill a ledger with batches that have ended: 2 of 100 jobs failed, and are held back."""
    for days, first in enumerate(range(0, jobs, batch_jobs), 2):
        released_chunks(
            ledger, min(jobs, batch_jobs), chunk_items=chunk_items, first_item=_FIRST + first
        )
        ledger.write(_end, days)
    with ledger.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("ANALYZE"))


def _end(transaction: Transaction, days: int) -> None:
    newest = "SELECT batch_id FROM chunks WHERE id = (SELECT max(id) FROM chunks)"
    [batch] = transaction.execute(text(newest)).one()
    ended = transaction.now - timedelta(days=days)
    values = {"batch": batch, "began": ended - timedelta(hours=1), "ended": ended}
    for statement in _ENDING:
        written = statement.format(failed=f"jobs.id % 100 < {_FAILED_OF_100}")
        if transaction.postgres is False:
            values |= {name: str(value)[:26] for name, value in values.items() if name != "batch"}
        used = {name: value for name, value in values.items() if f":{name}" in written}
        if ":body" in written:
            used["body"] = _BODY.encode()
        transaction.execute(text(written), used)
