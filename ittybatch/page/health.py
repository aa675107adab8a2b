"""The page of the installation's health."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.engine.amounts import format_count
from ittybatch.engine.prefect_pages import ui_url
from ittybatch.engine.starting import RECONCILE_DEPLOYMENT, start_upkeep
from ittybatch.errors import IttybatchError
from ittybatch.intake.watching import QueueStatus
from ittybatch.ledger import Transaction
from ittybatch.ledger.last_runs import RECONCILE, Ran, last_run, receivers
from ittybatch.ledger.pending import retry_refused
from ittybatch.ledger.sinks import SinkStatus, sink_names, sink_statuses
from ittybatch.ledger.webhook_counts import WebhookCounts, count_webhooks, last_webhook_at
from ittybatch.page.doctor import Doctor
from ittybatch.page.forms import read_form
from ittybatch.page.shell import Shell
from ittybatch.sinks.checking import describe_sink

_PATH = "/page/health"
# How long the request waits for the checks. After that, the response says that they are still
# running.
_WAIT_S = 8.0
_SILENT_AFTER = timedelta(minutes=3)
# `reconcile` runs every five minutes. Its first run in a new installation may begin only after
# five minutes, and takes some time.
_RECONCILE_LATE_AFTER = timedelta(minutes=30)
_FIRST_RECONCILE_WITHIN = timedelta(minutes=6)


@dataclass(frozen=True, slots=True)
class Health:
    """What the ledger knows of the installation.

    Args:
        sinks: The sinks, with the results that wait for each.
        receivers: Receivers seen within a day.
        reconcile: The last finished run of `reconcile`; None if it never finished.
        hour: Webhooks of the last hour, by verdict.
        day: Webhooks of the last day, by verdict.
        last_webhook_at: When the newest webhook came; None if none ever did.
    """

    sinks: Sequence[SinkStatus]
    receivers: Sequence[Ran]
    reconcile: Ran | None
    hour: WebhookCounts
    day: WebhookCounts
    last_webhook_at: datetime | None


def read_health(transaction: Transaction) -> Health:
    """Read what the ledger knows of the installation."""
    return Health(
        sinks=sink_statuses(transaction),
        receivers=receivers(transaction),
        reconcile=last_run(transaction, RECONCILE),
        hour=count_webhooks(transaction, timedelta(hours=1)),
        day=count_webhooks(transaction, timedelta(days=1)),
        last_webhook_at=last_webhook_at(transaction),
    )


class HealthPage:
    """The views of this page.

    Args:
        doctor: Runs the checks.
        queues: Gives the queues that this process watches.
    """

    def __init__(self, doctor: Doctor, queues: Callable[[], Sequence[QueueStatus]]) -> None:
        self._doctor = doctor
        self._queues = queues
        self._began_at = datetime.now(UTC)

    def routes(self) -> list[Route]:
        """The routes of this page."""
        return [
            Route("/health", self.view),
            Route("/regions/health", self.region),
            Route("/health/check", self.check, methods=["POST"]),
            Route("/health/reconcile", self.reconcile, methods=["POST"]),
            Route("/health/sinks/retry", self.retry_sink, methods=["POST"]),
        ]

    async def view(self, request: Request) -> Response:
        """Show the whole page."""
        return await self._show(request, "health.html")

    async def region(self, request: Request) -> Response:
        """Return the region that is refreshed."""
        return await self._show(request, "regions/health.html")

    async def check(self, request: Request) -> Response:
        """Run the checks of `ittybatch doctor`."""

        def examine() -> str:
            found = self._doctor.examine(_WAIT_S)
            if found is None:
                return "The checks are running. Their results appear here."
            return f"Everything is checked: {found}."

        return await Shell.of(request).act(request, "check", examine, back=_PATH, calls=True)

    async def reconcile(self, request: Request) -> Response:
        """Start a run of reconcile now, instead of at its next time."""

        def start() -> str:
            run = start_upkeep(RECONCILE_DEPLOYMENT, {}, by="page")
            return f"Flow run {run} begins when a worker takes it. What it corrects shows here."

        return await Shell.of(request).act(request, "reconcile", start, back=_PATH, calls=True)

    async def retry_sink(self, request: Request) -> Response:
        """Deliver again what a sink refused."""
        shell = Shell.of(request)
        name = (await read_form(request)).text("sink")

        def retry() -> str:
            if name not in shell.ledger.read(sink_names):
                raise IttybatchError(f"There is no sink {name!r}.", remedy="Reload the page.")
            count = retry_refused(shell.ledger, name)
            return f"{format_count(count, 'result')} will be delivered to {name} again."

        return await shell.act(request, "sinks retry", retry, back=_PATH, details={"sink": name})

    async def _show(self, request: Request, template: str) -> Response:
        shell = Shell.of(request)
        health = await shell.read(read_health)
        now = datetime.now(UTC)
        first_by = self._began_at + _FIRST_RECONCILE_WITHIN
        context: dict[str, Any] = {
            "health": health,
            "sinks": [(each, describe_sink(each)) for each in health.sinks],
            "receivers": [(each, now - each.at < _SILENT_AFTER) for each in health.receivers],
            "reconcile": _judge(health.reconcile, first_by, now),
            "first_reconcile_by": first_by,
            "examination": self._doctor.last,
            "queues": self._queues(),
            "prefect_url": ui_url(),
        }
        return await shell.render(request, template, **context)


def _judge(last: Ran | None, first_by: datetime, now: datetime) -> str:
    """The state of `reconcile`: `ok`, `late`, or `expected` in a new installation."""
    if last is None:
        return "late" if now > first_by else "expected"
    return "late" if now - last.at > _RECONCILE_LATE_AFTER else "ok"
