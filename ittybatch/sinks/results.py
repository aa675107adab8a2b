"""Results: the outbox's rows as sinks get them."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.webhook import parse_webhook
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.pending import (
    BatchOfRow,
    PendingRow,
    first_tasks,
    job_bodies,
    pending_page,
)
from ittybatch.ledger.states import JobState
from ittybatch.sinks.base import ACCEPTED, ENDED, Result, Status

_STATUS: dict[JobState, Status] = {
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
}


def pending_results(
    transaction: Transaction,
    sink: str,
    limit: int,
    *,
    raw: bool = False,
    except_jobs: Collection[int] = (),
) -> list[Result]:
    """The oldest results that wait for a sink, in the order of their ids.

    Args:
        transaction: The transaction to read in.
        sink: The sink's name.
        limit: The maximum number of results.
        raw: Whether to read Ittybit's own job objects, too.
        except_jobs: Jobs whose results have to wait a while longer.
    """
    page = pending_page(transaction, sink, limit, except_jobs=except_jobs)
    ended = [row for row in page.rows if row.event == ENDED]
    bodies = _jobs(job_bodies(transaction, ended)) if raw and ended else {}
    first = first_tasks(transaction, page.rows)
    return [
        _result(
            row,
            page.batches[row.batch_id],
            bodies.get(row.task_id or ""),
            first.get(row.job_id, row.task_id),
        )
        for row in page.rows
    ]


def _result(
    row: PendingRow,
    batch: BatchOfRow,
    raw: Mapping[str, Any] | None,
    first_task_id: str | None,
) -> Result:
    state = JobState(row.state)
    # The job may have ended since it was accepted: its end is another event.
    ended = row.event == ENDED and state.terminal
    succeeded = ended and state is JobState.SUCCEEDED
    return Result(
        outbox_id=row.id,
        event=ENDED if row.event == ENDED else ACCEPTED,
        job_id=row.job_id,
        task_id=row.task_id,
        batch_id=row.batch_id,
        batch_name=batch.name,
        profile=batch.profile,
        rendition=row.rendition,
        kind=row.kind,
        status=_STATUS[state] if ended else "processing",
        input_url=row.uri,
        destination=row.destination,
        output_url=row.output_url if succeeded else None,
        output_format=row.output_format if succeeded else None,
        width=row.output_width if succeeded else None,
        height=row.output_height if succeeded else None,
        duration_s=row.output_duration_s if succeeded else None,
        size_bytes=row.output_size_bytes if succeeded else None,
        error_kind=row.error_kind if ended else None,
        error=row.error_message if ended else None,
        attempts=row.attempts,
        metadata=orjson.loads(row.user_metadata),
        created_at=row.created_at,
        submitted_at=row.submitted_at,
        completed_at=row.completed_at if ended else None,
        raw=raw if ended else None,
        requested=batch.of_requests or row.follows,
        first_task_id=first_task_id,
        tries=row.tries,
    )


def _jobs(bodies: Mapping[str, bytes]) -> dict[str, Mapping[str, Any]]:
    """The job objects in some bodies; those that cannot be read are left out."""
    found: dict[str, Mapping[str, Any]] = {}
    for task, body in bodies.items():
        try:
            found[task] = parse_webhook(body).job.raw
        except IttybatchError:
            continue
    return found
