"""Values of Parquet, Excel, JSON and databases as the text that CSV would have."""

import json
import math
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import orjson

# No value may contain it, so it marks bytes that are not text.
NO_TEXT = "\x00"

# What pandas, numpy, spreadsheets, and the dumps of MySQL and Postgres write for NULL.
_NULLS = frozenset(
    ["null", "nan", "nat", "none", "n/a", "#n/a", "<na>", "-nan", "(null)"],
)
_LONGEST_NULL = max(map(len, _NULLS))
# In capitals only: `na` may be a profile for North America.
_OF_R = "NA"
# Is not JSON, so no options are made of it.
_TOO_DEEP = "(nested too deeply)"
# As many as a float may have.
_MOST_DIGITS = 308


def is_null(text: str) -> bool:
    r"""Say whether a whole value stands for NULL, such as `\N` or `NaN`."""
    return len(text) <= _LONGEST_NULL and (text == "\\N" or text.lower() in _NULLS)


def is_missing(text: str) -> bool:
    """Say whether a whole value of a column other than metadata stands for NULL.

    R writes `NA`. It is text in metadata, where it may be a country's code.
    """
    return is_null(text) or text == _OF_R


def as_text(raw: bytes) -> str:
    """Decode UTF-8. Other bytes get `NO_TEXT` at their end, so that no row accepts them."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        # An address with a replacement character would be another address.
        return raw.decode(errors="replace") + NO_TEXT


def as_cell(value: object) -> str:
    """Write a value as text: empty for NULL, JSON for objects and arrays."""
    if isinstance(value, str):
        return value
    write = next((write for kind, write in _WRITERS if isinstance(value, kind)), str)
    return write(value)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    # Some databases return large integers as floats.
    return str(int(value) if value.is_integer() else value)


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        return "" if value.is_nan() else str(value)
    # Writing out an exponent may need more memory than there is.
    if value.adjusted() > _MOST_DIGITS or value != value.to_integral_value():
        return str(value)
    return str(int(value))


def _json(value: Any) -> str:  # noqa: ANN401 - dict or list
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # orjson refuses integers beyond 64 bits, half surrogates and deep nesting.
        try:
            return json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"))
        except RecursionError:
            return _TOO_DEEP


# The first match counts: a bool is an int, too.
_WRITERS: list[tuple[Any, Callable[[Any], str]]] = [
    (type(None), lambda _: ""),
    (bool, lambda value: str(value).lower()),
    (date, lambda value: value.isoformat()),
    (float, _float),
    (Decimal, _decimal),
    ((bytes, memoryview), lambda value: as_text(bytes(value))),
    ((dict, list), _json),
]
