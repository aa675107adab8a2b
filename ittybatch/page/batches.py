"""The page of all batches: those under way with their figures, and those that have ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.engine.naming import source_name
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.prices import Prices
from ittybatch.engine.speed import Speed, speed_at
from ittybatch.ledger import Transaction
from ittybatch.ledger.brakes import ceiling_of
from ittybatch.ledger.overview import LOOKED_AT, BatchFilter, BatchRow, overview
from ittybatch.ledger.pulse import pulse
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.states import BatchState
from ittybatch.page.drawing import WINDOWS, Drawing, draw_pulse
from ittybatch.page.shell import Shell
from ittybatch.settings import Settings

_ENDED_SHOWN = 30
_MAX_TEXT_CHARS = 200
_DAY = timedelta(days=1)
_LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ShownBatch:
    """A batch as the list shows it.

    Args:
        status: The batch in numbers.
        source: A short name of its source.
        speed: How fast its jobs end.
        spent: What it has spent, in the user's unit; None if unknown.
        ceiling: Submissions that it may make; None without a limit.
        most_cost: What it may spend; None without a limit or a price.
    """

    status: BatchStatus
    source: str
    speed: Speed
    spent: float | None
    ceiling: int | None
    most_cost: float | None


@dataclass(frozen=True, slots=True)
class ShownBatches:
    """The page's lists.

    Args:
        open: Batches that have not ended.
        ended: A page of those that have.
        next_url: The next page of these; None if there is none.
        looked_at: Ended batches that were looked at, if not all were; else None.
        drawing: Jobs ended per minute.
    """

    open: Sequence[ShownBatch]
    ended: Sequence[ShownBatch]
    next_url: str | None
    looked_at: int | None
    drawing: Drawing


async def view(request: Request) -> Response:
    """Show the batches, those under way first."""
    return await _show(request, "batches.html")


async def region(request: Request) -> Response:
    """Show the lists alone, for the page that shows them already."""
    return await _show(request, "regions/batches.html")


async def _show(request: Request, template: str) -> Response:
    shell = Shell.of(request)
    query = request.query_params
    shown = await shell.read(batches_of, query, shell.settings)
    # The region asks for the same as the page.
    asked = urlencode([(name, value) for name, value in query.multi_items() if name != "done"])
    return await shell.render(
        request,
        template,
        shown=shown,
        filtered=any(query.get(name) for name in ("q", "state", "since", "until", "after")),
        query=query,
        asked=f"?{asked}" if asked else "",
        states=list(BatchState),
        newest=_with(query, after=None) if query.get("after") else None,
        windows=[(each, _with(query, window=each.name)) for each in WINDOWS.values()],
        window=_window(query),
    )


def batches_of(transaction: Transaction, query: QueryParams, settings: Settings) -> ShownBatches:
    """Read the batches that a query asks for.

    Args:
        transaction: The transaction to look in.
        query: `q`, `state`, `since`, `until`, `idle`, `after` and `window`.
        settings: Rates by kind.
    """
    after = _text(query, "after") or None
    found = overview(transaction, _wanted(query), after=after, limit=_ENDED_SHOWN)
    window = WINDOWS[_window(query)]
    return ShownBatches(
        [_shown(row, settings) for row in found.open],
        [_shown(row, settings) for row in found.ended],
        _with(query, after=found.next) if found.next else None,
        found.looked_at if found.looked_at >= LOOKED_AT and not found.ended else None,
        draw_pulse(pulse(transaction, window.over, window.bars), window),
    )


def _shown(row: BatchRow, settings: Settings) -> ShownBatch:
    status = row.status
    options = BatchOptions.model_validate(status.options)
    ceiling = ceiling_of(status.options)
    price = options.cost_per_job
    prices = Prices(price, settings.kind_costs)
    return ShownBatch(
        status,
        source_name(status.source),
        speed_at(row.per_minute if status.state is BatchState.RUNNING else None, status),
        prices.cost(row.progress.sent_by_kind) if prices.any else None,
        ceiling,
        ceiling * price if ceiling is not None and price else None,
    )


def _wanted(query: QueryParams) -> BatchFilter:
    states = [BatchState(each) for each in query.getlist("state") if each in set(BatchState)]
    until = _day(query.get("until", ""))
    # Every batch was made before the last day that there is.
    after_it = until + _DAY if until and until < _LAST_DAY else None
    return BatchFilter(
        text=_text(query, "q"),
        states=states,
        since=_day(query.get("since", "")),
        until=after_it,
        idle=bool(query.get("idle")),
    )


def _text(query: QueryParams, name: str) -> str:
    # Postgres takes no NUL in text.
    return query.get(name, "").strip()[:_MAX_TEXT_CHARS].replace("\x00", "")


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _window(query: QueryParams) -> str:
    name = query.get("window", "")
    return name if name in WINDOWS else "1h"


def _with(query: QueryParams, **changes: str | None) -> str:
    """The address of this page with other parameters; those that are None are left out."""
    kept = [(name, value) for name, value in query.multi_items() if name not in {*changes, "done"}]
    kept += [(name, value) for name, value in changes.items() if value is not None]
    return f"/page/?{urlencode(kept)}" if kept else "/page/"


def routes() -> list[Route]:
    """The routes of this page."""
    return [Route("/", view), Route("/regions/batches", region)]
