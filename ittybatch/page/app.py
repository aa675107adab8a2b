"""The page as routes that the receiver serves."""

import functools
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from ittybatch.errors import IttybatchError
from ittybatch.intake.declared import Declared
from ittybatch.intake.uploads import RecallsRequests
from ittybatch.intake.watching import QueueStatus
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.page import (
    actions,
    batch,
    batches,
    held,
    item,
    item_retry,
    jobs,
    made,
    new,
    new_files,
    new_library,
    static_files,
)
from ittybatch.page.access import Access
from ittybatch.page.changes import Changes
from ittybatch.page.doctor import Doctor, check_everything
from ittybatch.page.filters import plain
from ittybatch.page.guard import Guard
from ittybatch.page.health import HealthPage
from ittybatch.page.making import Making
from ittybatch.page.sharing import SharedRegions
from ittybatch.page.shell import Shell
from ittybatch.settings import Settings


class LivePage:
    """The page, for a host that serves it.

    Args:
        ledger: The ledger.
        settings: Who may look and act, and what the levers need.
        intake: Takes requests for new jobs.
        declared: What `intake.yaml` declares.
        queues: Gives the queues that the host watches.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        intake: RecallsRequests,
        declared: Declared,
        *,
        queues: Callable[[], Sequence[QueueStatus]] = tuple,
    ) -> None:
        self._shell = Shell.create(ledger, settings)
        self._making = Making(settings, intake, declared)
        self._access = Access(settings)
        self._changes = Changes(ledger)
        doctor = Doctor(functools.partial(check_everything, settings))
        self._health = HealthPage(doctor, queues)

    def hint(self) -> None:
        """Show soon what this process has just committed. In the event loop only."""
        self._changes.hint()

    def end_streams(self) -> None:
        """End the streams of all viewers: the server is about to stop."""
        self._changes.end_streams()

    async def stop(self) -> None:
        """Stop watching the ledger, and looking at objects."""
        self._making.objects.close()
        await self._changes.stop()

    def routes(self) -> list[BaseRoute]:
        """`/`, which leads to the page, and everything below `/page`."""
        app = Starlette(
            routes=[
                *static_files.routes(),
                *self._changes.routes(),
                *self._health.routes(),
                *_views(),
            ],
            exception_handlers={HTTPException: _refused, IttybatchError: _failed},
        )
        app.state.shell = self._shell
        app.state.making = self._making
        # A redirect would go to whatever Host a stranger named.
        app.router.redirect_slashes = False
        return [
            Route("/", _lead),
            Route("/page", _lead),
            Mount("/page", app=Guard(SharedRegions(app), self._access)),
        ]


def _views() -> list[BaseRoute]:
    modules = (
        batches,
        batch,
        item,
        item_retry,
        jobs,
        held,
        new,
        new_files,
        new_library,
        made,
        actions,
    )
    return [route for module in modules for route in module.routes()]


async def _lead(_request: Request) -> Response:
    """Lead to the page, by a relative address: the host may have another name outside."""
    return RedirectResponse("page/", HTTPStatus.SEE_OTHER)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  Starlette's signature is wider
    return await _tell(request, error.status_code, error.detail, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, IttybatchError)  # noqa: S101  Starlette's signature is wider
    is_down = isinstance(error, LedgerUnavailable)
    status = HTTPStatus.SERVICE_UNAVAILABLE if is_down else HTTPStatus.CONFLICT
    return await _tell(request, status, error.message, remedy=error.remedy)


async def _tell(
    request: Request,
    status: int,
    what: str,
    *,
    remedy: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    if "hx-request" in request.headers:
        # It becomes a notice of the page, which shows the rest as it was.
        return PlainTextResponse(plain(f"{what} {remedy or ''}".strip()), status, headers)
    return await Shell.of(request).render(
        request, "error.html", status=status, headers=headers, code=status, what=what, remedy=remedy
    )
