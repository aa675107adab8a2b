"""Check an installation, and explain how to fix each problem."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from secrets import token_hex
from urllib.parse import urlsplit

import httpx

from ittybatch.engine.api_checks import check_receiver_api
from ittybatch.engine.connection import connect
from ittybatch.engine.finding import Finding, Grade
from ittybatch.engine.prefect_checks import check_prefect
from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.ittybit.addresses import has_host
from ittybatch.ittybit.errors import AuthenticationError, IttybitError
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.ittybit.signature import HEADER, check_body, sign
from ittybatch.ledger import open_ledger
from ittybatch.ledger.migrate import current_revision, newest_revision
from ittybatch.settings import Settings

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# Shorter secrets only cause a warning, because Ittybit may have issued them.
_MIN_SECRET_CHARS = 12


def check_all(settings: Settings) -> Iterator[Finding]:
    """Check everything that a batch relies on, except its source."""
    yield from _check_secret(settings)
    yield check_webhook_url(settings, settings.webhook_url)
    yield check_receiver_api(settings)
    yield from _check_ledger(settings)
    yield from check_prefect()


async def check_api(settings: Settings) -> Finding:
    """Check that Ittybit accepts the key."""
    try:
        async with connect(settings) as client:
            async for _ in client.list_jobs(page_size=1):
                break
    except AuthenticationError as error:
        return Finding(
            "API key", Grade.BROKEN, error.message, "Set ITTYBIT_API_KEY to a key that is active."
        )
    except IttybitError as error:
        return Finding(
            "API key", Grade.BROKEN, error.message, error.remedy or "Check ITTYBIT_API_URL."
        )
    except IttybatchError as error:
        return Finding("API key", Grade.BROKEN, error.message, error.remedy or "")
    return Finding("API key", Grade.OK, f"{settings.api_url} accepts the key.")


def _check_secret(settings: Settings) -> Iterator[Finding]:
    if settings.webhook_secrets:
        count = len(settings.webhook_secrets)
        state = "set" if count == 1 else f"{count} accepted: remove the old ones after rotating"
        shortest = min(map(len, settings.webhook_secrets))
        if shortest < _MIN_SECRET_CHARS:
            yield Finding(
                "Webhook secret",
                Grade.WARNING,
                f"{state}, but only {shortest} characters long: it could be guessed.",
                f"Set ITTYBIT_WEBHOOK_SECRET to one of {_MIN_SECRET_CHARS} characters or more.",
            )
            return
        yield Finding("Webhook secret", Grade.OK, state)
    elif settings.allow_unsigned_webhooks:
        yield Finding(
            "Webhook secret",
            Grade.WARNING,
            "none: anyone can send false results to the ledger.",
            "Set ITTYBIT_WEBHOOK_SECRET, and unset ITTYBATCH_ALLOW_UNSIGNED_WEBHOOKS.",
        )
    else:
        yield Finding(
            "Webhook secret",
            Grade.BROKEN,
            "none: the receiver does not start.",
            "Set ITTYBIT_WEBHOOK_SECRET.",
        )


def check_webhook_url(settings: Settings, url: str | None) -> Finding:
    """Check that Ittybit may call a webhook URL, and that a receiver with our secret answers."""
    if url is None:
        return Finding(
            "Webhook URL",
            Grade.WARNING,
            "none: results of jobs arrive by polling only.",
            "Set WEBHOOK_URL to the public https:// address of /webhooks/ittybit.",
        )
    return refuse_webhook_url(settings, url) or _probe_webhook_url(url, settings.webhook_secrets)


def refuse_webhook_url(settings: Settings, url: str) -> Finding | None:
    """Return why Ittybit would refuse a webhook URL or could not reach it; None if it would not."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    local = parts.hostname in _LOOPBACK
    if not parts.hostname or (parts.scheme != "https" and not (local and parts.scheme == "http")):
        return Finding(
            "Webhook URL",
            Grade.BROKEN,
            f"{without_secrets(url)} is not HTTPS, and Ittybit refuses it.",
            "Put the receiver behind TLS, or use a tunnel while developing.",
        )
    if not has_host(url):
        return Finding(
            "Webhook URL",
            Grade.BROKEN,
            f"{without_secrets(url)} names a host that cannot exist.",
            "Check the address: a host is names of 1 to 63 characters with dots between them.",
        )
    if local and urlsplit(settings.api_url).hostname not in _LOOPBACK:
        return Finding(
            "Webhook URL",
            Grade.BROKEN,
            f"{without_secrets(url)} is on this machine, which Ittybit cannot reach.",
            "Set WEBHOOK_URL to a public https:// address.",
        )
    return None


