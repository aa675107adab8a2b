"""Planning: a page of a scan becomes items, jobs and chunks, and each job only once."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import select, update

from ittybatch.errors import IttybatchError
from ittybatch.ledger.batches import cancel_unsent
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Job
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.planned_rows import (
    Order,
    insert_chunks,
    insert_items,
    insert_jobs,
    insert_rejects,
    jobs_of_keys,
)
from ittybatch.ledger.states import OPEN_JOBS, WILL_NOT_SEND, BatchState, JobState
from ittybatch.profiles import JobSpec

_OPEN = [state.value for state in OPEN_JOBS]
_dumps = orjson.dumps


class NotPlanning(IttybatchError):
    """The batch has been held or cancelled while it was being planned."""


def plan_page(
    transaction: Transaction,
    batch: str,
    page: PlannedPage,
    *,
    after: str | None,
    chunk_size: int,
    canary_items: int = 0,
) -> Mapping[str, int]:
    """Commit one page of a scan together with the cursor right after it.

    Args:
        transaction: The transaction to do it in.
        batch: The batch that is being planned.
        page: What the page came to.
        after: The cursor that the page was read from. A page that another leg has
            committed already is passed over.
        chunk_size: Items a chunk.
        canary_items: Items of the first chunk, where that goes ahead of the rest.

    Returns:
        The batch's counts so far, by name: `jobs`, `already_done`, `in_flight_elsewhere`,
        `held_back`, `duplicates`, and those of the page.

    Raises:
        NotPlanning: when somebody has held or cancelled the batch; nothing is planned.
    """
    row = transaction.execute(
        select(Batch.state, Batch.scan_cursor, Batch.counts)
        .where(Batch.id == batch)
        .with_for_update()
    ).one()
    if row.state != BatchState.PLANNING:
        raise NotPlanning(
            f"Batch {batch} is not being planned any more; it is {row.state}.",
            remedy=f"`ittybatch resume {batch}` goes on with a batch that is held.",
        )
    if row.scan_cursor != after:
        return dict(row.counts)
    # Two batches that plan the same source at once must not both find a job new.
    transaction.serialise("planning")
    counts = Counter(row.counts)
    counts.update(page.counts)
    claims = Claims(transaction, batch, page)
    claims.take_over(transaction)
    new = claims.sort(page, counts)
    _insert_items(transaction, batch, new, claims, counts, (chunk_size, canary_items))
    _insert_rejects(transaction, batch, page, counts)
    transaction.execute(
        update(Batch).where(Batch.id == batch).values(scan_cursor=page.cursor, counts=dict(counts))
    )
    return counts


class Claims:
    """Which jobs of a page are new, and what holds the others.

    Args:
        transaction: The transaction to look in.
        batch: The batch that wants the jobs; None for a dry run.
        page: The page.
    """

    def __init__(self, transaction: Transaction, batch: str | None, page: PlannedPage) -> None:
        self._batch = batch
        self._again = frozenset(page.again)
        self._held: dict[str, str] = {}
        self._stolen: list[tuple[int, int]] = []
        self._released: list[int] = []
        self.attempts: dict[str, int] = {}
        # Each once: a key that the page names twice would find what is to be taken over twice.
        keys = dict.fromkeys(job.job_key for item in page.items for job in item.jobs)
        for row in jobs_of_keys(transaction, list(keys)):
            self._read(*row)

    def _read(  # noqa: PLR0917  a row of jobs_of_keys
        self,
        job: int,
        chunk: int,
        key: str,
        claim: bool | None,
        state_name: str,
        attempt: int,
        batch: str,
        batch_state: str,
    ) -> None:
        self.attempts[key] = max(attempt, self.attempts.get(key, 0))
        if claim is None:
            return
        state = JobState(state_name)
        if state is JobState.PLANNED and BatchState(batch_state) in WILL_NOT_SEND:
            self._stolen.append((job, chunk))
        elif job in self._again and state.terminal and state is not JobState.SUCCEEDED:
            self._released.append(job)
        elif batch == self._batch:
            self._held[key] = "duplicates"
        elif state is JobState.SUCCEEDED:
            self._held[key] = "already_done"
        elif state.terminal:
            self._held[key] = "held_back"
        else:
            self._held[key] = "in_flight_elsewhere"

    def take_over(self, transaction: Transaction) -> None:
        """Take over jobs that no batch will send, and those that are to be made again."""
        if self._stolen:
            cancel_unsent(transaction, self._stolen, f"Not sent: batch {self._batch} took it over.")

        if self._released:
            transaction.execute(
                update(Job)
                .where(
                    Job.id.in_(self._released),
                    Job.state.not_in([*_OPEN, JobState.SUCCEEDED.value]),
                )
                .values(claim=None)
            )

    def sort(self, page: PlannedPage, counts: Counter[str]) -> list[PlannedItem]:
        """Give the items that have new jobs, with those; count the rest by what holds them."""
        found: list[PlannedItem] = []
        held = self._held
        orders: Counter[tuple[str, str]] = Counter()
        size_bytes = 0
        for item in page.items:
            # Almost every item's jobs are all new: only then is no list made anew.
            jobs = item.jobs
            keys = {job.job_key for job in jobs}
            # Not the other way round: a set would go through all that is held.
            if len(keys) < len(jobs) or not held.keys().isdisjoint(keys):
                jobs = []
                for job in item.jobs:
                    if (why := held.get(job.job_key)) is not None:
                        counts[why] += 1
                    else:
                        held[job.job_key] = "duplicates"
                        jobs.append(job)
                if not jobs:
                    continue
                item = PlannedItem(item.item, jobs)  # noqa: PLW2901
            for job in jobs:
                held[job.job_key] = "duplicates"
                orders[job.kind, job.rendition] += 1
            size_bytes += item.item.size_bytes or 0
            found.append(item)
        for (kind, rendition), count in orders.items():
            counts["jobs"] += count
            counts[f"kind:{kind}"] += count
            counts[f"rendition:{rendition}"] += count
        if found:
            counts["items"] += len(found)
            counts["bytes"] += size_bytes
        return found


def _insert_items(  # noqa: PLR0917
    transaction: Transaction,
    batch: str,
    new: Sequence[PlannedItem],
    claims: Claims,
    counts: Counter[str],
    sizes: tuple[int, int],
) -> None:
    if not new:
        return
    first_number = counts["items"] - len(new)
    orders = _Orders()
    item_rows: list[tuple[Any, ...]] = []
    job_rows: list[tuple[Any, ...]] = []
    moment = _moment_for_postgres if transaction.postgres else _moment_for_sqlite
    attempts = claims.attempts
    number = first_number
    for chunk, part in _into_chunks(transaction, batch, new, *sizes):
        for planned in part:
            item = planned.item
            modified_at = item.modified_at and moment(item.modified_at)
            item_rows.append(
                (
                    chunk,
                    number,
                    item.uri,
                    item.fingerprint,
                    item.size_bytes,
                    modified_at,
                    item.line,
                )
            )
            for job in planned.jobs:
                key = job.job_key
                job_rows.append(
                    (
                        chunk,
                        number,
                        orders.place_of(job),
                        job.destination,
                        _dumps(job.metadata).decode(),
                        key,
                        # An attempt's number is part of its Idempotency-Key: counting goes on
                        # where an earlier batch left off, or Ittybit would answer with that
                        # batch's failed job.
                        attempts.get(key, 0),
                    )
                )
            number += 1
    insert_items(transaction, item_rows)
    insert_jobs(transaction, orders.found, job_rows)


class _Orders:
    """What the jobs of a page have in common, each once."""

    def __init__(self) -> None:
        self.found: list[Order] = []
        self._known: dict[Any, int] = {}
        self._places: dict[Order, int] = {}

    def place_of(self, job: JobSpec) -> int:
        # Jobs of a rendition share their options, so that those need not be compared.
        mark = (
            id(job.options),
            job.rendition,
            job.recipe,
            job.attempts,
            job.backoff_s,
            job.deadline_s,
        )
        place = self._known.get(mark)
        if place is None:
            order = (
                job.kind.value,
                job.rendition,
                orjson.dumps(job.options, option=orjson.OPT_SORT_KEYS).decode(),
                job.recipe,
                job.attempts,
                job.backoff_s,
                job.deadline_s,
            )
            place = self._places.setdefault(order, len(self._places))
            if place == len(self.found):
                self.found.append(order)
            self._known[mark] = place
        return place


def _into_chunks(
    transaction: Transaction,
    batch: str,
    new: Sequence[PlannedItem],
    chunk_size: int,
    canary_items: int,
) -> Iterator[tuple[int, Sequence[PlannedItem]]]:
    """Share items out to the batch's last chunk, where it has room, and to new ones."""
    last = transaction.rows(
        select(Chunk.id, Chunk.number, Chunk.items)
        .where(Chunk.batch_id == batch)
        .order_by(Chunk.number.desc())
        .limit(1)
    )
    number = last[0].number if last else 0
    start = 0
    if last:
        size = (canary_items or chunk_size) if number == 1 else chunk_size
        part = new[: max(size - last[0].items, 0)]
        if part:
            _add_to_chunk(transaction, last[0].id, part)
            yield last[0].id, part
        start = len(part)
    parts: list[Sequence[PlannedItem]] = []
    while start < len(new):
        is_first = number + len(parts) == 0
        parts.append(
            new[start : start + ((canary_items or chunk_size) if is_first else chunk_size)]
        )
        start += len(parts[-1])
    sizes = [(len(part), sum(len(planned.jobs) for planned in part)) for part in parts]
    yield from zip(insert_chunks(transaction, batch, number + 1, sizes), parts, strict=True)


def _add_to_chunk(transaction: Transaction, chunk: int, part: Sequence[PlannedItem]) -> None:
    jobs = sum(len(planned.jobs) for planned in part)
    transaction.execute(
        update(Chunk)
        .where(Chunk.id == chunk)
        .values(items=Chunk.items + len(part), planned=Chunk.planned + jobs)
    )


def _moment_for_sqlite(value: datetime) -> str:
    # As SQLAlchemy writes it, for there times are compared as text.
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _moment_for_postgres(value: datetime) -> str:
    return value.isoformat()


def _insert_rejects(
    transaction: Transaction, batch: str, page: PlannedPage, counts: Counter[str]
) -> None:
    first = counts["rejected"]
    counts["rejected"] += len(page.rejects)
    insert_rejects(
        transaction,
        [
            (batch, number, reject.line, reject.field, reject.reason, reject.row)
            for number, reject in enumerate(page.rejects, first)
        ],
    )
