"""Batches: opened or adopted, read, and ended."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select, update

from ittybatch.errors import IttybatchError
from ittybatch.ledger import identity
from ittybatch.ledger.counters import COLUMNS
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Run
from ittybatch.ledger.notices import Event, notify
from ittybatch.ledger.run_moves import new_run, wake
from ittybatch.ledger.states import (
    ENDED_BATCHES,
    BatchState,
    ChunkState,
    RunState,
)

# The number of the chunk that is released before the others, in a batch with a canary.
CANARY = 1
_ENDED = [state.value for state in ENDED_BATCHES]


class UnknownBatch(IttybatchError):
    """No batch in the ledger has this id."""


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch as a leg of `run_batch` reads it."""

    id: str
    name: str
    state: BatchState
    reason: str | None
    source: Mapping[str, Any]
    profile: Mapping[str, Any]
    options: Mapping[str, Any]
    scan_cursor: str | None
    scan_done: bool
    counts: Mapping[str, int]
    created_at: datetime
    begun_by: str | None


def open_batch(
    transaction: Transaction,
    *,
    flow_run_id: str | None,
    deployment_id: str | None,
    name: str,
    source: Mapping[str, Any],
    profile: Mapping[str, Any],
    options: Mapping[str, Any],
    why_ask: str | None = None,
    adopt: str | None = None,
) -> OpenBatch:
    """Adopt the batch of this flow run, or create it.

    A second leg, or a second process with the same flow run, gets the batch of the first.

    Args:
        transaction: The transaction to do it in.
        flow_run_id: Prefect's id of the run that plans, or None outside Prefect.
        deployment_id: Prefect's id of its deployment, or None for a direct call.
        name: The name that operators see beside the id.
        source: The source, as JSON.
        profile: The profile, as JSON: frozen for the whole life of the batch.
        options: The batch's options, as JSON.
        why_ask: Why the batch needs approval whatever it will have planned, or None.
        adopt: The batch that this run continues, whichever run it had before.

    Raises:
        UnknownBatch: when there is no batch to adopt.
    """
    known = known_batch(transaction, flow_run_id, adopt=adopt)
    if known is not None:
        return known
    now = transaction.now
    batch = identity.batch_id(now)
    transaction.execute(
        insert(Batch).values(
            id=batch,
            name=name,
            state=BatchState.PLANNING.value,
            source=dict(source),
            profile=dict(profile),
            options=dict(options),
            why_ask=why_ask,
            scan_done=False,
            counts={},
            created_at=now,
            begun_by=flow_run_id,
        )
    )
    new_run(
        transaction,
        identity.batch_owner(batch),
        batch,
        RunState.AWAKE,
        flow_run_id=flow_run_id,
        deployment_id=deployment_id,
    )
    return read_batch(transaction, batch)


def known_batch(
    transaction: Transaction, flow_run_id: str | None, *, adopt: str | None = None
) -> OpenBatch | None:
    """The batch that a flow run continues; None if it has to open one.

    Args:
        transaction: The transaction to look in.
        flow_run_id: Prefect's id of the run, or None outside Prefect.
        adopt: The batch that this run continues, whichever run it had before.

    Raises:
        UnknownBatch: when there is no batch to adopt.
    """
    if adopt is not None:
        return read_batch(transaction, adopt)
    if flow_run_id is None:
        return None
    found = transaction.rows(select(Run.batch_id).where(Run.flow_run_id == flow_run_id))
    return read_batch(transaction, found[0].batch_id) if found else None


def batch_names(transaction: Transaction, batches: Collection[str]) -> dict[str, str]:
    """The names of batches by id; unknown ids are left out."""
    query = select(Batch.id, Batch.name).where(Batch.id.in_(batches))
    return {row.id: row.name for row in transaction.rows(query)} if batches else {}


def read_batch(transaction: Transaction, batch: str) -> OpenBatch:
    """Read a batch.

    Raises:
        UnknownBatch: when no batch has this id.
    """
    rows = transaction.rows(select(*Batch.__table__.columns).where(Batch.id == batch))
    if not rows:
        raise UnknownBatch(
            f"There is no batch {batch!r} in the ledger.",
            remedy="`ittybatch status` lists the batches.",
        )
    row = rows[0]
    return OpenBatch(
        id=row.id,
        name=row.name,
        state=BatchState(row.state),
        reason=row.reason,
        source=row.source,
        profile=row.profile,
        options=row.options,
        scan_cursor=row.scan_cursor,
        scan_done=row.scan_done,
        counts=row.counts,
        created_at=row.created_at,
        begun_by=row.begun_by,
    )


