"""Downloads of a batch's report: sent while they are written, never held whole."""

from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from typing import IO

from anyio import CapacityLimiter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ittybatch.engine.reporting import report_output, write_report
from ittybatch.engine.reports.forms import ReportFormat
from ittybatch.engine.reports.places import CONTENT_TYPES
from ittybatch.ledger import Ledger
from ittybatch.page.batch_address import known_batch
from ittybatch.page.pipe import Pipe
from ittybatch.page.shell import Shell

# Each has a thread and a connection of its own, which webhooks may need.
_AT_ONCE = 2


class Downloads:
    """The downloads of reports, few at a time."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(_AT_ONCE)
        self._under_way = 0

    def route(self, form: ReportFormat) -> Route:
        """The route of the reports in one format."""

        async def view(request: Request) -> Response:
            return await self._answer(request, form)

        return Route(f"/batches/{{batch}}/report.{form.value}", view)

    async def _answer(self, request: Request, form: ReportFormat) -> Response:
        batch = await known_batch(request)
        if self._under_way >= _AT_ONCE:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{_AT_ONCE} reports are being downloaded already. Try again when one has ended, "
                f"or run `ittybatch report {batch} --format {form.value}`.",
                {"Retry-After": "10"},
            )
        only = bool(request.query_params.get("failures"))
        ledger = Shell.of(request).ledger
        write = partial(_write, ledger=ledger, batch=batch, form=form, only_failures=only)
        name = f"{batch}{'-failures' if only else ''}.{form.value}"
        # A batch's id has letters, digits and hyphens only.
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(
            self._sent(write), headers=headers, media_type=CONTENT_TYPES[f".{form.value}"]
        )

    async def _sent(self, write: "partial[None]") -> AsyncIterator[bytes]:
        self._under_way += 1
        try:
            async for part in Pipe().sent(write, self._limiter):
                yield part
        finally:
            self._under_way -= 1


def _write(
    stream: IO[bytes], *, ledger: Ledger, batch: str, form: ReportFormat, only_failures: bool
) -> None:
    output = report_output(ledger, batch, form, stream, only_failures=only_failures)
    write_report(ledger, batch, [output])


def routes() -> list[Route]:
    """The routes of the downloads."""
    downloads = Downloads()
    return [downloads.route(form) for form in ReportFormat]
