"""`GET /jobs/{id}`: one job and its result."""

from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ittybatch.ittybit.redaction import shown_url
from ittybatch.ledger import Ledger
from ittybatch.ledger.job_lookup import JobRow, lookup_job
from ittybatch.receiver.api.errors import answer_json
from ittybatch.receiver.api.models import ErrorAnswer, JobDetails

# Fewer than the ledger's connections: questions must not keep webhooks from being stored.
_READERS = 2


class JobsRoute:
    """Answers questions after jobs.

    Args:
        ledger: Knows them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._readers = CapacityLimiter(_READERS)

    def router(self) -> APIRouter:
        """The route for FastAPI."""
        router = APIRouter()
        router.add_api_route(
            "/jobs/{id}",
            self.get,
            methods=["GET"],
            summary="Show a job and its result",
            response_model=None,
            responses={
                200: {"model": JobDetails, "description": "The job."},
                401: {"model": ErrorAnswer, "description": "The bearer token is missing or wrong."},
                404: {"model": ErrorAnswer, "description": "The ledger has no such job."},
                503: {"model": ErrorAnswer, "description": "The ledger is unavailable."},
            },
        )
        return router

    async def get(self, id: str) -> Response:  # noqa: A002 - the path's own name
        """Show a job, by Ittybit's id or by the ledger's."""
        found = await anyio.to_thread.run_sync(
            partial(self._ledger.read, lookup_job, id), limiter=self._readers
        )
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return answer_json(row_of(found))


def row_of(job: JobRow) -> dict[str, object]:
    """Show a job with the columns of the guides' tables."""
    return {
        "job_id": str(job.id),
        "task_id": job.task_id,
        "input_url": shown_url(job.input_url),
        "kind": job.kind,
        "rendition": job.rendition,
        "status": job.status,
        "output_url": job.output_url,
        "error": job.error,
        "metadata": job.metadata,
        "batch_id": job.batch_id,
        "created_at": _text(job.created_at),
        "completed_at": _text(job.completed_at),
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
