"""Durations and sizes as people write them."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from ittybatch.ittybit.times import seconds_with_units

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b)", re.IGNORECASE)
# Beyond any object; a million terabytes.
_MOST_BYTES = 10**18
_FACTORS = {
    f"{letter}{binary}b": (1024 if binary else 1000) ** power
    for power, letter in enumerate(("", "k", "m", "g", "t"))
    for binary in ("", "i")
}


def parse_duration(value: object) -> object:
    """Read `6h`, `1h30m` or `90` as seconds; pydantic refuses other types."""
    if not isinstance(value, str):
        return value
    seconds = seconds_with_units(value)
    if seconds is None:
        raise ValueError(f"{value!r} is not a duration; write it like 30s, 15m, 6h or 1h30m")
    return seconds


def parse_size(value: object) -> object:
    """Read `10MB` or `1.5GiB` as bytes; pydantic refuses other types."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size; write it like 500kB, 10MB or 2GiB")
    size_bytes = float(match[1]) * _FACTORS[match[2].lower()]
    if size_bytes > _MOST_BYTES:
        raise ValueError(f"{value[:40]!r} is more than {_MOST_BYTES:,} bytes")
    return int(size_bytes)


Seconds = Annotated[float, Field(strict=True), BeforeValidator(parse_duration)]
ByteCount = Annotated[
    int,
    Field(strict=True, ge=0, le=_MOST_BYTES),
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"title": "With a unit", "type": "string"},
                {"title": "In bytes", "type": "integer", "minimum": 0},
            ]
        }
    ),
]
