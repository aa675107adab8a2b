"""The receiver as Starlette applications: one for everything, or two for two ports."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount

from ittybatch.errors import ConfigurationError
from ittybatch.intake.declaration import load_declared
from ittybatch.intake.intake import Intake
from ittybatch.intake.objects import Objects
from ittybatch.intake.watching import QueueStatus, Watching
from ittybatch.ledger import open_ledger
from ittybatch.page import LivePage
from ittybatch.receiver.api import create_api
from ittybatch.receiver.api.app import off_routes
from ittybatch.receiver.api.direct import direct_route
from ittybatch.receiver.api.jobs import JobsRoute
from ittybatch.receiver.api.process import ProcessRoute
from ittybatch.receiver.api.taking import RunsIntake
from ittybatch.receiver.api.uploads import UploadRoutes
from ittybatch.receiver.inbox import Inbox
from ittybatch.receiver.metrics import Metrics
from ittybatch.receiver.pages import Pages, why_not_ready
from ittybatch.receiver.presence import Presence
from ittybatch.receiver.protocol import END_STREAMS
from ittybatch.receiver.waking import WakerThread
from ittybatch.receiver.webhooks import WebhookRoute
from ittybatch.settings import Settings
from ittybatch.sinks.declared import declared_sinks, for_ledger, open_sinks
from ittybatch.sinks.deliverer import Deliverer

logger = logging.getLogger(__name__)

# Ittybit waits 5 s for an answer: a 503 within that time is better than a later 200.
_LEDGER_PATIENCE_S = 3.0


class Receiver:
    """The parts of a receiver, and the applications that serve them.

    Args:
        settings: The secret, the ledger, the limits, the API's token, the declared files.
        waker: Whether this receiver also resumes flow runs. False if another one does.
        intake: Takes requests; by default one that sends their jobs to Ittybit.

    Raises:
        ConfigurationError: There is no secret, and unsigned webhooks are not allowed.
        IttybatchError: A file that declares events or sinks cannot be used.
    """

    def __init__(
        self, settings: Settings, *, waker: bool = True, intake: RunsIntake | None = None
    ) -> None:
        secrets = _secrets(settings)
        self._declared = load_declared(settings.intake_file, settings.profiles_dir)
        self._ledger = open_ledger(settings, patience_s=_LEDGER_PATIENCE_S)
        self._metrics = Metrics()
        sinks = declared_sinks(settings)
        self._deliverer = Deliverer(
            self._ledger, for_ledger(sinks), open_sinks(sinks), self._metrics.sinks
        )
        self._intake = self._make_intake(settings) if intake is None else intake
        self._page = LivePage(
            self._ledger, settings, self._intake, self._declared, queues=self._queues
        )
        self._inbox = Inbox(self._ledger, self._metrics, on_settled=self._settled)
        self._webhooks = WebhookRoute(self._inbox, secrets, settings.max_body_bytes, self._metrics)
        self._waker = WakerThread(self._ledger, self._metrics, lease_s=settings.lease_s)
        self._wakes = waker
        token = settings.metrics_token
        self._pages = Pages(
            self._ledger, self._metrics, token.get_secret_value() if token else None
        )
        self._watching = self._watch(self._intake)
        self._api = self._api_routes(settings)
        self._presence = Presence(self._ledger, {"resumes flow runs": waker})

    def everything(self) -> Starlette:
        """Every route, for a host with one port."""
        return self._app([self._webhooks.route(), *self._private_routes()])

    def public(self) -> Starlette:
        """Webhooks and `/healthz`: what the internet may reach if there is a second port."""
        return self._app([self._webhooks.route(), self._pages.health_route()])

    def private(self) -> Starlette:
        """Everything but webhooks, for the second port. `public` starts and stops the parts."""
        return self._app(self._private_routes(), starts=False)

    def _private_routes(self) -> list[BaseRoute]:
        # The API is last: it also answers for paths that nobody has.
        return [*self._pages.routes(), *self._page.routes(), *self._api]

    def _app(self, routes: list[BaseRoute], *, starts: bool = True) -> Starlette:
        app = Starlette(
            routes=routes,
            exception_handlers={HTTPException: self._webhooks.refuse},
            lifespan=self._lifespan if starts else None,
        )
        # A redirect would go to whatever Host a stranger named.
        app.router.redirect_slashes = False
        return app

    def _queues(self) -> list[QueueStatus]:
        return [] if self._watching is None else self._watching.statuses()

    def _settled(self) -> None:
        self._deliverer.wake()
        self._page.hint()

    def _make_intake(self, settings: Settings) -> RunsIntake:
        watched = [each.uri for each in self._declared.buckets]
        return Intake(
            self._ledger,
            settings,
            self._declared.options,
            watched,
            objects=Objects(self._declared),
            on_recorded=self._deliverer.wake,
        )

    def _watch(self, intake: RunsIntake) -> Watching:
        return Watching(
            self._declared,
            intake,
            lambda: why_not_ready(self._ledger) is None,
            count=self._metrics.count_queue_messages,
        )

    def _api_routes(self, settings: Settings) -> list[BaseRoute]:
        if settings.api_token is None:
            return [*off_routes()]
        token = settings.api_token.get_secret_value()
        process = ProcessRoute(self._intake, self._declared, settings.max_body_bytes)
        uploads = UploadRoutes(settings, self._intake, self._declared.uploads)
        api = create_api(
            token,
            [
                process.router(),
                JobsRoute(self._ledger).router(),
                uploads.router(),
            ],
            self._metrics,
            [uploads.browser_router()],
            uploads.origins,
        )
        return [
            direct_route("/process", token, process.post, self._metrics),
            # Last and without a path: it also answers for paths that nobody has.
            Mount("", app=api),
        ]

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[dict[str, Any]]:
        await self._start()
        # Without this, each full garbage collection walks through all imported modules and delays
        # webhooks by tens of milliseconds.
        gc.collect()
        gc.freeze()
        # uvicorn waits for the ends of answers before it shuts the lifespan down.
        yield {END_STREAMS: self._page.end_streams}
        gc.unfreeze()
        await self._stop()

    async def _start(self) -> None:
        self._inbox.start()
        self._deliverer.start()
        await self._intake.start()
        await self._watching.start()
        if self._wakes:
            self._waker.start()
        self._presence.start()

    async def _stop(self) -> None:
        """Stop all parts at the same time: none of them needs another to end.

        One that fails to stop keeps no other from it: the intake may still be sending.
        """
        stops = [
            self._inbox.stop(),
            asyncio.to_thread(self._waker.stop),
            asyncio.to_thread(self._deliverer.stop),
            self._page.stop(),
            self._intake.stop(),
            self._watching.stop(),
            self._presence.stop(),
        ]
        ends = await asyncio.gather(*stops, return_exceptions=True)
        self._ledger.close()
        for error in ends:
            if isinstance(error, BaseException):
                raise error


def create_app(settings: Settings, *, waker: bool = True) -> Starlette:
    """Create a receiver that serves everything.

    Args:
        settings: See `Receiver`.
        waker: See `Receiver`.

    Raises:
        ConfigurationError: See `Receiver`.
        IttybatchError: See `Receiver`.
    """
    return Receiver(settings, waker=waker).everything()


def _secrets(settings: Settings) -> tuple[bytes, ...]:
    if settings.webhook_secrets:
        return settings.webhook_secrets
    if not settings.allow_unsigned_webhooks:
        raise ConfigurationError(
            "There is no webhook secret, so anyone could send false webhooks.",
            remedy="Set ITTYBIT_WEBHOOK_SECRET in the environment or in .env; or, only for tests, "
            "ITTYBATCH_ALLOW_UNSIGNED_WEBHOOKS=true.",
        )
    logger.warning("Webhooks are accepted unsigned: anyone can send false webhooks.")
    return ()
