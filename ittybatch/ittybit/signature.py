"""Signs and verifies webhooks: HMAC-SHA256 of the raw body, hex, in `Ittybit-Signature`."""

import hmac
from collections.abc import Sequence

import orjson

from ittybatch.errors import ConfigurationError

HEADER = "Ittybit-Signature"
# The start of a delivery from `ittybatch doctor`, which tests the receiver and its secret.
_CHECK = b'{"ittybatch_check":'
_PREFIX = b"sha256="
_HEX_LENGTH = 64
_MAX_HEADER = 256


def sign(body: bytes, secret: bytes) -> str:
    """The signature of a body, as lowercase hex.

    Raises:
        ConfigurationError: The secret is empty, so anyone could sign.
    """
    if not secret:
        raise ConfigurationError(
            "The webhook secret is empty.", remedy="Set ITTYBIT_WEBHOOK_SECRET."
        )
    return hmac.digest(secret, body, "sha256").hex()


def check_body(nonce: str) -> bytes:
    """The body of a delivery that the receiver verifies but does not store."""
    return _CHECK + orjson.dumps(nonce) + b"}"


def is_check(body: bytes) -> bool:
    """Whether a delivery is only a test of the signature."""
    return body.startswith(_CHECK)


def verify(body: bytes, header: str | None, secrets: Sequence[bytes]) -> bool:
    """Whether one of the secrets signed exactly these bytes.

    Args:
        body: The bytes as received; a body that was parsed and written again differs.
        header: The value of `Ittybit-Signature`, or None if it is missing. A `sha256=`
            prefix and upper case are accepted.
        secrets: All valid secrets; during a rotation there are two.

    Tries every secret in constant time, so the duration reveals nothing.
    """
    if header is None or len(header) > _MAX_HEADER:
        return False
    given = header.encode("ascii", "replace").strip().lower().removeprefix(_PREFIX)
    if len(given) != _HEX_LENGTH:
        return False
    matches = [
        hmac.compare_digest(hmac.digest(secret, body, "sha256").hex().encode(), given)
        for secret in secrets
        if secret
    ]
    return any(matches)
