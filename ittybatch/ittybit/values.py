"""Reads single JSON values from outside, which may have the wrong type or be huge or hostile.

An invalid value becomes None, never an error. NUL characters and lone surrogates, which
databases refuse, are replaced.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# Versions of Ittybit's API write times as milliseconds, seconds, or ISO 8601.
_MILLISECONDS_FROM = 10**11
_END_OF_TIME_S = 253_402_300_799  # 9999-12-31T23:59:59Z
_MAX_INTEGER = 2**63 - 1
_MAX_NUMBER = 10**12
_MAX_NUMERAL = 32
_MAX_DATE = 48


def record(value: object) -> dict[str, Any] | None:
    """The value as a dict if it is a JSON object."""
    if type(value) is dict:
        return value
    return dict(value) if isinstance(value, Mapping) else None


def text(value: object, longest: int) -> str | None:
    """The value if it is non-empty text, cut to `longest` characters."""
    if not isinstance(value, str) or not value:
        return None
    cut = value[:longest]
    if not cut.isascii():
        cut = cut.encode("utf-8", "replace").decode()
    return cut.replace("\0", "\ufffd") if "\0" in cut else cut


def identifier(value: object, longest: int) -> str | None:
    """The value if it can be an id, a word or a URL; text over `longest` is None, never cut."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) <= _MAX_INTEGER else None
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        return None
    return value.strip() or None


def number(value: object, largest: float = _MAX_NUMBER) -> float | None:
    """The value if it is a finite number from 0 to `largest`, also as text."""
    if isinstance(value, str):
        value = _numeral(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= largest else None


def whole(value: object, largest: int = _MAX_INTEGER) -> int | None:
    """The value if it is a whole number from 0 to `largest`."""
    if type(value) is int:
        return value if 0 <= value <= largest else None
    found = number(value, largest)
    # The float nearest to `largest` may lie above it.
    return min(int(found), largest) if found is not None and found.is_integer() else None


def instant(value: object) -> datetime | None:
    """The value as an aware UTC time, from milliseconds, seconds or ISO 8601."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        moment = _numeral(value)
        return _date(value) if moment is None else _since_epoch(moment)
    return _since_epoch(value) if isinstance(value, int | float) else None


def _numeral(value: str) -> float | None:
    """The number in a text, if it is one; infinity for very large ones."""
    if len(value) > _MAX_NUMERAL or not value.isascii():
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return None if math.isnan(found) else found


def _since_epoch(value: float) -> datetime | None:
    if not 0 <= value <= _END_OF_TIME_S * 1000:
        return None
    moment_s = value / 1000 if value >= _MILLISECONDS_FROM else value
    return datetime.fromtimestamp(moment_s, UTC) if moment_s <= _END_OF_TIME_S else None


def _date(value: str) -> datetime | None:
    if len(value) > _MAX_DATE:
        return None
    try:
        found = datetime.fromisoformat(value.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
