"""Rows of a manifest turned into items, or into the reason why not."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import urlsplit

from ittybatch.ittybit.options import InvalidOptions, canonical_options
from ittybatch.profiles import Item
from ittybatch.profiles.keys import S3_OBJECT
from ittybatch.profiles.rendition import SLUG
from ittybatch.sources.cells import NO_TEXT
from ittybatch.sources.columns import METADATA_PREFIX, Columns
from ittybatch.sources.errors import without_secrets
from ittybatch.sources.etag import bare_etag
from ittybatch.sources.nothing import is_nothing
from ittybatch.sources.page import Reject
from ittybatch.sources.records import Record
from ittybatch.sources.s3 import SCHEME, split_uri

MAX_INPUT_CHARACTERS = 4096
MAX_OPTIONS_CHARACTERS = 16_384
MAX_VALUE_CHARACTERS = 2048
MAX_EXCERPT_CHARACTERS = 200

# Half a pair of surrogates is no text: no database and no wire takes it.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Options and metadata may stand on several lines.
UNSEEN_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_PROFILE = re.compile(SLUG)
_SEPARATORS = re.compile(r"[ -]")
_SIZE = re.compile(r"[0-9]{1,18}")
_MOST_BYTES = 10**18
_DIRECTORY_BUCKET = "--x-s3/"


class _BadCellError(Exception):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class Rows:
    """Reads the rows under one header.

    Args:
        columns: The header.
        typed: Whether the format has a NULL of its own, so that the word `NULL` is text.
    """

    def __init__(self, columns: Columns, *, typed: bool = False) -> None:
        self._names = columns.names
        self._typed = typed
        self._titled = [place for place, name in enumerate(columns.names) if name]
        self._metadata = columns.metadata
        place = columns.places.get
        self._input = columns.places["input"]
        self._kind = place("kind")
        self._options = place("options")
        self._profile = place("profile")
        self._fingerprints = [
            found for name in ("fingerprint", "etag") if (found := place(name)) is not None
        ]
        self._size = place("size_bytes")
        self._width = len(columns.names)
        self._read = columns.read

    def is_row(self, cells: list[str]) -> bool:
        """Say whether values make an item."""
        return isinstance(self.item_of(0, cells), Item)

    def read(self, record: Record) -> Item | Reject | None:
        """Turn a record into an item; a bad one into a reject; an empty one into None."""
        if record.problem is not None:
            return reject_of(record.line, "row", record.problem, [record.text])
        return self.item_of(record.line, record.cells)

    def item_of(
        self,
        line: int,
        cells: list[str],
        pairs: Mapping[str, str] | None = None,
        *,
        plain: bool = False,
    ) -> Item | Reject | None:
        """Turn a row's values into an item.

        Bad values become a reject that names the column; a row without any under a title, None.

        Args:
            line: Where the row begins.
            cells: Its values, in the order of the columns; missing ones are empty.
            pairs: Metadata that is not in columns.
            plain: Whether the values are known to be short and without control characters.
        """
        if len(cells) == self._width and (plain or _is_plain(cells)):
            item = self._regular_item(line, cells, pairs)
            if item is not None:
                return item
        if not pairs and self._is_empty(cells):
            return None
        try:
            return self._item(line, cells, pairs)
        except _BadCellError as error:
            return reject_of(line, error.field or "row", error.reason, cells)

    def _is_empty(self, cells: list[str]) -> bool:
        titled = [place for place in self._titled if place < len(cells)]
        beyond = cells[self._width :]
        return not any(cells[place].strip() for place in titled) and not any(beyond)

    def _regular_item(
        self, line: int, cells: list[str], pairs: Mapping[str, str] | None
    ) -> Item | None:
        """The item of a row that has nothing special, or None: `_item` finds out what."""
        uri = cells[self._input]
        if not S3_OBJECT.fullmatch(uri) or uri[-1].isspace() or _DIRECTORY_BUCKET in uri:
            return None
        kind = (cells[self._kind] or None) if self._kind is not None else None
        given = (cells[self._options] or None) if self._options is not None else None
        options = None
        if kind or given:
            options, _, reason = _parsed(kind or "", given)
            if reason is not None:
                return None
        profile = (cells[self._profile] or None) if self._profile is not None else None
        if profile and (kind or not _PROFILE.fullmatch(profile) or is_nothing(profile)):
            return None
        size = (cells[self._size] or None) if self._size is not None else None
        if size and not _SIZE.fullmatch(size):
            return None
        return Item(
            uri,
            self._fingerprint(cells) if self._fingerprints else None,
            int(size) if size else None,
            None,
            line,
            kind,
            options,
            profile,
            self._pairs(cells) if pairs is None else pairs,
        )

    def _item(self, line: int, cells: list[str], pairs: Mapping[str, str] | None) -> Item:
        missing = len(self._names) - len(cells)
        if missing < 0:
            if any(cells[self._width :]):
                raise _BadCellError(
                    "row",
                    f"has {len(cells)} values under {len(self._names)} columns; "
                    "put quotes around values that hold separators",
                )
            cells = cells[: self._width]
        cells = [*cells, *[""] * missing] if missing > 0 else cells
        self._check_characters(cells)
        kind = self._cell(cells, self._kind)
        profile = self._cell(cells, self._profile)
        return Item(
            uri=_checked_input(self._cell(cells, self._input) or ""),
            fingerprint=self._fingerprint(cells),
            size_bytes=_size(self._cell(cells, self._size)),
            line=line,
            kind=_as_kind(kind),
            options=_checked_options(kind, self._cell(cells, self._options)),
            profile=_checked_profile(profile, kind),
            metadata=self._pairs(cells) if pairs is None else pairs,
        )

    def _check_characters(self, cells: list[str]) -> None:
        # One look at the row is enough for almost every row.
        if _is_plain(cells):
            return
        for place in self._read:
            cell = cells[place]
            unseen, most = UNSEEN, MAX_VALUE_CHARACTERS
            if place == self._size:
                continue
            if place == self._options:
                unseen, most = UNSEEN_IN_TEXT, MAX_OPTIONS_CHARACTERS
            elif self._names[place].startswith(METADATA_PREFIX):
                unseen = UNSEEN_IN_TEXT
            elif place == self._input:
                most = MAX_INPUT_CHARACTERS
            if len(cell) > most:
                raise _BadCellError(
                    self._names[place], f"has {len(cell)} characters; at most {most} are read"
                )
            if found := unseen.search(cell):
                raise _BadCellError(self._names[place], control_character(found[0]))

    @staticmethod
    def _cell(cells: list[str], place: int | None) -> str | None:
        if place is None:
            return None
        cell = cells[place].strip()
        return None if not cell or is_nothing(cell) else cell

    def _fingerprint(self, cells: list[str]) -> str | None:
        for place in self._fingerprints:
            found = bare_etag(cells[place])
            if found and not is_nothing(found):
                return found
        return None

    def _pairs(self, cells: list[str]) -> Mapping[str, str]:
        return {
            name: cell
            for name, place in self._metadata
            if (cell := cells[place]) and (self._typed or not is_nothing(cell))
        }


def _is_plain(cells: list[str]) -> bool:
    text = ",".join(cells)
    return len(text) <= MAX_VALUE_CHARACTERS and not UNSEEN.search(text)


def _checked_input(uri: str) -> str:
    if not uri:
        raise _BadCellError("input", "is empty; give an s3://, https:// or http:// URI")
    if uri.startswith(SCHEME):
        try:
            _, key = split_uri(uri)
        except ValueError as error:
            raise _BadCellError("input", str(error)) from error
        if not key or key.endswith("/"):
            raise _BadCellError("input", "names no object; write s3://bucket/key")
        return uri
    try:
        parts = urlsplit(uri)
        usable = bool(parts.scheme.lower() in {"http", "https"} and parts.hostname)
        port = parts.port
    except ValueError as error:
        raise _BadCellError("input", f"is not a URL: {error}") from error
    if not usable or port == 0 or " " in uri:
        raise _BadCellError("input", "must be an s3://, https:// or http:// URI")
    if parts.username is not None or parts.password is not None:
        raise _BadCellError("input", "holds a password; use a signed URL or a connection")
    return uri


def _checked_profile(profile: str | None, kind: str | None) -> str | None:
    if profile is None:
        return None
    if kind is not None:
        raise _BadCellError("profile", "and `kind` exclude each other; empty one of them")
    name = profile.lower()
    if not _PROFILE.fullmatch(name):
        raise _BadCellError("profile", "is no profile's name; use a-z, 0-9, - and _")
    return name


def _as_kind(kind: str | None) -> str | None:
    """A kind as it is spelt here: `Adaptive Video` is `adaptive_video`."""
    return _SEPARATORS.sub("_", kind.lower()) if kind else None


def _checked_options(kind: str | None, text: str | None) -> Mapping[str, Any] | None:
    if kind is None:
        if text is not None:
            raise _BadCellError("options", "need a `kind` to belong to")
        return None
    options, field, reason = _parsed(_as_kind(kind) or "", text)
    if reason is not None:
        raise _BadCellError(field, reason)
    return options


# Rows repeat the same few options; checking them anew would be most of the work.
@lru_cache(maxsize=8192)
def _parsed(kind: str, text: str | None) -> tuple[Mapping[str, Any] | None, str, str | None]:
    try:
        given = json.loads(
            text or "{}", object_pairs_hook=without_twins, parse_constant=refuse_constant
        )
    except (ValueError, RecursionError) as error:
        return None, "options", f"are not JSON: {error}"
    if not isinstance(given, dict):
        return None, "options", 'are not a JSON object, such as {"width": 1280}'
    try:
        return canonical_options(kind, given), "options", None
    except InvalidOptions as error:
        wrong = error.problems[0].field == "kind"
        reason = "; ".join(str(problem) for problem in error.problems)
        return None, "kind" if wrong else "options", reason


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON, for `object_pairs_hook`.

    Raises:
        ValueError: A name stands twice; the last one would win.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def refuse_constant(name: str) -> NoReturn:
    """Refuse what Python takes for a number of JSON, for `parse_constant`.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{name} is no number")


def _size(text: str | None) -> int | None:
    """The size that a text gives; it is a hint, so what is no whole number gives none."""
    if text is None:
        return None
    if _SIZE.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and 0 <= number < _MOST_BYTES else None


def control_character(character: str) -> str:
    """Say of a character that it cannot be read."""
    if character == NO_TEXT:
        return "holds bytes that are no UTF-8, or a NUL character; write it as UTF-8 text"
    return f"holds the control character {character!r}; remove it"


def reject_of(line: int, field: str, reason: str, cells: list[str]) -> Reject:
    """Make a reject, with what can be shown of the row."""
    shown = ",".join(without_secrets(cell[: 4 * MAX_EXCERPT_CHARACTERS]) for cell in cells)
    return Reject(
        line,
        printable(field),
        printable(without_secrets(reason)),
        printable(shown[:MAX_EXCERPT_CHARACTERS]),
    )


def printable(text: str) -> str:
    """Text without characters that a terminal obeys or a database refuses."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
