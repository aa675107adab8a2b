"""The one route that strangers may call.

A bare ASGI application: what a framework puts around a handler takes longer than all that is
done with a webhook before it goes to the ledger.
"""

import logging
from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from ittybatch.ittybit.deadline import Deadline
from ittybatch.ittybit.signature import HEADER, is_check, verify
from ittybatch.ittybit.webhook import MalformedWebhook, parse_webhook
from ittybatch.ledger.inbox import Arrival
from ittybatch.ledger.states import Verdict
from ittybatch.receiver.inbox import Inbox, NotKept
from ittybatch.receiver.metrics import Metrics

logger = logging.getLogger(__name__)

PATH = "/webhooks/ittybit"
_VERIFIED = "verified"
_UNVERIFIED = "unverified"
_SIGNATURE = HEADER.lower().encode()
# Ittybit itself gives up after 5 s; whoever needs longer to send a few kilobytes means no good.
_LONGEST_BODY_S = 10.0
_RETRY_AFTER_S = 5


class _Refused(Exception):
    """A request that is not kept. Past the body's limits its connection is closed, unread."""

    def __init__(self, status: HTTPStatus, why: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


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

    def start(self) -> None:
        """Begin, in the event loop that serves it."""
        self._deadline = Deadline(_LONGEST_BODY_S)

    def stop(self) -> None:
        """Stop watching the time that bodies take."""
        self._deadline.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one webhook: 200 once it is committed, whatever it says."""
        try:
            said = await self._kept(scope, receive)
        except _Refused as refused:
            self._metrics.refused(refused.status)
            await _answer(send, refused.status, str(refused), *refused.headers)
        else:
            await _answer(send, HTTPStatus.OK, said)

    async def _kept(self, scope: Scope, receive: Receive) -> str:
        if scope["method"] != "POST":
            raise _Refused(
                HTTPStatus.METHOD_NOT_ALLOWED, "POST webhooks here.", (b"allow", b"POST")
            )
        body = await self._body(scope, receive)
        if self._secrets and not verify(body, _header(scope, _SIGNATURE), self._secrets):
            raise _Refused(HTTPStatus.UNAUTHORIZED, f"The {HEADER} header does not match the body.")
        if is_check(body):
            # Of `ittybatch doctor`: there is nothing in it to keep.
            return _VERIFIED if self._secrets else _UNVERIFIED
        arrival = _read(body)
        try:
            verdict = await self._inbox.keep(arrival)
        except NotKept:
            raise _Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "It cannot be kept just now; send it again.",
                (b"retry-after", str(_RETRY_AFTER_S).encode()),
            ) from None
        if verdict is Verdict.UNKNOWN and arrival.job is not None:
            logger.info("Kept a webhook for a job that is not in the ledger: %s", arrival.job.id)
        return verdict.value

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The exact bytes received."""
        announced = _header(scope, b"content-length") or "0"
        if not announced.isdecimal() or int(announced) > self._max_body_bytes:
            raise self._too_large()
        try:
            return await self._deadline.run(self._read_all(receive))
        except TimeoutError:
            raise _Refused(
                HTTPStatus.REQUEST_TIMEOUT, "The body took too long.", (b"connection", b"close")
            ) from None

    async def _read_all(self, receive: Receive) -> bytes:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise _Refused(HTTPStatus.BAD_REQUEST, "The body was cut short.")
            body += message.get("body", b"")
            if len(body) > self._max_body_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        return bytes(body)

    def _too_large(self) -> _Refused:
        why = f"The body is over {self._max_body_bytes} bytes."
        return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, why, (b"connection", b"close"))


def _read(body: bytes) -> Arrival:
    try:
        return Arrival(body, parse_webhook(body).job)
    except MalformedWebhook as error:
        logger.warning("A signed webhook could not be read and is kept as it is: %s", error)
        return Arrival(body, None)


def _header(scope: Scope, wanted: bytes) -> str | None:
    """A header's value; one that is given twice is as good as forged."""
    found: list[bytes] = [value for name, value in scope["headers"] if name == wanted]
    return found[0].decode("latin-1") if len(found) == 1 else None


async def _answer(send: Send, status: HTTPStatus, text: str, *headers: tuple[bytes, bytes]) -> None:
    body = text.encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
