"""The receiver as a Starlette application and as a server."""

import contextlib
import gc
import logging
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from ittybatch.errors import ConfigurationError
from ittybatch.ledger import open_ledger
from ittybatch.receiver.inbox import Inbox
from ittybatch.receiver.metrics import Metrics
from ittybatch.receiver.pages import Pages
from ittybatch.receiver.protocol import IDLE_S, BoundedProtocol
from ittybatch.receiver.waking import WakerThread
from ittybatch.receiver.webhooks import WebhookRoute
from ittybatch.settings import Settings
from ittybatch.sinks.declared import declared_sinks, open_sinks, to_declare
from ittybatch.sinks.deliverer import Deliverer

logger = logging.getLogger(__name__)

# Ittybit waits 5 s for an answer: a 503 within that time is better than a later 200.
_LEDGER_PATIENCE_S = 3.0


def create_app(settings: Settings, *, waker: bool = True) -> Starlette:
    """Create the receiver.

    Args:
        settings: The secret, the ledger, the limits.
        waker: Whether this receiver also resumes flow runs. False if another one does.

    Raises:
        ConfigurationError: There is no secret, and unsigned webhooks are not allowed; or the
            file that declares the sinks cannot be used.
    """
    secrets = _secrets(settings)
    ledger = open_ledger(settings, patience_s=_LEDGER_PATIENCE_S)
    metrics = Metrics()
    sinks = declared_sinks(settings)
    deliverer = Deliverer(ledger, to_declare(sinks), open_sinks(sinks), metrics.sinks)
    inbox = Inbox(ledger, metrics, on_settled=deliverer.wake)
    webhooks = WebhookRoute(inbox, secrets, settings.max_body_bytes, metrics)
    thread = WakerThread(ledger, metrics, lease_s=settings.lease_s)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        inbox.start()
        deliverer.start()
        if waker:
            thread.start()
        # Without this, each full garbage collection walks through all imported modules and delays
        # webhooks by tens of milliseconds.
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()
        thread.stop()
        await inbox.stop()
        deliverer.stop()
        ledger.close()

    token = settings.metrics_token
    pages = Pages(ledger, metrics, token.get_secret_value() if token else None)
    app = Starlette(
        routes=[webhooks.route(), *pages.routes()],
        exception_handlers={HTTPException: webhooks.refuse},
        lifespan=lifespan,
    )
    # A redirect would go to whatever Host a stranger named.
    app.router.redirect_slashes = False
    return app


def serve(settings: Settings, *, host: str = "127.0.0.1", port: int | None = None) -> None:
    """Run the receiver until a signal stops it.

    Args:
        settings: The secret, the ledger, the limits, and `PORT`.
        host: The address to listen on.
        port: The port to listen on; overrides the settings.

    Raises:
        ConfigurationError: See `create_app`.
    """
    app = create_app(settings)
    uvicorn.Server(
        server_config(app, host=host, port=settings.port if port is None else port)
    ).run()


def server_config(app: Starlette, *, host: str, port: int) -> uvicorn.Config:
    """The configuration of uvicorn for the receiver."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="info",
        # Client addresses from proxies are not used.
        proxy_headers=False,
        server_header=False,
        http=BoundedProtocol,
        # A WebSocket handshake is answered like any other request.
        ws="none",
        timeout_keep_alive=int(IDLE_S),
        timeout_graceful_shutdown=10,
    )


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
