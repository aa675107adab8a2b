"""Reads one item with all that the ledger knows of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Row, Select, func, select

from ittybatch.ledger.counters import attempts_of
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.history import (
    AttemptEvent,
    DeliveryEvent,
    ItemHistory,
    JobHistory,
    SameJob,
    SinkEvent,
)
from ittybatch.ledger.models import Attempt, Batch, Chunk, Delivery, Follower, Item, Job, Outbox
from ittybatch.ledger.outbox import OutboxEvent
from ittybatch.ledger.states import AttemptState, BatchState, JobState, Verdict

# An item has a job for each rendition, and a job a handful of attempts. More than these are
# somebody's test; a page of them would show nothing.
_MOST_JOBS = 200
_MOST_ROWS = 500


def item_of_job(transaction: Transaction, job: int) -> tuple[int, int] | None:
    """The item of a job, as the id of its chunk and its number; None if there is no such job."""
    rows = transaction.rows(select(Job.chunk_id, Job.item_number).where(Job.id == job))
    return (rows[0].chunk_id, rows[0].item_number) if rows else None


def item_history(transaction: Transaction, chunk: int, number: int) -> ItemHistory | None:
    """An item with its jobs and all that happened to them; None if there is no such item.

    Args:
        transaction: The transaction to look in.
        chunk: The id of its chunk.
        number: Its number in the batch.
    """
    found = transaction.rows(
        select(
            *Item.__table__.columns,
            Chunk.number.label("chunk_number"),
            Chunk.batch_id,
            Batch.name.label("batch_name"),
            Batch.state.label("batch_state"),
            Chunk.planned_at,
        )
        .join(Chunk, Chunk.id == Item.chunk_id)
        .join(Batch, Batch.id == Chunk.batch_id)
        .where(Item.chunk_id == chunk, Item.number == number)
    )
    if not found:
        return None
    values = found[0]._asdict()
    return ItemHistory(
        **{**values, "batch_state": BatchState(values["batch_state"])},
        jobs=_jobs(transaction, chunk, number),
    )


def delivery_body(transaction: Transaction, task_id: str, digest: str) -> bytes | None:
    """The body of a webhook as it came; None once it has been tidied away."""
    rows = transaction.rows(
        select(Delivery.body).where(Delivery.task_id == task_id, Delivery.digest == digest)
    )
    return bytes(rows[0].body) if rows else None


def poll_answer(transaction: Transaction, job: int) -> str | None:
    """The answer of the poll that reported a job's end, as JSON; None if a webhook reported it."""
    rows = transaction.rows(select(Job.outcome).where(Job.id == job))
    return rows[0].outcome if rows else None


def _jobs(transaction: Transaction, chunk: int, number: int) -> list[JobHistory]:
    rows = transaction.rows(
        select(
            *(getattr(Job, name) for name in _SAME_NAMES),
            Job.options,
            Job.user_metadata,
            Job.claim,
            Job.attempts.label("allowed"),
            attempts_of(Job).label("made"),
            Job.outcome.is_not(None).label("has_poll_answer"),
        )
        .where(Job.chunk_id == chunk, Job.item_number == number)
        .order_by(Job.id)
        .limit(_MOST_JOBS)
    )
    ids = [row.id for row in rows]
    attempts = _attempts(transaction, ids)
    tasks = {each.task_id for of_job in attempts.values() for each in of_job if each.task_id}
    deliveries = _deliveries(transaction, sorted(tasks))
    sinks = _sinks(transaction, ids)
    followers = _followers(transaction, ids)
    elsewhere = _elsewhere(transaction, {row.id: row.job_key for row in rows})
    return [
        JobHistory(
            **{name: getattr(row, name) for name in _SAME_NAMES if name != "state"},
            state=JobState(row.state),
            options=orjson.loads(row.options),
            metadata=orjson.loads(row.user_metadata),
            held_back=row.claim is not None and row.state in _ENDED_BADLY,
            made=max(0, row.made),
            allowed=row.allowed,
            has_poll_answer=bool(row.has_poll_answer),
            attempts=attempts[row.id],
            deliveries=[
                each
                for task in dict.fromkeys(attempt.task_id for attempt in attempts[row.id])
                for each in deliveries.get(task or "", ())
            ],
            sinks=sinks[row.id],
            followers=followers[row.id],
            elsewhere=elsewhere[row.job_key],
        )
        for row in rows
    ]


