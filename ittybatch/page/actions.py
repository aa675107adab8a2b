"""The page of what was done: who asked for what, in which way, and what came of it."""

from contextlib import suppress
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.ledger.actions import PARTLY, Via, recent_actions
from ittybatch.ledger.batches import batch_names
from ittybatch.ledger.queries import AmbiguousBatch, find_batch
from ittybatch.page.forms import Form
from ittybatch.page.shell import Shell

_SHOWN = 50
_MAX_TEXT = 200
_MAX_ID_DIGITS = 18
# The outcome says it in words.
_HIDDEN = frozenset({PARTLY})


async def view(request: Request) -> Response:
    """Show what was done, the newest first."""
    return await _show(request, "actions.html")


async def region(request: Request) -> Response:
    """Show the list alone, for the page that shows it already."""
    return await _show(request, "regions/actions.html")


async def _show(request: Request, template: str) -> Response:
    given = request.query_params
    fields = Form({name: given.getlist(name) for name in ("batch", "actor")})
    batch, actor = (fields.text(name)[:_MAX_TEXT] for name in ("batch", "actor"))
    via = next((each for each in Via if each.value == given.get("via")), None)
    text = given.get("before", "")
    before = int(text) if text.isdecimal() and len(text) <= _MAX_ID_DIGITS else None
    shell = Shell.of(request)
    if batch:
        # A text that names no batch finds nothing.
        with suppress(AmbiguousBatch):
            batch = await shell.read(find_batch, batch)
    found = await shell.read(
        recent_actions,
        batch=batch or None,
        actor=actor or None,
        via=via,
        before=before,
        limit=_SHOWN + 1,
    )
    filters = {"batch": batch, "actor": actor, "via": via.value if via else ""}
    filters = {name: value for name, value in filters.items() if value}
    actions = found[:_SHOWN]
    last = actions[-1].id if len(found) > _SHOWN else None
    names = await shell.read(batch_names, {each.batch_id for each in actions if each.batch_id})
    return await shell.render(
        request,
        template,
        actions=actions,
        names=names,
        hidden=_HIDDEN,
        ways=[each.value for each in Via],
        filters=filters,
        newest=f"/page/actions?{urlencode(filters)}" if before is not None else None,
        older=f"/page/actions?{urlencode({**filters, 'before': last})}" if last else None,
        region_url=f"/page/regions/actions?{urlencode(filters)}" if before is None else None,
    )


def routes() -> list[Route]:
    """The routes of this page."""
    return [Route("/actions", view), Route("/regions/actions", region)]
