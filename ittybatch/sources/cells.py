"""Values of a database as a manifest would write them, and as a cursor keeps them."""

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson

_KEPT: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": uuid.UUID,
    "decimal": Decimal,
}


def as_cell(value: object) -> str:
    """Write a value as a manifest does: nothing for NULL, JSON for what has parts."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime() | date():
            return value.isoformat()
        case bytes() | memoryview():
            return bytes(value).decode(errors="replace")
        case dict() | list():
            return orjson.dumps(value, default=str).decode()
        case float() if value.is_integer():
            return str(int(value))
        case Decimal() if value == value.to_integral_value():
            return str(int(value))
        case _:
            return str(value)


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
