"""Durations and positions in a medium as people write them, and moments as Ittybit does."""

import re
from datetime import datetime

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_WITH_UNITS = re.compile(rf"(?:{_PART.pattern}\s*)+")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# As video players show it: 1:30 or 00:01:30.5.
_CLOCK = re.compile(r"(?:(\d{1,4}):(?=\d\d:))?(\d{1,4}):(\d\d(?:\.\d+)?)")


def seconds_with_units(text: str) -> float | None:
    """Read `90s`, `1m30s` or `1.5h` as seconds; None for any other text."""
    lower = text.strip().lower()
    if not _WITH_UNITS.fullmatch(lower):
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(lower))


def seconds_by_clock(text: str) -> float | None:
    """Read `1:30` or `00:01:30.5` as seconds; None for any other text."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    if float(seconds) >= 60 or (hours is not None and int(minutes) >= 60):  # noqa: PLR2004
        return None
    return int(hours or 0) * 3600.0 + int(minutes) * 60.0 + float(seconds)


def milliseconds(moment: datetime | None) -> int | None:
    """Milliseconds since 1970, as Ittybit's times are."""
    return None if moment is None else round(moment.timestamp() * 1000)
