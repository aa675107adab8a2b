"""The inbox: every delivery is kept, and its effect committed with it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Insert, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite

from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Delivery
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import Verdict


@dataclass(frozen=True, slots=True)
class Arrival:
    """One signed webhook: its exact bytes, and what could be read of them.

    Args:
        body: The bytes received.
        job: What they say of a job, or None where they could not be read.
    """

    body: bytes
    job: RemoteJob | None


def receive(transaction: Transaction, arrivals: Sequence[Arrival]) -> list[Verdict]:
    """Keep a group of deliveries and apply them, in one commit.

    The same bytes again raise a count and change nothing else.

    Returns:
        What became of each, in the same order.
    """
    readable = [arrival.job for arrival in arrivals if arrival.job is not None]
    settled = iter(settle(transaction, readable) if readable else [])
    verdicts = [Verdict.MALFORMED if arrival.job is None else next(settled) for arrival in arrivals]
    now = transaction.now
    # Two group commits that keep the same two deliveries must lock them in one order.
    rows = sorted(
        (
            {
                "digest": hashlib.sha256(arrival.body).hexdigest(),
                "received_at": now,
                "last_received_at": now,
                "times": 1,
                "task_id": arrival.job.id if arrival.job else None,
                "status": arrival.job.raw_status[:50] if arrival.job else None,
                "verdict": verdict.value,
                "body": arrival.body,
            }
            for arrival, verdict in zip(arrivals, verdicts, strict=True)
        ),
        key=lambda row: str(row["digest"]),
    )
    transaction.execute(_KEEP_POSTGRES if transaction.postgres else _KEEP_SQLITE, rows)
    return verdicts


def settle_early(transaction: Transaction, jobs: Sequence[RemoteJob]) -> list[Verdict]:
    """Apply webhooks that came before their submission's answer was recorded."""
    verdicts = settle(transaction, jobs)
    known = [
        {"task": job.id, "new_verdict": verdict.value}
        for job, verdict in zip(jobs, verdicts, strict=True)
        if verdict is not Verdict.UNKNOWN
    ]
    if known:
        transaction.execute(_NO_LONGER_UNKNOWN, known)
    return verdicts


def _count_again(statement: sqlite.Insert | postgresql.Insert) -> Insert:
    return statement.on_conflict_do_update(
        index_elements=[Delivery.digest],
        set_={
            "times": Delivery.times + 1,
            "last_received_at": statement.excluded.last_received_at,
        },
    )


_KEEP_SQLITE = _count_again(sqlite.insert(Delivery))
_KEEP_POSTGRES = _count_again(postgresql.insert(Delivery))
_NO_LONGER_UNKNOWN = (
    update(Delivery)
    .where(Delivery.task_id == bindparam("task"), Delivery.verdict == Verdict.UNKNOWN.value)
    .values(verdict=bindparam("new_verdict"))
)
