"""Batches, jobs, failures and rejected rows of a ledger as DataFrames."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ittybatch.analysis.frames import COUNT, NAME, NUMBER, TEXT, TIME, frame_of, page_of, table_of
from ittybatch.analysis.ledger import opened_ledger
from ittybatch.analysis.metadata import MetadataColumns
from ittybatch.engine.naming import source_name
from ittybatch.engine.reports.entries import FAILED_STATES, job_columns
from ittybatch.engine.reports.failures import failure_rows, read_failures
from ittybatch.engine.reports.tally import job_seconds
from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import BatchStatus, find_batch, recent_batches
from ittybatch.ledger.results import Result, reject_pages, result_pages

if TYPE_CHECKING:
    import pandas as pd

_COUNTS = (
    *("items", "jobs", "planned", "in_flight", "succeeded", "failed", "cancelled", "expired"),
    "skipped",
)

RESULTS = {
    "batch": NAME,
    "input": TEXT,
    "fingerprint": TEXT,
    "rendition": NAME,
    "kind": NAME,
    "status": NAME,
    "attempts": COUNT,
    "task_id": TEXT,
    "output_url": TEXT,
    "format": NAME,
    "width": COUNT,
    "height": COUNT,
    "duration_s": NUMBER,
    "size_bytes": COUNT,
    "input_size_bytes": COUNT,
    "error_kind": NAME,
    "error_message": TEXT,
    "submitted_at": TIME,
    "completed_at": TIME,
    "took_s": NUMBER,
    "options": NAME,
}
BATCHES = {
    "batch": TEXT,
    "name": NAME,
    "state": NAME,
    "reason": TEXT,
    "profile": NAME,
    "source": TEXT,
    "created_at": TIME,
    "ended_at": TIME,
    "took_s": NUMBER,
    **dict.fromkeys(_COUNTS, COUNT),
    "retried": COUNT,
    "chunks": COUNT,
    "chunks_done": COUNT,
    "flow_run_id": TEXT,
}
FAILURES = {
    "jobs": COUNT,
    "to_retry": COUNT,
    "status": NAME,
    "reason": TEXT,
    "outlook": NAME,
    "error_kind": NAME,
    "error_message": TEXT,
    "first_at": TIME,
    "last_at": TIME,
    "example": TEXT,
}
REJECTS = {"number": COUNT, "line": COUNT, "field": NAME, "reason": TEXT, "row": TEXT}


def results(
    batch: str = "latest", *, only_failures: bool = False, metadata: bool = True
) -> "pd.DataFrame":
    """Read a batch's jobs, one row a job, in the order in which they were planned.

    Also while the batch runs: what a job does not have yet is missing in its row. `took_s` is the
    time from submission to end, in seconds.

    Args:
        batch: Id of a batch, a unique beginning or end of one, or `latest`.
        only_failures: Whether to read only jobs that failed, expired or were cancelled.
        metadata: Whether to add a column `metadata.NAME` for each name of the jobs' metadata.

    Raises:
        AmbiguousBatch: The text fits no batch, or several.
        LedgerUnavailable: The database cannot be reached.
        IttybatchError: The metadata has too many names for columns.
    """
    with opened_ledger() as ledger:
        return read_results(ledger, batch, only_failures=only_failures, metadata=metadata)


def batches(limit: int = 1000, *, idle: bool = False) -> "pd.DataFrame":
    """Read the newest batches, one row a batch, the newest first.

    Args:
        limit: The maximum number of batches.
        idle: Whether to include scans that found nothing to do.

    Raises:
        LedgerUnavailable: The database cannot be reached.
    """
    with opened_ledger() as ledger:
        found = ledger.read(recent_batches, limit, idle=idle)
    return frame_of(table_of(BATCHES, [page_of(BATCHES, list(map(_batch, found)))]))


def failures(batch: str = "latest") -> "pd.DataFrame":
    """Read why jobs of a batch failed, one row a reason, the most frequent first.

    A reason is an error without numbers, ids, names and addresses. `outlook` says whether another
    attempt may help, `to_retry` how many of the jobs no later batch has taken up.
    `results(batch, only_failures=True)` has each failed job.

    Args:
        batch: As for `results`.

    Raises:
        AmbiguousBatch: The text fits no batch, or several.
        LedgerUnavailable: The database cannot be reached.
    """
    with opened_ledger() as ledger:
        found = ledger.read(find_batch, batch)
        failed = read_failures(ledger, found)
    if not failed.complete:
        warnings.warn(
            f"These are the newest {failed.looked_at:,} of {failed.total:,} failures; "
            "`results(batch, only_failures=True)` has all.",
            stacklevel=2,
        )
    rows = [asdict(row) for row in failure_rows(failed)]
    return frame_of(table_of(FAILURES, [page_of(FAILURES, rows)]))


def rejects(batch: str = "latest") -> "pd.DataFrame":
    """Read the rows of a batch's source that could not become items, and why.

    Args:
        batch: As for `results`.

    Raises:
        AmbiguousBatch: The text fits no batch, or several.
        LedgerUnavailable: The database cannot be reached.
    """
    with opened_ledger() as ledger:
        found = ledger.read(find_batch, batch)
        return frame_of(table_of(REJECTS, _reject_pages(ledger, found)))


def read_results(
    ledger: Ledger, batch: str, *, only_failures: bool = False, metadata: bool = False
) -> "pd.DataFrame":
    """Read a batch's jobs from an open ledger; arguments and errors as for `results`."""
    found = ledger.read(find_batch, batch)
    states = FAILED_STATES if only_failures else ()
    named = MetadataColumns()
    pages = _watched(result_pages(ledger, found, states=states), named if metadata else None)
    table = table_of(
        RESULTS, (page_of(RESULTS, [_job(found, row) for row in page]) for page in pages)
    )
    for title, column in named.columns():
        table = table.append_column(title, column)
    return frame_of(table)


def _watched(
    pages: Iterable[list[Result]], named: MetadataColumns | None
) -> Iterator[list[Result]]:
    for page in pages:
        if named is not None:
            named.add([row.user_metadata for row in page])
        yield page


def _job(batch: str, row: Result) -> dict[str, Any]:
    return {
        **job_columns(row),
        "batch": batch,
        "fingerprint": row.fingerprint,
        "took_s": job_seconds(row),
        "options": row.options,
    }


def _batch(status: BatchStatus) -> dict[str, Any]:
    took_s = (status.ended_at - status.created_at).total_seconds() if status.ended_at else None
    return {
        "batch": status.id,
        "name": status.name,
        "state": status.state.value,
        "reason": status.reason,
        "profile": status.profile,
        "source": source_name(status.source),
        "created_at": status.created_at,
        "ended_at": status.ended_at,
        "took_s": None if took_s is None else max(0.0, took_s),
        **{name: status.counts[name] for name in _COUNTS},
        "retried": status.retried,
        "chunks": status.chunks,
        "chunks_done": status.chunks_done,
        "flow_run_id": status.flow_run_id,
    }


def _reject_pages(ledger: Ledger, batch: str) -> Iterator[pa.Table]:
    for rows in reject_pages(ledger, batch):
        yield page_of(REJECTS, rows)
