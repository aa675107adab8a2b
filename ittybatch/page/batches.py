"""The page of all batches."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.ledger.queries import recent_batches
from ittybatch.page.shell import Shell

_SHOWN = 50


async def view(request: Request) -> Response:
    """Show the batches, the newest first."""
    return await _show(request, "batches.html")


async def region(request: Request) -> Response:
    """Show the list alone, for the page that shows it already."""
    return await _show(request, "regions/batches.html")


async def _show(request: Request, template: str) -> Response:
    shell = Shell.of(request)
    return await shell.render(
        request, template, batches=await shell.read(recent_batches, limit=_SHOWN)
    )


def routes() -> list[Route]:
    """The routes of this page."""
    return [Route("/", view), Route("/regions/batches", region)]
