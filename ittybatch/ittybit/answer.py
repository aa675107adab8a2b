"""Turns an HTTP answer into a JSON body or into the error for its status."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from ittybatch.ittybit.errors import (
    AuthenticationError,
    InvalidRequest,
    IttybitError,
    KeyConflict,
    NotFound,
    PaymentRequired,
    RateLimited,
    Redirected,
    ServerError,
    UnreadableAnswer,
)
from ittybatch.ittybit.json_text import NotJson, read_json
from ittybatch.ittybit.redaction import redacted
from ittybatch.ittybit.values import identifier, number, record, text

_MAX_BODY = 2000
_MAX_MESSAGE = 500
_MAX_WORD = 64
_MAX_WAIT_S = 86_400.0

_BY_STATUS: dict[int, type[IttybitError]] = {
    HTTPStatus.UNAUTHORIZED: AuthenticationError,
    HTTPStatus.FORBIDDEN: AuthenticationError,
    HTTPStatus.PAYMENT_REQUIRED: PaymentRequired,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.REQUEST_TIMEOUT: ServerError,
    HTTPStatus.CONFLICT: KeyConflict,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimited,
}
_REMEDIES: dict[type[IttybitError], str] = {
    AuthenticationError: "Check ITTYBIT_API_KEY, and that its project is active.",
    PaymentRequired: "Settle the account's plan or spending limit at Ittybit, then continue.",
    Redirected: "Set ITTYBIT_API_URL to the API's own address.",
    KeyConflict: "Look for the job that was created under this key before you send it again.",
}
# Ittybit documents an error for a key that is reused with another body, but no status or kind.
_KEY_REUSED = re.compile(
    r"idempoten.{0,80}\b(?:re-?used?|already|conflict|mismatch|differ\w*|another|other)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its complete body.

    `what` names the request in messages; `headers` are found in any case.
    """

    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def accepted(self) -> bool:
        """Whether the status is 2xx; Ittybit answers a repeated request with 200 instead of 201."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def payload(self) -> Any:  # noqa: ANN401 - JSON is anything
        """The body as JSON.

        Raises:
            UnreadableAnswer: It is not JSON.
        """
        try:
            return read_json(self.body)
        except NotJson:
            raise self.unreadable("its body is not JSON") from None

    def unreadable(self, why: str) -> UnreadableAnswer:
        """The error for a 2xx answer with an unusable body."""
        return UnreadableAnswer(
            f"Ittybit answered {self.what} with {self.status}, but {why}.",
            remedy="Check that ITTYBIT_API_URL is Ittybit's API and not a proxy's page.",
            status=self.status,
        )

    def refusal(self, *secrets: str) -> IttybitError:
        """The error for the status, with the secrets masked."""
        # Masked before anything is cut: a cut could leave half a secret at the end.
        body = self.body.decode("utf-8", "replace")
        for secret in secrets:
            body = body.replace(secret, "[redacted]")
        kind, message = _error_in(body)
        reason = redacted(message) if message else _phrase(self.status)
        error = _class_of(self.status)
        if error is InvalidRequest and _KEY_REUSED.search(f"{kind} {reason}"):
            error = KeyConflict
        word = f" {kind}" if kind else ""
        return error(
            f"Ittybit refused {self.what} with {self.status}{word}: {reason.rstrip('.')}.",
            remedy=_REMEDIES.get(error),
            status=self.status,
            kind=kind,
            body=redacted(body)[:_MAX_BODY],
            retry_after_s=retry_after_s(self.headers.get("retry-after"), datetime.now(UTC)),
        )


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """The seconds in a `Retry-After` header, a number or an HTTP date; at most one day."""
    if not header:
        return None
    wait_s = number(header.strip(), float("inf"))
    if wait_s is None:
        moment = _http_date(header)
        if moment is None:
            return None
        wait_s = max(0.0, (moment - now).total_seconds())
    return min(wait_s, _MAX_WAIT_S)


def _http_date(header: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(header)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _class_of(status: int) -> type[IttybitError]:
    known = _BY_STATUS.get(status)
    if known:
        return known
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    return InvalidRequest if status >= HTTPStatus.BAD_REQUEST else Redirected


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"


def _error_in(body: str) -> tuple[str | None, str | None]:
    """Kind and message, from `{kind, message}` or the same under `error`, or plain text."""
    try:
        payload = read_json(body)
    except NotJson:
        plain = body.strip()
        return None, None if plain.startswith("<") else text(plain, _MAX_MESSAGE)
    outer = record(payload) or {}
    inner = outer.get("error")
    described = record(inner) or outer
    kind = identifier(described.get("kind") or described.get("code"), _MAX_WORD)
    message = text(described.get("message"), _MAX_MESSAGE) or text(inner, _MAX_MESSAGE)
    return kind, message
