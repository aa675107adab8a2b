"""Sealed forms: what a viewer is shown is what they confirm, and no signature is on the page."""

import base64
import hmac
import secrets
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken

from ittybatch.intake.wanted import RequestRefused
from ittybatch.settings import Settings

_HOUR_S = 3600
# Long enough to look at a price; what is confirmed after it is looked at again.
VALID_S = 6 * _HOUR_S
_MAX_SEALED = 131_072
_MAX_PLAIN = 1_048_576


def page_secret(settings: Settings) -> str:
    """The secret that the page's keys are derived from, the same for all receivers.

    A receiver without any secret, which only tests have, makes one of its own.
    """
    if settings.api_token is not None:
        secret = settings.api_token.get_secret_value()
    elif settings.webhook_secrets:
        secret = settings.webhook_secrets[0].decode(errors="replace")
    else:
        secret = secrets.token_hex(32)
    # Not the secret itself: what the page seals must not open the API's uploads.
    return hmac.digest(secret.encode(), b"ittybatch: the page, 1", "sha256").hex()


class Seal:
    """Seals plain data into a field of a form, and opens it for a limited time.

    Args:
        secret: The key is derived from it.
    """

    def __init__(self, secret: str) -> None:
        # The number is that of the content's shape: a form of another version is refused as old.
        key = hmac.digest(secret.encode(), b"ittybatch: sealed forms, 2", "sha256")
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def close(self, content: Mapping[str, Any]) -> str:
        """Seal JSON: encrypted and signed (Fernet: AES-128 and HMAC-SHA256)."""
        packed = zlib.compress(orjson.dumps(content))
        return self._fernet.encrypt(packed).decode().rstrip("=")

    def open(self, sealed: str, valid_s: int = VALID_S) -> dict[str, Any]:
        """Open what `close` has sealed.

        Args:
            sealed: The sealed field.
            valid_s: Seconds after which it is too old.

        Raises:
            RequestRefused: It was not sealed here, or too long ago.
        """
        text = sealed[:_MAX_SEALED]
        padded = (text + "=" * (-len(text) % 4)).encode("ascii", errors="replace")
        try:
            packed = self._fernet.decrypt(padded, ttl=valid_s)
        except InvalidToken:
            raise RequestRefused(
                HTTPStatus.GONE,
                "form",
                f"This form is older than {valid_s // _HOUR_S} hours, or is not of this page. "
                "Nothing was made.",
                "Open New, and begin again.",
            ) from None
        content: dict[str, Any] = orjson.loads(zlib.decompressobj().decompress(packed, _MAX_PLAIN))
        return content
