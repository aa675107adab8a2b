"""Earlier scans of a source: up to which time they have seen every object."""

from collections.abc import Mapping
from datetime import datetime
from itertools import takewhile
from typing import Any

from sqlalchemy import Row, and_, exists, or_, select
from sqlalchemy.orm import aliased

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Job
from ittybatch.ledger.states import OPEN_JOBS, JobState

_OPEN = [state.value for state in OPEN_JOBS]
_UNDONE = [JobState.FAILED.value, JobState.CANCELLED.value, JobState.EXPIRED.value]
# The fields that select a scan's objects; the others say how they are read.
_SELECTING_FIELDS = (
    "type", "uri", "more_uris", "suffixes", "glob", "exclude", "include", "min_size", "max_size",
    "versioned",
)  # fmt: skip


def seen_until(
    transaction: Transaction, source: Mapping[str, Any], profile: Mapping[str, Any]
) -> datetime | None:
    """Find the modification time up to which every object of a source has been processed.

    That is the start of the last complete scan with the same profile. It is earlier if a job of
    an earlier scan has not ended, or ended so that the next batch makes it again: then that
    scan's objects must be listed again. The same holds if a scan left jobs to another batch that
    had them in flight, or left out archived objects, until a later scan has found neither: an
    object that is restored keeps its modification time.

    Args:
        transaction: The transaction to look in.
        source: The source as JSON.
        profile: The profile as JSON; with another profile, every object may need new jobs.

    Returns:
        None if everything must be listed.
    """
    rows = transaction.rows(
        select(Batch.id, Batch.source, Batch.profile, Batch.created_at, Batch.counts)
        .where(Batch.scan_done)
        .order_by(Batch.created_at.desc())
    )
    scans = [
        row
        for row in rows
        # A field that an earlier version did not have counts as not set.
        if all(
            (row.source.get(name) or None) == (source.get(name) or None)
            for name in _SELECTING_FIELDS
        )
        and (row.source.get("since_last_scan") or row.source.get("modified_since") is None)
        and row.profile == profile
    ]
    if not scans:
        return None
    times: list[datetime] = [_time(scans[0].source.get("modified_before")) or scans[0].created_at]
    undone = _undone(transaction, [row.id for row in scans])
    undone |= {row.id for row in takewhile(_left_objects_out, scans)}
    for row in scans:
        if row.id in undone:
            since = _time(row.source.get("modified_since"))
            if since is None:
                return None
            times.append(since)
    times.append(scans[0].created_at)
    return min(times)


def _left_objects_out(scan: Row[Any]) -> bool:
    return any(scan.counts.get(name) for name in ("in_flight_elsewhere", "filtered:archived"))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _undone(transaction: Transaction, batches: list[str]) -> set[str]:
    """Batches with a job that has not ended, or that the next batch would make again."""
    again = aliased(Job)
    rows = transaction.rows(
        select(Chunk.batch_id)
        .distinct()
        .join(Job, Job.chunk_id == Chunk.id)
        .where(
            Chunk.batch_id.in_(batches),
            # The counters avoid reading the jobs of chunks that have succeeded.
            Chunk.planned + Chunk.in_flight + Chunk.failed + Chunk.cancelled + Chunk.expired > 0,
            or_(
                Job.state.in_(_OPEN),
                and_(
                    Job.state.in_(_UNDONE),
                    Job.claim.is_(None),
                    ~exists().where(again.job_key == Job.job_key, again.claim.is_not(None)),
                ),
            ),
        )
    )
    return {row.batch_id for row in rows}