_ENDED_BADLY = (JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED)
_SAME_NAMES = (
    "id", "rendition", "kind", "destination", "job_key", "state", "not_before", "deadline_at",
    "polled_at", "task_id", "submitted_at", "completed_at", "error_kind", "error_message",
    "last_problem", "output_url", "output_format", "output_width", "output_height",
    "output_duration_s", "output_size_bytes",
)  # fmt: skip


def _newest(transaction: Transaction, query: Select[Any]) -> list[Row[Any]]:
    """The newest rows of a query that orders the newest first, in the order of time."""
    return transaction.rows(query.limit(_MOST_ROWS))[::-1]


def _attempts(transaction: Transaction, jobs: Sequence[int]) -> dict[int, list[AttemptEvent]]:
    found: dict[int, list[AttemptEvent]] = defaultdict(list)
    names = [name for name in AttemptEvent.__slots__ if name != "state"]
    query = (
        select(Attempt.job_id, Attempt.state, *(getattr(Attempt, name) for name in names))
        .where(Attempt.job_id.in_(jobs))
        .order_by(Attempt.number.desc(), Attempt.job_id.desc())
    )
    for row in _newest(transaction, query):
        values = {name: getattr(row, name) for name in names}
        found[row.job_id].append(AttemptEvent(state=AttemptState(row.state), **values))
    return found


def _deliveries(transaction: Transaction, tasks: Sequence[str]) -> dict[str, list[DeliveryEvent]]:
    found: dict[str, list[DeliveryEvent]] = defaultdict(list)
    query = (
        select(
            Delivery.task_id,
            Delivery.digest,
            Delivery.received_at,
            Delivery.last_received_at,
            Delivery.times,
            Delivery.status,
            Delivery.verdict,
            func.length(Delivery.body).label("size_bytes"),
        )
        .where(Delivery.task_id.in_(tasks))
        .order_by(Delivery.received_at.desc(), Delivery.digest)
    )
    for row in _newest(transaction, query):
        event = DeliveryEvent(**{**row._asdict(), "verdict": Verdict(row.verdict)})
        found[row.task_id].append(event)
    return found


def _sinks(transaction: Transaction, jobs: Sequence[int]) -> dict[int, list[SinkEvent]]:
    found: dict[int, list[SinkEvent]] = defaultdict(list)
    query = select(Outbox).where(Outbox.job_id.in_(jobs)).order_by(Outbox.id.desc())
    for row in _newest(transaction, query.with_only_columns(*Outbox.__table__.columns)):
        values = row._asdict()
        job, follower = values.pop("job_id"), values.pop("follower_id")
        event = OutboxEvent(values.pop("event"))
        found[job].append(SinkEvent(**values, event=event, follower=follower is not None))
    return found


def _followers(transaction: Transaction, jobs: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    query = (
        select(Follower.job_id, Follower.user_metadata)
        .where(Follower.job_id.in_(jobs))
        .order_by(Follower.id.desc())
    )
    for row in _newest(transaction, query):
        found[row.job_id].append(orjson.loads(row.user_metadata))
    return found


def _elsewhere(transaction: Transaction, keys: Mapping[int, str]) -> dict[str, list[SameJob]]:
    found: dict[str, list[SameJob]] = defaultdict(list)
    query = (
        select(
            Job.job_key,
            Job.id,
            Job.chunk_id,
            Job.item_number,
            Job.state,
            Job.completed_at,
            Chunk.batch_id,
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(Job.job_key.in_(sorted(set(keys.values()))), Job.id.not_in(list(keys)))
        .order_by(Job.id.desc())
    )
    for row in _newest(transaction, query):
        values = row._asdict()
        key = values.pop("job_key")
        found[key].append(SameJob(**{**values, "state": JobState(row.state)}))
    return found
