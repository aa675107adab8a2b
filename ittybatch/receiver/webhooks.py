"""The webhook route, the only one that strangers may call."""

import logging
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ittybatch.bodies import read_body
from ittybatch.ittybit.signature import HEADER, is_check, verify
from ittybatch.ittybit.webhook import MalformedWebhook, parse_webhook
from ittybatch.ledger.inbox import Arrival
from ittybatch.ledger.states import Verdict
from ittybatch.receiver.inbox import Inbox, NotStored
from ittybatch.receiver.metrics import Metrics

logger = logging.getLogger(__name__)

PATH = "/webhooks/ittybit"
_VERIFIED = "verified"
_UNVERIFIED = "unverified"
_RETRY_AFTER_S = 5


class WebhookRoute:
    """Verifies webhooks, commits them, and answers them.

    Args:
        inbox: Commits them.
        secrets: Every secret that may have signed a webhook. Empty only if the settings allow
            unsigned webhooks.
        max_body_bytes: The largest body read.
        metrics: Counts refused requests.
    """

    def __init__(
        self, inbox: Inbox, secrets: tuple[bytes, ...], max_body_bytes: int, metrics: Metrics
    ) -> None:
        self._inbox = inbox
        self._secrets = secrets
        self._max_body_bytes = max_body_bytes
        self._metrics = metrics

    def route(self) -> Route:
        """The route for Starlette."""
        return Route(PATH, self.post, methods=["POST"])

    async def post(self, request: Request) -> Response:
        """Answer one webhook: 200 once it is committed, whatever it says.

        Raises:
            HTTPException: The webhook is not stored.
        """
        body = await read_body(request, self._max_body_bytes)
        if self._secrets and not verify(body, _signature(request), self._secrets):
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED, f"The {HEADER} header does not match the body."
            )
        if is_check(body):
            # From `ittybatch doctor`: there is nothing to keep.
            return PlainTextResponse(_VERIFIED if self._secrets else _UNVERIFIED)
        arrival = _read(body)
        try:
            verdict = await self._inbox.store(arrival)
        except NotStored:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The webhook could not be stored; send it again.",
                {"Retry-After": str(_RETRY_AFTER_S)},
            ) from None
        if verdict is Verdict.UNKNOWN and arrival.job is not None:
            logger.info("Stored a webhook for a job that is not in the ledger: %s", arrival.job.id)
        return PlainTextResponse(verdict.value)

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Turn an HTTPException of any route into its answer; count those of this route."""
        if not isinstance(error, HTTPException):  # pragma: no cover - registered for no other
            raise error
        if request.url.path == PATH:
            self._metrics.refused(error.status_code)
        return PlainTextResponse(error.detail, error.status_code, error.headers)


def _read(body: bytes) -> Arrival:
    try:
        return Arrival(body, parse_webhook(body).job)
    except MalformedWebhook as error:
        logger.warning("Stored a signed webhook as it is, because it is unreadable: %s", error)
        return Arrival(body, None)


def _signature(request: Request) -> str | None:
    """The signature header; None if it is given twice, which only a forger does."""
    values = request.headers.getlist(HEADER)
    return values[0] if len(values) == 1 else None
