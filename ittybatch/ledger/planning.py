"""Planning: a page of a scan becomes items, jobs and chunks, and no job is made twice."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import orjson
from sqlalchemy import insert, select, update

from ittybatch.errors import IttybatchError
from ittybatch.ledger.bulk import Shared, insert_rows
from ittybatch.ledger.claims import Claims
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.followers import inherit
from ittybatch.ledger.models import Batch, Chunk, Item, Job, Reject
from ittybatch.ledger.plan import PlannedItem, PlannedPage, PlannedReject
from ittybatch.ledger.states import BatchState, ChunkState, JobState
from ittybatch.profiles import JobSpec

_dumps = orjson.dumps
_ITEM_COLUMNS = ("chunk_id", "number", "uri", "fingerprint", "size_bytes", "modified_at", "line")
_JOB_COLUMNS = (
    "chunk_id", "item_number", "destination", "user_metadata", "job_key", "attempt", "last_attempt",
)  # fmt: skip
_SHARED_COLUMNS = (
    "kind", "rendition", "options", "recipe", "claim", "state", "attempts", "backoff_s",
    "deadline_s",
)  # fmt: skip
_REJECT_COLUMNS = ("batch_id", "number", "line", "field", "reason", "row")


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
        page: What the page contained.
        after: The cursor that the page was read from. A page that another leg has already
            committed is skipped.
        chunk_size: Items per chunk.
        canary_items: Items of the first chunk, if it is a canary.

    Returns:
        The batch's counts so far, by name: `jobs`, `already_done`, `in_flight_elsewhere`,
        `held_back`, `duplicates`, `same_destination`, and those of the page.

    Raises:
        NotPlanning: when the batch has been held or cancelled; nothing is planned.
    """
    row = transaction.execute(
        select(Batch.state, Batch.scan_cursor, Batch.counts)
        .where(Batch.id == batch)
        .with_for_update()
    ).one()
    if row.state != BatchState.PLANNING:
        raise NotPlanning(
            f"Batch {batch} is not being planned any more; it is {row.state}.",
            remedy=f"`ittybatch resume {batch}` continues a batch that is held.",
        )
    if row.scan_cursor != after:
        return dict(row.counts)
    # Two batches that plan the same source concurrently must not both take a job for new.
    transaction.serialise("planning")
    counts = Counter(row.counts)
    counts.update(page.counts)
    claims = Claims(transaction, batch, page)
    new = claims.sort(page, counts)
    claims.take_over(transaction)
    claims.keep_originals(transaction)
    _insert_items(transaction, batch, new, claims, counts, (chunk_size, canary_items))
    inherit(transaction, claims.taken_over, own=True)
    inherit(transaction, page.again, own=False)
    _insert_rejects(transaction, batch, [*page.rejects, *claims.refused], counts)
    transaction.execute(
        update(Batch).where(Batch.id == batch).values(scan_cursor=page.cursor, counts=dict(counts))
    )
    return counts


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
    items: list[tuple[object, ...]] = []
    jobs: list[tuple[object, ...]] = []
    shared = _SharedValues()
    attempts = claims.attempts
    number = counts["items"] - len(new)
    for chunk, part in _into_chunks(transaction, batch, new, *sizes):
        for planned in part:
            each = planned.item
            items.append(
                (
                    chunk,
                    number,
                    each.uri,
                    each.fingerprint,
                    each.size_bytes,
                    each.modified_at,
                    each.line,
                )
            )
            for job in planned.jobs:
                # An attempt's number is part of its Idempotency-Key: counting continues where
                # an earlier batch stopped, or Ittybit would answer with that batch's failed job.
                attempt = attempts.get(job.job_key, 0)
                jobs.append(
                    (
                        chunk,
                        number,
                        job.destination,
                        _dumps(job.metadata).decode(),
                        job.job_key,
                        attempt,
                        attempt + job.attempts,
                        shared.index_of(job),
                    )
                )
            number += 1
    insert_rows(transaction, Item, _ITEM_COLUMNS, items)
    insert_rows(transaction, Job, _JOB_COLUMNS, jobs, Shared(_SHARED_COLUMNS, shared.rows))


class _SharedValues:
    """The values that jobs of a page share: all jobs of a rendition have the same ones."""

    def __init__(self) -> None:
        self.rows: list[Sequence[object]] = []
        self._indexes: dict[object, int] = {}

    def index_of(self, job: JobSpec) -> int:
        # Jobs of a rendition share their options, so the options need not be compared.
        key = (
            id(job.options),
            job.rendition,
            job.recipe,
            job.attempts,
            job.backoff_s,
            job.deadline_s,
        )
        index = self._indexes.get(key)
        if index is None:
            index = self._indexes[key] = len(self.rows)
            self.rows.append(
                (
                    job.kind.value,
                    job.rendition,
                    _dumps(job.options, option=orjson.OPT_SORT_KEYS).decode(),
                    job.recipe,
                    True,
                    JobState.PLANNED.value,
                    job.attempts,
                    job.backoff_s,
                    job.deadline_s,
                )
            )
        return index


def _into_chunks(
    transaction: Transaction,
    batch: str,
    new: Sequence[PlannedItem],
    chunk_size: int,
    canary_items: int,
) -> Iterator[tuple[int, Sequence[PlannedItem]]]:
    """Fill the batch's last chunk with items, then new chunks."""
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
    if sizes:
        yield from zip(_insert_chunks(transaction, batch, number + 1, sizes), parts, strict=True)


def _insert_chunks(
    transaction: Transaction, batch: str, first_number: int, sizes: Sequence[tuple[int, int]]
) -> Iterator[int]:
    """Insert chunks with these numbers of items and jobs, and return their ids."""
    return transaction.execute(
        insert(Chunk).returning(Chunk.id, sort_by_parameter_order=True),
        [
            {
                "batch_id": batch,
                "number": number,
                "state": ChunkState.PLANNED.value,
                "items": items,
                "planned": jobs,
                "planned_at": transaction.now,
            }
            for number, (items, jobs) in enumerate(sizes, first_number)
        ],
    ).scalars()


def _add_to_chunk(transaction: Transaction, chunk: int, part: Sequence[PlannedItem]) -> None:
    jobs = sum(len(planned.jobs) for planned in part)
    transaction.execute(
        update(Chunk)
        .where(Chunk.id == chunk)
        .values(items=Chunk.items + len(part), planned=Chunk.planned + jobs)
    )


def _insert_rejects(
    transaction: Transaction, batch: str, rejects: Sequence[PlannedReject], counts: Counter[str]
) -> None:
    first = counts["rejected"]
    counts["rejected"] += len(rejects)
    insert_rows(
        transaction,
        Reject,
        _REJECT_COLUMNS,
        [
            (batch, number, reject.line, reject.field, reject.reason, reject.row)
            for number, reject in enumerate(rejects, first)
        ],
    )
