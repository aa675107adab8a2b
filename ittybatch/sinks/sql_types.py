"""Converts values to the type of a column, so that drivers and SQLAlchemy take them."""

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Float,
    Integer,
    Numeric,
    String,
    Uuid,
)
from sqlalchemy.types import TypeEngine

from ittybatch.sinks.fields import as_text

_TRUE = frozenset({"true", "t", "yes", "1"})
_FALSE = frozenset({"false", "f", "no", "0"})
# No integer column of any database is wider.
_MOST_INTEGER_DIGITS = 40
# As many as a NUMERIC of Postgres has before its point, which is the widest.
_MOST_DIGITS = 131_072


def convert(  # columns have any type
    value: Any,  # noqa: ANN401
    column: TypeEngine[Any],
    *,
    others_as_text: bool = False,
) -> Any:  # noqa: ANN401
    """Convert a value to the type of a column.

    Args:
        value: A string, number, bool, datetime, JSON value or None.
        column: The column's type, as reflected.
        others_as_text: Whether a type that is not known here gets text. Postgres parses text as
            any type, and blames the statement for a number that it cannot assign.

    Raises:
        ValueError: The value cannot be of that type.
    """
    if value is None:
        return None
    if isinstance(column, ARRAY):
        return _array(value, column, others_as_text=others_as_text)
    for kind, converted in _CONVERTERS:
        if isinstance(column, kind):
            try:
                return converted(value, column)
            except (ValueError, TypeError, InvalidOperation, OverflowError):
                shown = as_text(value)[:80]
                raise ValueError(f"{shown!r} is not of the type {column}") from None
    # Types of extensions and others that SQLAlchemy does not know are parsed by the database.
    passed = str if others_as_text else (str, int, float, bool)
    return value if isinstance(value, passed) else as_text(value)


def _uuid(value: Any, column: Any) -> Any:  # noqa: ANN401
    parsed = value if isinstance(value, uuid.UUID) else uuid.UUID(as_text(value))
    return parsed if column.as_uuid else str(parsed)


def _boolean(value: Any, _: Any) -> bool:  # noqa: ANN401
    if isinstance(value, bool):
        return value
    text = as_text(value).lower()
    if text not in _TRUE | _FALSE:
        raise ValueError
    return text in _TRUE


def _integer(value: Any, _: Any) -> int:  # noqa: ANN401
    if isinstance(value, datetime):
        raise TypeError
    number = Decimal(as_text(value) if not isinstance(value, bool) else int(value))
    # Writing out the exponent of 1e1000000 takes a minute, in which no other thread runs.
    if not number.is_finite() or number.adjusted() > _MOST_INTEGER_DIGITS or number != int(number):
        raise ValueError
    return int(number)


def _decimal(value: Any, column: Any) -> Decimal | float:  # noqa: ANN401
    number = Decimal(as_text(value) if not isinstance(value, bool) else int(value))
    if not column.asdecimal:
        return float(number)
    # Drivers for MySQL write the exponent out: 1e999999999 or 1e-999999999 would need gigabytes.
    if abs(number.adjusted()) > _MOST_DIGITS:
        raise ValueError
    return number


def _moment(value: Any, column: Any) -> datetime:  # noqa: ANN401
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(as_text(value))
    if column.timezone:
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    # A column without a time zone holds UTC, as Prisma and most frameworks write it.
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _day(value: Any, _: Any) -> date:  # noqa: ANN401
    if isinstance(value, datetime):
        return value.astimezone(UTC).date()
    return date.fromisoformat(as_text(value)[:10])


def _text(value: Any, _: Any) -> str:  # noqa: ANN401
    return as_text(value)


def _json(value: Any, _: Any) -> Any:  # noqa: ANN401
    return as_text(value) if isinstance(value, datetime) else value


def _array(value: Any, column: Any, *, others_as_text: bool) -> list[Any]:  # noqa: ANN401
    elements = value if isinstance(value, list) else [value]
    of_json = isinstance(column.item_type, JSON)
    return [
        _array(each, column, others_as_text=others_as_text)
        if isinstance(each, list) and not of_json
        else convert(each, column.item_type, others_as_text=others_as_text)
        for each in elements
    ]


_CONVERTERS: tuple[tuple[type[TypeEngine[Any]], Callable[[Any, Any], Any]], ...] = (
    (Uuid, _uuid),
    (Boolean, _boolean),
    (Integer, _integer),
    (Float, _decimal),
    (Numeric, _decimal),
    (DateTime, _moment),
    (Date, _day),
    (JSON, _json),
    (String, _text),
)