def finish_planning(transaction: Transaction, batch: str, why_ask: str | None = None) -> OpenBatch:
    """Record that the source has been read to its end; the batch may release chunks.

    Args:
        transaction: The transaction to do it in.
        batch: The batch.
        why_ask: Why the batch needs approval first, or None: then the reason that it was opened
            with counts, whichever process finishes its plan.
    """
    if why_ask is None:
        why_ask = transaction.execute(select(Batch.why_ask).where(Batch.id == batch)).scalar()
    state = BatchState.UNAPPROVED if why_ask else BatchState.RUNNING
    changed = transaction.execute(
        update(Batch)
        .where(Batch.id == batch, Batch.state == BatchState.PLANNING.value)
        .values(state=state.value, reason=why_ask, why_ask=why_ask, scan_done=True)
    )
    planned = read_batch(transaction, batch)
    if changed.rowcount and planned.counts.get("jobs"):
        notify(transaction, Event.PLANNED, batch, counts=planned.counts)
        if why_ask:
            notify(transaction, Event.UNAPPROVED, batch, reason=why_ask, counts=planned.counts)
    return planned


def change_options(transaction: Transaction, batch: str, changes: Mapping[str, Any]) -> bool:
    """Change the options of a batch from now on.

    Args:
        transaction: The transaction to do it in.
        batch: The batch.
        changes: Options by name, as JSON; None resets one.

    Returns:
        False if the batch has ended: nothing is changed.
    """
    row = transaction.execute(
        select(Batch.state, Batch.options).where(Batch.id == batch).with_for_update()
    ).one()
    if BatchState(row.state).ended:
        return False
    merged = {**row.options, **changes}
    options = {name: value for name, value in merged.items() if value is not None}
    transaction.execute(update(Batch).where(Batch.id == batch).values(options=options))
    wake(transaction, Run.owner == identity.batch_owner(batch))
    return True


def end_batch(transaction: Transaction, batch: str) -> OpenBatch:
    """End a batch whose chunks are all done: all succeeded, or some failed."""
    unfinished = select(func.count()).where(
        Chunk.batch_id == batch, Chunk.state != ChunkState.DONE.value
    )
    # Requests may still add chunks to a batch that accepts them.
    running = (Batch.state == BatchState.RUNNING.value, Batch.accepts_until.is_(None))
    may_end = _lock(transaction, batch, *running)
    if may_end and transaction.execute(unfinished).scalar_one() == 0:
        # A job that was given up, or cancelled as unsent, may succeed at this moment. Settlement
        # locks its chunk: what came before this lock is counted, and what comes after it finds a
        # batch that has ended.
        transaction.execute(
            select(Chunk.id)
            .where(Chunk.batch_id == batch, Chunk.failed + Chunk.expired + Chunk.cancelled > 0)
            .order_by(Chunk.id)
            .with_for_update(read=True)
        )
        totals = job_totals(transaction, batch)
        bad = totals["failed"] + totals["cancelled"] + totals["expired"]
        state = BatchState.SOME_FAILED if bad else BatchState.SUCCEEDED
        transaction.execute(
            update(Batch)
            .where(Batch.id == batch)
            .values(state=state.value, ended_at=transaction.now)
        )
        # A queue is drained every few minutes: batches that found nothing are no news.
        if totals["jobs"]:
            notify(transaction, Event.ENDED, batch, state=state.value, counts=totals)
    return read_batch(transaction, batch)


def end_better(transaction: Transaction, batch: str) -> None:
    """Mark a batch as succeeded if its last given-up job succeeded after the batch ended.

    The caller has locked the job's chunk. The batch is locked only if it has ended: nothing that
    holds the lock of such a batch waits for a chunk.
    """
    # Of two jobs that succeed at once, in two chunks, the later one counts both.
    if not _lock(transaction, batch, Batch.state == BatchState.SOME_FAILED.value):
        return
    totals = job_totals(transaction, batch)
    if totals["succeeded"] == totals["jobs"]:
        transaction.execute(
            update(Batch).where(Batch.id == batch).values(state=BatchState.SUCCEEDED.value)
        )


def _lock(transaction: Transaction, batch: str, *which: ColumnElement[bool]) -> bool:
    """Lock a batch's row if it meets all conditions; whether it does.

    Rows that refer to the batch may be inserted meanwhile.
    """
    of_batch = select(Batch.id).where(Batch.id == batch, *which)
    return bool(transaction.rows(of_batch.with_for_update(key_share=True)))


def job_totals(transaction: Transaction, batch: str) -> dict[str, int]:
    """A batch's jobs by state, from the counters of its chunks, with `items` and `jobs`."""
    columns = [func.coalesce(func.sum(getattr(Chunk, name)), 0).label(name) for name in COLUMNS]
    row = transaction.execute(
        select(func.coalesce(func.sum(Chunk.items), 0).label("items"), *columns).where(
            Chunk.batch_id == batch
        )
    ).one()
    totals = {name: int(getattr(row, name)) for name in COLUMNS}
    return {"items": int(row.items), "jobs": sum(totals.values()), **totals}
