"""Reads JSON strictly first, then tolerantly.

One invalid character must not hide how a job ended: JavaScript writes half of a cut emoji as a
lone surrogate, Python writes `NaN`, and editors add a byte order mark.
"""

import json
import math
from typing import Any

import orjson

_MAX_NUMERAL = 40


class NotJson(ValueError):
    """Text that even the tolerant reader cannot read as JSON."""


def read_json(body: bytes | str) -> Any:  # noqa: ANN401 - JSON is anything
    """Read JSON; invalid characters become question marks, invalid numbers null.

    Raises:
        NotJson: It is not JSON, or nested too deeply.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        strict = str(error)
    try:
        found = json.loads(
            _decoded(body),
            strict=False,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=lambda _: None,
        )
        # Written and read again, so that the values are those of the strict reader.
        written = json.dumps(found, ensure_ascii=False, allow_nan=False)
        return orjson.loads(written.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise NotJson(strict) from None


def _decoded(body: bytes | str) -> str:
    if isinstance(body, str):
        return body.removeprefix("\ufeff")
    return body.decode(json.detect_encoding(body), "replace")


def _integer(numeral: str) -> int | None:
    return int(numeral) if len(numeral) <= _MAX_NUMERAL else None


def _float(numeral: str) -> float | None:
    found = float(numeral)
    return found if math.isfinite(found) else None
