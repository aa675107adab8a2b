"""The receiver's pages for probes and operators. They reveal little to strangers."""

import asyncio
import hmac
import logging
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.migrate import current_revision, newest_revision
from ittybatch.ledger.watch import Watch, read_watch
from ittybatch.page.access import is_local
from ittybatch.receiver.metrics import Metrics

logger = logging.getLogger(__name__)

# The ledger is checked at most once in this time, however many requests arrive.
_READY_FOR_S = 1.0


class Pages:
    """`/healthz` and `/readyz` for everyone; `/metrics` with a token or from this machine.

    Args:
        ledger: The ledger to check and to read figures from.
        metrics: Rendered by `/metrics`.
        token: The bearer token for `/metrics`; None allows only this machine.
    """

    def __init__(self, ledger: Ledger, metrics: Metrics, token: str | None) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._token = token
        self._checking = asyncio.Lock()
        self._checked_until = 0.0
        self._not_ready: str | None = None

    def health_route(self) -> Route:
        """The route of `/healthz` alone."""
        return Route("/healthz", self.healthz)

    def routes(self) -> list[Route]:
        """The routes of these pages."""
        return [
            self.health_route(),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]

    async def healthz(self, _request: Request) -> Response:
        """Report that the receiver is alive."""
        return PlainTextResponse("ok")

    async def readyz(self, _request: Request) -> Response:
        """Report whether webhooks can be stored; only the log has the reason if not."""
        async with self._checking:
            now = asyncio.get_running_loop().time()
            if now >= self._checked_until:
                self._note(await run_in_threadpool(why_not_ready, self._ledger))
                self._checked_until = asyncio.get_running_loop().time() + _READY_FOR_S
            if self._not_ready is None:
                return PlainTextResponse("ready")
            return PlainTextResponse("not ready", status_code=HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(self, request: Request) -> Response:
        """Show the metrics to clients with the token, or on this machine."""
        if refused := self._refuse(request):
            return refused
        self._metrics.ledger.set(await run_in_threadpool(self._watch))
        return Response(self._metrics.render(), media_type="text/plain; version=0.0.4")

    def _watch(self) -> Watch | None:
        try:
            ready = why_not_ready(self._ledger) is None
            return self._ledger.read(read_watch) if ready else None
        except IttybatchError:  # the other metrics are useful without the ledger's
            return None

    def _refuse(self, request: Request) -> Response | None:
        if self._token is None:
            if is_local(request):
                return None
            return PlainTextResponse(
                "Only this machine may read the metrics. "
                "Set ITTYBATCH_METRICS_TOKEN to let others read them with that bearer token.",
                status_code=HTTPStatus.FORBIDDEN,
            )
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            return None
        return PlainTextResponse(
            "The metrics need the bearer token of ITTYBATCH_METRICS_TOKEN.",
            status_code=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _note(self, why: str | None) -> None:
        """Log changes only: probes ask every few seconds."""
        if why and why != self._not_ready:
            logger.warning("Not ready: %s", why)
        elif self._not_ready and not why:
            logger.info("Ready again.")
        self._not_ready = why


def why_not_ready(ledger: Ledger) -> str | None:
    """Say why the ledger cannot be used; None if it can."""
    try:
        revision = ledger.read(current_revision)
    except IttybatchError as error:
        return str(error)
    # Newer tables serve this version, too: receivers are restarted after the upgrade.
    if revision is None or revision < newest_revision():
        return "The ledger's tables are not up to date. Run `ittybatch db upgrade`."
    return None
