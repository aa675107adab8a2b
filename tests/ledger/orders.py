"""Requests for the ledger to take, and what it makes of them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.accepting import IntakeSpec
from ittybatch.ledger.chunks import finish_chunk
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.intake import KeyReused, Order, OrderedJob, Receipt, take
from ittybatch.ledger.legs import begin_leg, begin_wait
from ittybatch.ledger.models import Batch, Job, Run
from ittybatch.ledger.plan import PlannedItem
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec
from tests.ledger import library

LEASE_S = 60.0


def spec(digest: str = "d1", **options: Any) -> IntakeSpec:  # noqa: ANN401
    return IntakeSpec("web", library.PROFILE, options, digest)


def order(*jobs: JobSpec, fingerprint: str | None = "1", **changes: Any) -> Order:  # noqa: ANN401
    given = {"spec": spec(), "planned": PlannedItem(SourceItem(jobs[0].input, fingerprint), jobs)}
    return Order(**{**given, **changes})


def taken(ledger: Ledger, *orders: Order, send: bool = True) -> Receipt:
    return ledger.write(take, orders, send=send, lease_s=LEASE_S)


def answer(receipt: Receipt, place: int = 0) -> Sequence[OrderedJob]:
    found = receipt.answers[place]
    assert not isinstance(found, KeyReused)
    return found


def rows(ledger: Ledger, table: Any) -> list[Any]:  # noqa: ANN401
    first = next(iter(table.__table__.primary_key.columns))
    return ledger.read(lambda tx: tx.rows(select(*table.__table__.columns).order_by(first)))


def accept(ledger: Ledger, receipt: Receipt, prefix: str = "task") -> None:
    library.accept(ledger, receipt.submissions, prefix)


def later(ledger: Ledger, **by: float) -> None:
    """Move the ends of all leases into the past."""

    def shift(tx: Transaction) -> None:
        then = tx.now - timedelta(**by)
        tx.execute(update(Job).where(Job.not_before.is_not(None)).values(not_before=then))
        tx.execute(update(Run).where(Run.wake_at.is_not(None)).values(wake_at=then))

    ledger.write(shift)


def end_of_day(ledger: Ledger) -> None:
    ledger.write(lambda tx: tx.execute(update(Batch).values(accepts_until=tx.now)))


def waiting(ledger: Ledger, chunk: int) -> None:
    """Let a leg of the chunk begin, find nothing to do, and wait."""
    leg = ledger.write(begin_leg, chunk_owner(chunk), f"run-{chunk}")
    assert leg is not None
    assert not ledger.write(finish_chunk, chunk)
    assert ledger.write(begin_wait, leg)


def wake_at(ledger: Ledger, chunk: int) -> Any:  # noqa: ANN401  a time, or None
    [run] = [run for run in rows(ledger, Run) if run.owner == chunk_owner(chunk)]
    return run.wake_at
