"""The inbox: it keeps every delivery, and commits its effect in the same transaction."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    FromClause,
    Insert,
    Integer,
    LargeBinary,
    Text,
    bindparam,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ledger.asking import poll_soon
from ittybatch.ledger.bulk import BulkStatement
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Delivery, UtcDateTime
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import Verdict


@dataclass(frozen=True, slots=True)
class Arrival:
    """One signed webhook: its exact bytes, and the job in them.

    Args:
        body: The bytes received.
        job: The job in them, or None if they could not be read.
    """

    body: bytes
    job: RemoteJob | None


def receive(transaction: Transaction, arrivals: Sequence[Arrival]) -> list[Verdict]:
    """Keep a group of deliveries and apply them, in one commit.

    A repeat of the same bytes only raises a count. If the bytes cannot be read, Ittybit
    is polled soon for the jobs that they seem to be about.

    Returns:
        The effect of each delivery, in the same order.
    """
    readable = [arrival.job for arrival in arrivals if arrival.job is not None]
    settled = iter(settle(transaction, readable, in_inbox=True) if readable else [])
    verdicts = [Verdict.MALFORMED if arrival.job is None else next(settled) for arrival in arrivals]
    _store(transaction, arrivals, verdicts)
    if unreadable := [arrival.body for arrival in arrivals if arrival.job is None]:
        poll_soon(transaction, unreadable)
    return verdicts


def settle_early(transaction: Transaction, jobs: Sequence[RemoteJob]) -> list[Verdict]:
    """Apply webhooks that arrived before the response to their submission was recorded."""
    verdicts = settle(transaction, jobs, in_inbox=True)
    known = [
        {"task": job.id, "new_verdict": verdict.value}
        for job, verdict in zip(jobs, verdicts, strict=True)
        if verdict is not Verdict.UNKNOWN
    ]
    if known:
        transaction.execute(_NO_LONGER_UNKNOWN, known)
    return verdicts


def _store(
    transaction: Transaction, arrivals: Sequence[Arrival], verdicts: Sequence[Verdict]
) -> None:
    rows: dict[str, dict[str, Any]] = {}
    for arrival, verdict in zip(arrivals, verdicts, strict=True):
        digest = hashlib.sha256(arrival.body).hexdigest()
        if (same := rows.get(digest)) is not None:
            same["times"] += 1  # one statement cannot change the same row twice
            continue
        rows[digest] = {
            "digest": digest,
            "times": 1,
            "task": arrival.job.id if arrival.job else "",
            "status": arrival.job.raw_status[:50] if arrival.job else None,
            "verdict": verdict.value,
            "body": arrival.body,
        }
    # Two group commits with the same two deliveries must lock them in the same order.
    in_order = sorted(rows.values(), key=itemgetter("task", "digest"))
    _UPSERT.run(transaction, in_order, now=transaction.now)


def _upsert(statement: sqlite.Insert | postgresql.Insert, given: FromClause) -> Insert:
    now = bindparam("now", type_=UtcDateTime)
    columns = {
        "digest": given.c.digest,
        "received_at": now,
        "last_received_at": now,
        "times": given.c.times,
        "task_id": given.c.task,
        "status": given.c.status,
        "verdict": given.c.verdict,
        "body": given.c.body,
    }
    # Without a WHERE, SQLite parses ON CONFLICT as the condition of a join.
    statement = statement.from_select(
        list(columns), select(*columns.values()).where(given.c.times > 0)
    )
    return statement.on_conflict_do_update(
        index_elements=[Delivery.task_id, Delivery.digest],
        set_={
            "times": Delivery.times + statement.excluded.times,
            "last_received_at": statement.excluded.last_received_at,
        },
    )


_UPSERT = BulkStatement(
    {
        "digest": Text,
        "times": Integer,
        "task": Text,
        "status": Text,
        "verdict": Text,
        "body": LargeBinary,
    },
    lambda given: _upsert(sqlite.insert(Delivery), given),
    lambda given: _upsert(postgresql.insert(Delivery), given),
)
_NO_LONGER_UNKNOWN = (
    update(Delivery)
    .where(Delivery.task_id == bindparam("task"), Delivery.verdict == Verdict.UNKNOWN.value)
    .values(verdict=bindparam("new_verdict"))
)
