"""Values of a database as a manifest would write them, and as a cursor keeps them."""

import math
import uuid
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson

# No value may hold it: it marks one that is no text.
NO_TEXT = "\x00"
_KEPT: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": uuid.UUID,
    "decimal": Decimal,
}


def _number(value: Any) -> str:  # noqa: ANN401 - float or Decimal
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    # Some databases have no whole numbers for large ones.
    whole = int(value) if value == value // 1 else value
    return str(whole)


def as_text(raw: bytes) -> str:
    """Decode UTF-8; what is none ends with `NO_TEXT`, so that no row takes it for a value."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        # An address with a replacement character in it would be another address.
        return raw.decode(errors="replace") + NO_TEXT


def _json(value: Any) -> str:  # noqa: ANN401 - dict or list
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


# The first that fits counts: a bool is an int.
_WRITE: list[tuple[Any, Callable[[Any], str]]] = [
    (type(None), lambda _: ""),
    (bool, lambda value: str(value).lower()),
    (date, lambda value: value.isoformat()),
    ((float, Decimal), _number),
    ((bytes, memoryview), lambda value: as_text(bytes(value))),
    ((dict, list), _json),
]


def as_cell(value: object) -> str:
    """Write a value as a manifest does: nothing for NULL, JSON for what has parts."""
    if isinstance(value, str):
        return value
    write = next((write for kind, write in _WRITE if isinstance(value, kind)), str)
    return write(value)


def as_place(value: object) -> object:
    """Make a key plain data.

    Raises:
        TypeError: Nothing of its type can be compared with after it was written down; the
            message is the type's name.
    """
    match value:
        case str() | int() | float():
            return value
        case datetime():
            return {"datetime": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case uuid.UUID() | Decimal():
            return {type(value).__name__.lower(): str(value)}
        case _:
            raise TypeError(type(value).__name__)


def from_place(value: object) -> Any:  # noqa: ANN401 - a key is of any type
    """Give the key that `as_place` has made plain."""
    if isinstance(value, dict):
        [(kind, text)] = value.items()
        return _KEPT[kind](text)
    return value