def _probe_webhook_url(url: str, secrets: Sequence[bytes]) -> Finding:
    """Send an unsigned request. A correct receiver refuses it."""
    shown = without_secrets(url)
    try:
        answer = httpx.post(url, content=b"{}", timeout=10)
    except httpx.HTTPError as error:
        return Finding(
            "Webhook URL",
            Grade.BROKEN,
            f"{shown} does not answer ({type(error).__name__}).",
            "Start `ittybatch receiver` there.",
        )
    match answer.status_code:
        case 401:
            return _probe_signature(url, secrets)
        case 200:
            return Finding(
                "Webhook URL",
                Grade.WARNING,
                f"{shown} accepts unsigned webhooks.",
                "Set ITTYBIT_WEBHOOK_SECRET for the receiver.",
            )
        case status:
            return Finding(
                "Webhook URL",
                Grade.BROKEN,
                f"{shown} answers {status}; a receiver answers 401.",
                "Check that the path is /webhooks/ittybit and leads to `ittybatch receiver`.",
            )


def _probe_signature(url: str, secrets: Sequence[bytes]) -> Finding:
    """Send signed deliveries, as Ittybit does. A receiver with the same secret accepts them."""
    shown = without_secrets(url)
    try:
        statuses = {_signed_status(url, secret) for secret in secrets}
    except httpx.HTTPError as error:
        return Finding(
            "Webhook URL",
            Grade.BROKEN,
            f"{shown} does not answer a signed delivery ({type(error).__name__}).",
            "Look at the receiver's log.",
        )
    if statuses <= {HTTPStatus.OK}:
        what = "accepts this secret's signature" if secrets else "requires a signature"
        return Finding("Webhook URL", Grade.OK, f"{shown} answers, and {what}.")
    refused = HTTPStatus.UNAUTHORIZED in statuses
    what = "it has another ITTYBIT_WEBHOOK_SECRET" if refused else f"answers {max(statuses)}"
    return Finding(
        "Webhook URL",
        Grade.BROKEN,
        f"{shown} refuses a delivery that is signed with ITTYBIT_WEBHOOK_SECRET: {what}.",
        "Start `ittybatch receiver` with the same ITTYBIT_WEBHOOK_SECRET as here, the one that "
        "Ittybit shows; check that no proxy changes bodies or drops headers.",
    )


def _signed_status(url: str, secret: bytes) -> int:
    body = check_body(token_hex(8))
    headers = {HEADER: sign(body, secret), "Content-Type": "application/json"}
    return httpx.post(url, content=body, headers=headers, timeout=10).status_code


def _check_ledger(settings: Settings) -> Iterator[Finding]:
    try:
        ledger = open_ledger(settings, patience_s=3)
    except ConfigurationError as error:
        yield Finding("Ledger", Grade.BROKEN, error.message, error.remedy or "")
        return
    try:
        revision = ledger.read(current_revision)
    except IttybatchError as error:
        yield Finding(
            "Ledger", Grade.BROKEN, error.message, "Check DATABASE_URL and that database."
        )
        return
    finally:
        ledger.close()
    where = ledger.engine.url.set(query={}).render_as_string(hide_password=True)
    if revision == newest_revision():
        yield Finding("Ledger", Grade.OK, f"{where} at revision {revision}.")
    elif revision is not None and revision > newest_revision():
        yield Finding(
            "Ledger",
            Grade.WARNING,
            f"{where} is at revision {revision}, which is newer than this version of ittybatch.",
            "It works. Upgrade ittybatch on this machine, too.",
        )
    else:
        at = f"at revision {revision}" if revision else "empty"
        yield Finding("Ledger", Grade.BROKEN, f"{where} is {at}.", "Run `ittybatch db upgrade`.")
