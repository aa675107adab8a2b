"""The receiver as Starlette applications: one for everything, or two for two ports."""

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
from ittybatch.ledger import open_ledger
from ittybatch.receiver.api import create_api
from ittybatch.receiver.api.app import off_routes
from ittybatch.receiver.api.jobs import JobsRoute
from ittybatch.receiver.api.process import ProcessRoute
from ittybatch.receiver.api.taking import TakesRequests
from ittybatch.receiver.inbox import Inbox
from ittybatch.receiver.metrics import Metrics
from ittybatch.receiver.pages import Pages
from ittybatch.receiver.waking import WakerThread
from ittybatch.receiver.webhooks import WebhookRoute
from ittybatch.settings import Settings

logger = logging.getLogger(__name__)

# Ittybit waits 5 s for an answer: a 503 within that time is better than a later 200.
_LEDGER_PATIENCE_S = 3.0


class Receiver:
    """The parts of a receiver, and the applications that serve them.

    Args:
        settings: The secret, the ledger, the limits, the API's token.
        waker: Whether this receiver also resumes flow runs. False if another one does.
        intake: Takes requests; by default one that sends their jobs to Ittybit.

    Raises:
        ConfigurationError: There is no secret, and unsigned webhooks are not allowed.
    """

    def __init__(
        self, settings: Settings, *, waker: bool = True, intake: TakesRequests | None = None
    ) -> None:
        secrets = _secrets(settings)
        self._ledger = open_ledger(settings, patience_s=_LEDGER_PATIENCE_S)
        metrics = Metrics()
        self._inbox = Inbox(self._ledger, metrics)
        self._webhooks = WebhookRoute(self._inbox, secrets, settings.max_body_bytes, metrics)
        self._waker = WakerThread(self._ledger, metrics, lease_s=settings.lease_s)
        self._wakes = waker
        token = settings.metrics_token
        self._pages = Pages(self._ledger, metrics, token.get_secret_value() if token else None)
        self._intake = intake
        self._api = self._api_routes(settings, metrics)

    def everything(self) -> Starlette:
        """Every route, for a host with one port."""
        return self._app([self._webhooks.route(), *self._pages.routes(), *self._api])

    def public(self) -> Starlette:
        """Webhooks and `/healthz`: what the internet may reach if there is a second port."""
        return self._app([self._webhooks.route(), self._pages.health_route()])

    def private(self) -> Starlette:
        """Everything but webhooks, for the second port. `public` starts and stops the parts."""
        return self._app([*self._pages.routes(), *self._api], starts=False)

    def _app(self, routes: list[BaseRoute], *, starts: bool = True) -> Starlette:
        app = Starlette(
            routes=routes,
            exception_handlers={HTTPException: self._webhooks.refuse},
            lifespan=self._lifespan if starts else None,
        )
        # A redirect would go to whatever Host a stranger named.
        app.router.redirect_slashes = False
        return app

    def _api_routes(self, settings: Settings, metrics: Metrics) -> list[BaseRoute]:
        if settings.api_token is None:
            return [*off_routes()]
        routers = [JobsRoute(self._ledger).router()]
        if self._intake is not None:
            declared = load_declared(settings.intake_file, settings.profiles_dir)
            routers.append(ProcessRoute(self._intake, declared, settings.max_body_bytes).router())
        token = settings.api_token.get_secret_value()
        # Last and without a path: it also answers for paths that nobody has.
        return [Mount("", app=create_api(token, routers, metrics))]

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Any) -> AsyncIterator[None]:  # noqa: ANN401 - unused
        self._inbox.start()
        if self._wakes:
            self._waker.start()
        # Without this, each full garbage collection walks through all imported modules and delays
        # webhooks by tens of milliseconds.
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()
        self._waker.stop()
        await self._inbox.stop()
        self._ledger.close()


def create_app(settings: Settings, *, waker: bool = True) -> Starlette:
    """Create a receiver that serves everything.

    Args:
        settings: See `Receiver`.
        waker: See `Receiver`.

    Raises:
        ConfigurationError: See `Receiver`.
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
