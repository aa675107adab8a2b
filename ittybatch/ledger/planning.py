"""Planning: a page of a scan becomes items, jobs and chunks, and each job only once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import insert, select, update

from ittybatch.ledger.batches import cancel_unsent
from ittybatch.ledger.counters import Moves
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Item, Job, Reject
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.states import ENDED_BATCHES, OPEN_JOBS, BatchState, ChunkState, JobState
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec

_WILL_NOT_SEND = {BatchState.HELD, *ENDED_BATCHES}
_OPEN = [state.value for state in OPEN_JOBS]
_KEYS_A_QUERY = 5000


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
    """
    row = transaction.execute(
        select(Batch.scan_cursor, Batch.counts).where(Batch.id == batch).with_for_update()
    ).one()
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
        keys = [job.job_key for item in page.items for job in item.jobs]
        for start in range(0, len(keys), _KEYS_A_QUERY):
            for row in _rows_of(transaction, keys[start : start + _KEYS_A_QUERY]):
                self._read(row)

    def _read(self, row: Any) -> None:  # noqa: ANN401  a row of _rows_of
        self.attempts[row.job_key] = max(row.attempt, self.attempts.get(row.job_key, 0))
        if row.claim is None:
            return
        state = JobState(row.state)
        if state is JobState.PLANNED and BatchState(row.batch_state) in _WILL_NOT_SEND:
            self._stolen.append((row.id, row.chunk_id))
        elif row.id in self._again and state.terminal and state is not JobState.SUCCEEDED:
            self._released.append(row.id)
        elif row.batch_id == self._batch:
            self._held[row.job_key] = "duplicates"
        elif state is JobState.SUCCEEDED:
            self._held[row.job_key] = "already_done"
        elif state.terminal:
            self._held[row.job_key] = "held_back"
        else:
            self._held[row.job_key] = "in_flight_elsewhere"

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
        for item in page.items:
            new: list[JobSpec] = []
            for job in item.jobs:
                held = self._held.get(job.job_key)
                if held is not None:
                    counts[held] += 1
                    continue
                self._held[job.job_key] = "duplicates"
                counts["jobs"] += 1
                counts[f"kind:{job.kind.value}"] += 1
                counts[f"rendition:{job.rendition}"] += 1
                new.append(job)
            if new:
                counts["items"] += 1
                counts["bytes"] += item.item.size_bytes or 0
                found.append(PlannedItem(item.item, new))
        return found


def _rows_of(transaction: Transaction, keys: Sequence[str]) -> list[Any]:
    return transaction.rows(
        select(
            Job.id,
            Job.chunk_id,
            Job.job_key,
            Job.claim,
            Job.state,
            Job.attempt,
            Chunk.batch_id,
            Batch.state.label("batch_state"),
        )
        .join(Chunk, Chunk.id == Job.chunk_id)
        .join(Batch, Batch.id == Chunk.batch_id)
        .where(Job.job_key.in_(keys))
    )


def _insert_items(  # noqa: PLR0917
    transaction: Transaction,
    batch: str,
    new: Sequence[PlannedItem],
    claims: Claims,
    counts: Counter[str],
    sizes: tuple[int, int],
) -> None:
    first_number = counts["items"] - len(new)
    item_rows: list[dict[str, Any]] = []
    job_rows: list[dict[str, Any]] = []
    moves = Moves()
    start = 0
    while start < len(new):
        chunk, room = _chunk_with_room(transaction, batch, *sizes)
        part = new[start : start + room]
        transaction.execute(
            update(Chunk).where(Chunk.id == chunk).values(items=Chunk.items + len(part))
        )
        for offset, planned in enumerate(part, first_number + start):
            item_rows.append(_item_row(chunk, offset, planned.item))
            for job in planned.jobs:
                job_rows.append(_job_row(chunk, offset, job, claims.attempts.get(job.job_key, 0)))
                moves.add(chunk, None, JobState.PLANNED)
        start += len(part)
    if not item_rows:
        return
    transaction.execute(insert(Item), item_rows)
    transaction.execute(insert(Job), job_rows)
    moves.apply(transaction)


def _chunk_with_room(
    transaction: Transaction, batch: str, chunk_size: int, canary_items: int
) -> tuple[int, int]:
    """The batch's last chunk and how many items it still takes, or a new one."""
    last = transaction.rows(
        select(Chunk.id, Chunk.number, Chunk.items)
        .where(Chunk.batch_id == batch)
        .order_by(Chunk.number.desc())
        .limit(1)
    )
    number = last[0].number if last else 0
    size = canary_items or chunk_size if number == 1 else chunk_size
    if last and last[0].items < size:
        return last[0].id, size - last[0].items
    number += 1
    chunk = transaction.execute(
        insert(Chunk)
        .values(batch_id=batch, number=number, state=ChunkState.PLANNED.value)
        .returning(Chunk.id)
    ).scalar_one()
    return int(chunk), canary_items or chunk_size if number == 1 else chunk_size


def _item_row(chunk: int, number: int, item: SourceItem) -> dict[str, Any]:
    return {
        "chunk_id": chunk,
        "number": number,
        "uri": item.uri,
        "fingerprint": item.fingerprint,
        "size_bytes": item.size_bytes,
        "modified_at": item.modified_at,
        "line": item.line,
    }


def _job_row(chunk: int, number: int, job: JobSpec, attempts_before: int) -> dict[str, Any]:
    return {
        "chunk_id": chunk,
        "item_number": number,
        "rendition": job.rendition,
        "kind": job.kind.value,
        "options": orjson.dumps(job.options, option=orjson.OPT_SORT_KEYS).decode(),
        "destination": job.destination,
        "user_metadata": orjson.dumps(dict(job.metadata)).decode(),
        "job_key": job.job_key,
        "claim": job.job_key,
        "state": JobState.PLANNED.value,
        # An attempt's number is part of its Idempotency-Key: counting goes on where an
        # earlier batch left off, or Ittybit would answer with that batch's failed job.
        "attempt": attempts_before,
        "attempts": job.attempts,
        "last_attempt": attempts_before + job.attempts,
        "backoff_s": job.backoff_s,
        "deadline_s": job.deadline_s,
    }


def _insert_rejects(
    transaction: Transaction, batch: str, page: PlannedPage, counts: Counter[str]
) -> None:
    first = counts["rejected"]
    counts["rejected"] += len(page.rejects)
    rows = [
        {
            "batch_id": batch,
            "number": number,
            "line": reject.line,
            "field": reject.field,
            "reason": reject.reason,
            "row": reject.row,
        }
        for number, reject in enumerate(page.rejects, first)
    ]
    if rows:
        transaction.execute(insert(Reject), rows)
