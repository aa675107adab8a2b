"""Checks of the receiver's API: whether it is on, and knows the same token."""

from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from ittybatch.engine.finding import Finding, Grade
from ittybatch.ittybit.addresses import has_host
from ittybatch.settings import Settings

_CHECK = "Receiver's API"
_ON = "on, for receivers with this ITTYBATCH_API_TOKEN."
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# No job has this id, so the answer tells only whether the token is right.
_PATH = "/jobs/0"
_TIMEOUT_S = 10


def check_receiver_api(settings: Settings) -> Finding:
    """Check the API where the webhook URL leads."""
    token = settings.api_token
    if token is None:
        return Finding(
            _CHECK,
            Grade.OK,
            "off: the receiver takes webhooks only.",
            "To send requests and events to it, set ITTYBATCH_API_TOKEN for the receiver.",
        )
    url = settings.webhook_url or ""
    if not has_host(url):
        return Finding(_CHECK, Grade.OK, _ON)
    parts = urlsplit(url)
    # A token is for nobody on the way.
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        return Finding(_CHECK, Grade.OK, _ON)
    return _probe(f"{parts.scheme}://{parts.netloc}", token)


def _probe(origin: str, token: SecretStr) -> Finding:
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
    try:
        answer = httpx.get(f"{origin}{_PATH}", headers=headers, timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        return Finding(
            _CHECK,
            Grade.WARNING,
            f"{origin} does not answer ({type(error).__name__}).",
            "Start `ittybatch receiver` there.",
        )
    match answer.status_code, _error_of(answer):
        case HTTPStatus.NOT_FOUND, "not found":
            return Finding(_CHECK, Grade.OK, f"on: {origin} accepts this token.")
        case HTTPStatus.NOT_FOUND, "The API is off.":
            return Finding(
                _CHECK,
                Grade.BROKEN,
                f"off at {origin}: that receiver has no ITTYBATCH_API_TOKEN.",
                "Start `ittybatch receiver` with the same ITTYBATCH_API_TOKEN as here.",
            )
        case HTTPStatus.UNAUTHORIZED, _:
            return Finding(
                _CHECK,
                Grade.BROKEN,
                f"{origin} refuses this token: it has another ITTYBATCH_API_TOKEN.",
                "Start `ittybatch receiver` with the same ITTYBATCH_API_TOKEN as here.",
            )
        case HTTPStatus.NOT_FOUND, _:
            return Finding(
                _CHECK,
                Grade.OK,
                f"on, and not open at {origin}: it is on the receiver's private port.",
            )
        case status, _:
            return Finding(
                _CHECK,
                Grade.WARNING,
                f"{origin}{_PATH} answers {int(status)}.",
                "Look at the receiver's log.",
            )


def _error_of(answer: httpx.Response) -> str | None:
    try:
        content = answer.json()
    except ValueError:
        return None
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, str) else None
