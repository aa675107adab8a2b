"""Downloads of a batch's report: sent while they are written, never held whole."""

from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import IO

from anyio import CapacityLimiter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ittybatch.engine.reporting import report_output, write_report
from ittybatch.engine.reports.forms import ReportFormat
from ittybatch.engine.reports.places import CONTENT_TYPES
from ittybatch.page.batch_address import known_batch
from ittybatch.page.pipe import Pipe
from ittybatch.page.shell import Shell
from ittybatch.page.streams import ClosedStream, more_time_of

# Each has a thread and a connection of its own, which webhooks may need.
_AT_ONCE = 2
# Not a workbook: a large one takes 400 MB and minutes of the CPU that webhooks need.
FORMS = tuple(form for form in ReportFormat if form is not ReportFormat.XLSX)


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
                f"or run `ittybatch report {batch} -o report.{form.value}`.",
                {"Retry-After": "10"},
            )
        only = bool(request.query_params.get("failures"))
        write = partial(_write, shell=Shell.of(request), batch=batch, form=form, only_failures=only)
        name = f"{batch}{'-failures' if only else ''}.{form.value}"
        # A batch's id has letters, digits and hyphens only.
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        parts = Pipe().sent(write, self._limiter, more_time_of(request))
        self._under_way += 1  # here and not when it is sent: others ask meanwhile
        return _Download(
            parts, self._end, headers=headers, media_type=CONTENT_TYPES[f".{form.value}"]
        )

    def _end(self) -> None:
        self._under_way -= 1


class _Download(ClosedStream):
    def __init__(
        self,
        parts: AsyncGenerator[bytes],
        end: Callable[[], None],
        *,
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        super().__init__(parts, headers=headers, media_type=media_type)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the report, and make room for the next, however it ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


def _write(
    stream: IO[bytes], *, shell: Shell, batch: str, form: ReportFormat, only_failures: bool
) -> None:
    output = report_output(shell.ledger, batch, form, stream, only_failures=only_failures)
    write_report(shell.ledger, batch, [output], kind_costs=shell.settings.kind_costs)


def routes() -> list[Route]:
    """The routes of the downloads."""
    downloads = Downloads()
    return [downloads.route(form) for form in FORMS]
