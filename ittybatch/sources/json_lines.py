"""Lines of JSON as items or rejects."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ittybatch.profiles import Item
from ittybatch.profiles.rendition import MAX_PAIRS, check_metadata_name
from ittybatch.sources.cells import as_cell
from ittybatch.sources.columns import (
    INPUT_ALIASES,
    KNOWN,
    METADATA_PREFIX,
    REQUIRED,
    Columns,
    folded,
    plain_name,
    typing_error,
)
from ittybatch.sources.page import Reject
from ittybatch.sources.rows import (
    MAX_VALUE_CHARACTERS,
    UNSEEN_IN_TEXT,
    BadCellError,
    Rows,
    control_character,
    reject_of,
)

MAX_LINE_BYTES = 1024 * 1024

_TEXT = {name for name in KNOWN if name not in {"options", "size_bytes"}}


class _Duplicated(dict[str, Any]):
    """A JSON object that has some names twice."""

    names: frozenset[str] = frozenset()


class JsonLines:
    """Turns lines that hold one JSON object each into items.

    Args:
        mapping: Names that known values have in this file, by the known name.
        encoding: The file's encoding, for messages.
    """

    def __init__(self, mapping: Mapping[str, str], encoding: str) -> None:
        self._rows = Rows(Columns.from_header(list(KNOWN)), typed=True)
        self._renamed = {folded(title): name for name, title in mapping.items()}
        self._mapped = frozenset(mapping)
        self._encoding = encoding.upper()

    def read(self, line: int, content: bytes) -> Item | Reject | None:
        """Turn a line into an item, a bad line into a reject, an empty one into None."""
        text = content.decode(errors="replace").strip().removeprefix("\ufeff")
        if not text:
            return None
        try:
            return self._item(line, content, text)
        except BadCellError as error:
            # A line that is not an object may be of any file, so do not show its text.
            shown = [text[:1000]] if text.startswith("{") else []
            return reject_of(line, error.field, error.reason, shown)
        except RecursionError:
            return reject_of(line, "row", "is nested too deeply", [text[:1000]])

    def _item(self, line: int, content: bytes, text: str) -> Item | Reject | None:
        given = self._parsed(content, text)
        values: dict[str, Any] = {}
        metadata: dict[str, str] = {}
        for title, value in given.items():
            name = self._renamed.get(folded(title)) or self._own(title)
            if name is None or value is None or value != value:  # noqa: PLR0124 - NaN
                continue
            if isinstance(given, _Duplicated) and title in given.names:
                raise BadCellError(name, f"the name {title[:40]!r} appears twice")
            if name == "metadata":
                _add_once(metadata, self._unmapped(_metadata(value)))
            elif name.startswith(METADATA_PREFIX):
                _add_once(metadata, _metadata({name.removeprefix(METADATA_PREFIX): value}))
            elif name in values:
                raise BadCellError(name, f"appears twice, the second time as {title[:40]!r}")
            else:
                values[name] = value
        if REQUIRED not in values and not self._names_input(given):
            _take_alias(given, values)
        if REQUIRED not in values and any(value is not None for value in given.values()):
            names = ", ".join(repr(name[:40]) for name in list(given)[:10])
            raise BadCellError(REQUIRED, f"is empty or missing (found: {names})")
        cells = [_cell(name, values[name]) if name in values else "" for name in KNOWN]
        if len(metadata) > MAX_PAIRS:
            raise BadCellError("metadata", f"has {len(metadata)} values; at most {MAX_PAIRS} fit")
        return self._rows.item_of(line, cells, metadata)

    def _own(self, title: str) -> str | None:
        """The known name of a title; None if it has none, or if another title is mapped to it."""
        name = _known(title)
        return None if name in self._mapped else name

    def _names_input(self, given: Mapping[str, Any]) -> bool:
        """Whether an empty value is the row's input, so that no other address may replace it."""
        return REQUIRED in self._mapped or any(folded(title) == REQUIRED for title in given)

    def _unmapped(self, metadata: dict[str, str]) -> dict[str, str]:
        mapped = self._mapped
        return {
            name: text
            for name, text in metadata.items()
            if f"{METADATA_PREFIX}{name}" not in mapped
        }

    def _parsed(self, content: bytes, text: str) -> dict[str, Any]:
        if len(content) >= MAX_LINE_BYTES:
            raise BadCellError("row", f"the line has more than {MAX_LINE_BYTES} bytes")
        try:
            content.decode()
        except UnicodeDecodeError:
            raise BadCellError("row", f"is not {self._encoding}; save the file as UTF-8") from None
        try:
            given = json.loads(text, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise BadCellError("row", f"is not JSON: {error}") from error
        if not isinstance(given, dict):
            raise BadCellError("row", 'is not a JSON object, such as {"input": "s3://..."}')
        return given


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    result = _Duplicated(found)
    result.names = frozenset(name for name in names if names.count(name) > 1)
    return result


def _add_once(metadata: dict[str, str], pairs: Mapping[str, str]) -> None:
    for name, text in pairs.items():
        if metadata.setdefault(name, text) != text:
            raise BadCellError(f"{METADATA_PREFIX}{name}"[:80], "is given twice")


def _take_alias(given: Mapping[str, Any], values: dict[str, Any]) -> None:
    found = [
        name for name, value in given.items() if folded(name) in INPUT_ALIASES and value is not None
    ]
    # Other tools write the object as `path`, and beside it an `url` to look at it.
    found = [name for name in found if folded(name) == "path"] or found
    if len(found) > 1:
        listing = ", ".join(repr(name) for name in found)
        raise BadCellError(
            REQUIRED, f"is missing, and each of {listing} could be it; use `columns`"
        )
    for name in found:
        values[REQUIRED] = given[name]


# The objects of a file have the same few names.
@lru_cache(maxsize=1024)
def _known(title: str) -> str | None:
    name = plain_name(title)
    if name in KNOWN or name.startswith(METADATA_PREFIX):
        return name
    if folded(title) == "metadata":
        return "metadata"
    if problem := typing_error(name):
        raise BadCellError(name[:40], problem)
    return None


def _cell(name: str, value: object) -> str:
    if name in _TEXT and not isinstance(value, str):
        raise BadCellError(name, "is not text; put quotes around it")
    if name == "size_bytes" and isinstance(value, (dict, list)):
        raise BadCellError(name, "has parts; give a number")
    if name == "options":
        if not isinstance(value, (dict, str)):
            raise BadCellError(name, 'are not a JSON object, such as {"width": 1280}')
        if _has_duplicates(value):
            raise BadCellError(name, "a name appears twice")
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return as_cell(value)


def _has_duplicates(value: object) -> bool:
    """Say whether a JSON value has an object with a name twice, at any depth."""
    if isinstance(value, dict):
        return isinstance(value, _Duplicated) or any(map(_has_duplicates, value.values()))
    return isinstance(value, list) and any(map(_has_duplicates, value))


def _metadata(given: object) -> dict[str, str]:
    if not isinstance(given, dict):
        raise BadCellError("metadata", 'is not a JSON object, such as {"show": "Pilot"}')
    if isinstance(given, _Duplicated):
        raise BadCellError("metadata", "a name appears twice")
    pairs: dict[str, str] = {}
    for name, value in given.items():
        field = f"{METADATA_PREFIX}{name}"[:80]
        try:
            check_metadata_name(name)
        except ValueError as error:
            raise BadCellError(field, str(error)) from error
        if isinstance(value, (dict, list)):
            raise BadCellError(field, "has parts; give text or a number")
        text = as_cell(value)
        if len(text) > MAX_VALUE_CHARACTERS:
            most = MAX_VALUE_CHARACTERS
            raise BadCellError(field, f"has {len(text)} characters; at most {most} are read")
        if found := UNSEEN_IN_TEXT.search(text):
            raise BadCellError(field, control_character(found[0]))
        if text:
            pairs[name] = text
    return pairs
