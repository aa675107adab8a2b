"""The one route that strangers may call."""

import asyncio
import logging

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from ittybatch.ittybit.signature import verify
from ittybatch.ittybit.webhook import MalformedWebhook, parse_webhook
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.inbox import Arrival
from ittybatch.ledger.states import Verdict
from ittybatch.receiver.inbox import Inbox, InboxFull
from ittybatch.receiver.metrics import Metrics

logger = logging.getLogger(__name__)

SIGNATURE_HEADER = "ittybit-signature"
# Ittybit itself gives up after 5 s; whoever needs longer to send a few kilobytes means no good.
_LONGEST_BODY_S = 10.0
_RETRY_AFTER_S = 5


class WebhookRoute:
    """Checks, keeps and answers webhooks.

    Args:
        inbox: Where they are kept.
        secrets: Every secret that a signature may have been made with. Empty only where
            unsigned webhooks were allowed by name.
        max_body_bytes: Largest body read.
        metrics: Told of every request.
    """

    def __init__(
        self, inbox: Inbox, secrets: tuple[bytes, ...], max_body_bytes: int, metrics: Metrics
    ) -> None:
        self._inbox = inbox
        self._secrets = secrets
        self._max_body_bytes = max_body_bytes
        self._metrics = metrics

    async def __call__(self, request: Request) -> Response:
        """Answer one webhook: 200 once it is committed, whatever it says."""
        try:
            async with asyncio.timeout(_LONGEST_BODY_S):
                body = await self._body(request)
        except TimeoutError:
            return self._refuse(408, "The body took too long.")
        except ClientDisconnect:
            return self._refuse(400, "The body was cut short.")
        if body is None:
            return self._refuse(413, f"The body is over {self._max_body_bytes} bytes.")
        if self._secrets and not verify(body, request.headers.get(SIGNATURE_HEADER), self._secrets):
            return self._refuse(401, "The Ittybit-Signature header does not match the body.")
        return await self._keep(body)

    async def _keep(self, body: bytes) -> Response:
        try:
            arrival = Arrival(body, parse_webhook(body).job)
        except MalformedWebhook as error:
            logger.warning("A signed webhook could not be read and is kept as it is: %s", error)
            arrival = Arrival(body, None)
        try:
            verdict = await self._inbox.keep(arrival)
        except (LedgerUnavailable, InboxFull):
            response = self._refuse(503, "It cannot be kept just now; send it again.")
            response.headers["Retry-After"] = str(_RETRY_AFTER_S)
            return response
        self._metrics.kept(verdict)
        if verdict is Verdict.UNKNOWN and arrival.job is not None:
            logger.info("Kept a webhook for a job that is not in the ledger: %s", arrival.job.id)
        return PlainTextResponse(verdict.value)

    async def _body(self, request: Request) -> bytes | None:
        """The exact bytes received, or None where there are too many."""
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_body_bytes:
            return None
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > self._max_body_bytes:
                return None
            parts.append(part)
        return b"".join(parts)

    def _refuse(self, status: int, why: str) -> Response:
        self._metrics.refused(status)
        return PlainTextResponse(why, status_code=status)
