"""Lines of JSON turned into items, or into the reason why not."""

import difflib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ittybatch.profiles import Item
from ittybatch.profiles.rendition import MAX_PAIRS, check_metadata_name
from ittybatch.sources.cells import as_cell
from ittybatch.sources.columns import KNOWN, METADATA_PREFIX, REQUIRED, Columns
from ittybatch.sources.page import Reject
from ittybatch.sources.rows import (
    MAX_VALUE_CHARACTERS,
    UNSEEN,
    Rows,
    refuse_constant,
    reject_of,
    without_twins,
)

MAX_LINE_BYTES = 1024 * 1024

_ALIASES = {"path": REQUIRED}
_CLOSE = 0.8
_TEXT = {name for name in KNOWN if name not in {"options", "size_bytes"}}


class _BadValueError(Exception):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class Objects:
    """Reads objects that each name one item.

    Args:
        mapping: Names that known values have here, by the known name.
        encoding: What the file is written in, for messages.
    """

    def __init__(self, mapping: Mapping[str, str], encoding: str) -> None:
        self._rows = Rows(Columns.from_header(list(KNOWN)))
        self._renamed = {title: name for name, title in mapping.items()}
        self._encoding = encoding.upper()

    def read(self, line: int, content: bytes) -> Item | Reject | None:
        """Turn a line into an item; a bad one into a reject; an empty one into None."""
        text = content.decode(errors="replace").strip().removeprefix("\ufeff")
        if not text:
            return None
        try:
            return self._item(line, content, text)
        except _BadValueError as error:
            return reject_of(line, error.field, error.reason, [text[:1000]])

    def _item(self, line: int, content: bytes, text: str) -> Item | Reject:
        given = self._parsed(content, text)
        values: dict[str, Any] = {}
        pairs: dict[str, str] = {}
        for title, value in given.items():
            name = self._renamed.get(title) or _known(title)
            if name is None or value is None:
                continue
            if name == "metadata":
                pairs.update(_pairs(value))
            elif name.startswith(METADATA_PREFIX):
                pairs.update(_pairs({name.removeprefix(METADATA_PREFIX): value}))
            elif name in values:
                raise _BadValueError(name, f"stands twice, the second time as {title[:40]!r}")
            else:
                values[name] = value
        cells = [_cell(name, values[name]) if name in values else "" for name in KNOWN]
        if len(pairs) > MAX_PAIRS:
            raise _BadValueError("metadata", f"has {len(pairs)} values; at most {MAX_PAIRS} fit")
        return self._rows.item_of(line, cells, pairs)

    def _parsed(self, content: bytes, text: str) -> dict[str, Any]:
        if len(content) >= MAX_LINE_BYTES:
            raise _BadValueError("row", f"the line has more than {MAX_LINE_BYTES} bytes")
        try:
            content.decode()
        except UnicodeDecodeError:
            raise _BadValueError(
                "row", f"is not {self._encoding}; save the file as UTF-8"
            ) from None
        try:
            given = json.loads(
                text, object_pairs_hook=without_twins, parse_constant=refuse_constant
            )
            # A half of a pair of surrogates is JSON, and yet no text.
            if "\\u" in text:
                json.dumps(given, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise _BadValueError("row", f"is not JSON: {error}") from error
        if not isinstance(given, dict):
            raise _BadValueError("row", 'is not a JSON object, such as {"input": "s3://..."}')
        return given


# A file's objects have the same few names.
@lru_cache(maxsize=1024)
def _known(title: str) -> str | None:
    plain = title.strip()
    lowered = plain.lower()
    if lowered.startswith(METADATA_PREFIX):
        return METADATA_PREFIX + plain[len(METADATA_PREFIX) :]
    name = _ALIASES.get(lowered, lowered)
    if name in KNOWN or name == "metadata":
        return name
    close = difflib.get_close_matches(lowered, [*KNOWN, "metadata"], n=1, cutoff=_CLOSE)
    if close:
        raise _BadValueError(plain[:40], f"is not known; is `{close[0]}` meant?")
    return None


def _cell(name: str, value: object) -> str:
    if name in _TEXT and not isinstance(value, str):
        raise _BadValueError(name, "is not text; put quotes around it")
    if name == "options" and not isinstance(value, (dict, str)):
        raise _BadValueError(name, 'are not a JSON object, such as {"width": 1280}')
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if name == "size_bytes" and isinstance(value, bool):
        raise _BadValueError(name, "is not a whole number of bytes")
    return as_cell(value)


def _pairs(given: object) -> dict[str, str]:
    if not isinstance(given, dict):
        raise _BadValueError("metadata", 'is not a JSON object, such as {"show": "Pilot"}')
    pairs: dict[str, str] = {}
    for name, value in given.items():
        field = f"{METADATA_PREFIX}{name}"[:80]
        try:
            check_metadata_name(name)
        except ValueError as error:
            raise _BadValueError(field, str(error)) from error
        if isinstance(value, (dict, list)):
            raise _BadValueError(field, "has parts; give text or a number")
        text = as_cell(value)
        if len(text) > MAX_VALUE_CHARACTERS:
            most = MAX_VALUE_CHARACTERS
            raise _BadValueError(field, f"has {len(text)} characters; at most {most} are read")
        if found := UNSEEN.search(text):
            raise _BadValueError(field, f"holds the control character {found[0]!r}; remove it")
        if text:
            pairs[name] = text
    return pairs
