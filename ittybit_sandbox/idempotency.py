"""Idempotency-Keys: a repeated request gets the same response and has no second effect."""

import hashlib
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import orjson

from ittybit_sandbox.errors import ApiError
from ittybit_sandbox.jobs import now_ms
from ittybit_sandbox.validation import JsonObject
from ittybit_sandbox.vocabulary import ErrorKind

WINDOW_MS: Final = 24 * 60 * 60 * 1000
_MAX_KEY_CHARS: Final = 255

Resource = TypeVar("Resource")


@dataclass(slots=True)
class _Entry(Generic[Resource]):
    fingerprint: str
    resource: Resource
    first_used_at: int


class KeyRing(Generic[Resource]):
    """What each key created, for 24 hours after its first use."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry[Resource]] = {}

    def find(self, key: str, fingerprint: str) -> Resource | None:
        """Return what a key has created.

        Raises:
            ApiError: The key was used with another body.
        """
        self._drop_expired()
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.fingerprint != fingerprint:
            raise ApiError(
                409,
                ErrorKind.CONFLICT,
                "this Idempotency-Key was used with another body in the last 24 hours; "
                "send a new key with a new request",
            )
        return entry.resource

    def remember(
        self, key: str, fingerprint: str, resource: Resource, *, used_at: int | None = None
    ) -> None:
        """Store what a key created; `used_at` is in milliseconds since the epoch."""
        first_used_at = used_at or now_ms()
        if first_used_at > now_ms() - WINDOW_MS:
            self._entries[key] = _Entry(fingerprint, resource, first_used_at)

    def _drop_expired(self) -> None:
        # Keys are in the order of their first use, so the oldest come first.
        horizon = now_ms() - WINDOW_MS
        while self._entries:
            key = next(iter(self._entries))
            if self._entries[key].first_used_at > horizon:
                return
            del self._entries[key]


def fingerprint_of(route: str, body: JsonObject) -> str:
    """Hash a request's body, independent of the order of its fields."""
    digest = hashlib.blake2b(route.encode(), digest_size=16)
    digest.update(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    return digest.hexdigest()


def check_key(key: str | None) -> str | None:
    """Check the header.

    Raises:
        ApiError: The key is empty or too long.
    """
    if key is not None and not 0 < len(key) <= _MAX_KEY_CHARS:
        raise ApiError(
            400,
            ErrorKind.REQUEST_INVALID,
            f"Idempotency-Key must have 1 to {_MAX_KEY_CHARS} characters",
        )
    return key
