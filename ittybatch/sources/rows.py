"""Rows of a manifest or a query as items or rejects."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import urlsplit

from ittybatch.ittybit.options import InvalidOptions, canonical_options
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.profiles import Item
from ittybatch.profiles.keys import S3_OBJECT
from ittybatch.profiles.rendition import SLUG
from ittybatch.sources.cells import NO_TEXT, is_missing, is_null
from ittybatch.sources.columns import METADATA_PREFIX, Columns
from ittybatch.sources.entry import MOST_BYTES, bare_etag
from ittybatch.sources.page import Reject
from ittybatch.sources.records import Record
from ittybatch.sources.s3 import SCHEME, split_uri

MAX_INPUT_CHARACTERS = 4096
MAX_OPTIONS_CHARACTERS = 16_384
MAX_VALUE_CHARACTERS = 2048
MAX_EXCERPT_CHARACTERS = 200

# A lone surrogate is not text: it cannot be encoded.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Options and metadata may have several lines.
UNSEEN_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_PROFILE = re.compile(SLUG)
_SEPARATORS = re.compile(r"[ -]")
_SIZE = re.compile(r"[0-9]{1,18}")
_DIRECTORY_BUCKET = "--x-s3/"


class BadCellError(Exception):
    """A value that cannot be used.

    Args:
        field: Its column.
        reason: What is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class Rows:
    """Turns the rows under one header into items.

    Args:
        columns: The header.
        typed: Whether the format has its own NULL; then the word `NULL` is text.
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
        """Turn a record into an item, a bad one into a reject, an empty one into None."""
        if record.problem is not None:
            return reject_of(record.line, "row", record.problem, [record.text])
        return self.item_of(record.line, record.cells)

    def item_of(
        self,
        line: int,
        cells: list[str],
        metadata: Mapping[str, str] | None = None,
        *,
        plain: bool = False,
    ) -> Item | Reject | None:
        """Turn a row's values into an item.

        A bad value makes the row a reject that names the column. A row without a value under any
        title becomes None.

        Args:
            line: Line on which the row begins.
            cells: Its values, in the order of the columns; missing ones are empty.
            metadata: Metadata that is not in columns.
            plain: Whether the values are known to be short and without control characters.
        """
        if len(cells) == self._width and (plain or _is_plain(cells)):
            item = self._regular_item(line, cells, metadata)
            if item is not None:
                return item
        if not metadata and self._is_empty(cells):
            return None
        try:
            return self._item(line, cells, metadata)
        except BadCellError as error:
            return reject_of(line, error.field or "row", error.reason, cells)

    def _is_empty(self, cells: list[str]) -> bool:
        titled = [place for place in self._titled if place < len(cells)]
        beyond = cells[self._width :]
        return not any(cells[place].strip() for place in titled) and not any(map(str.strip, beyond))

    def _regular_item(
        self, line: int, cells: list[str], metadata: Mapping[str, str] | None
    ) -> Item | None:
        """Return the item of an ordinary row, quickly; None sends the row to `_item`."""
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
        if profile and (kind or not _PROFILE.fullmatch(profile) or is_missing(profile)):
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
            self._metadata_of(cells) if metadata is None else metadata,
        )

    def _item(self, line: int, cells: list[str], metadata: Mapping[str, str] | None) -> Item:
        missing = len(self._names) - len(cells)
        if missing < 0:
            if any(map(str.strip, cells[self._width :])):
                raise BadCellError(
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
            metadata=self._metadata_of(cells) if metadata is None else metadata,
        )

    def _check_characters(self, cells: list[str]) -> None:
        # One check of the whole row is enough for almost every row.
        if _is_plain(cells):
            return
        for place in self._read:
            cell = cells[place]
            unseen, limit = UNSEEN, MAX_VALUE_CHARACTERS
            if place == self._size:
                continue
            if place == self._options:
                unseen, limit = UNSEEN_IN_TEXT, MAX_OPTIONS_CHARACTERS
            elif self._names[place].startswith(METADATA_PREFIX):
                unseen = UNSEEN_IN_TEXT
            elif place == self._input:
                limit = MAX_INPUT_CHARACTERS
            if len(cell) > limit:
                raise BadCellError(
                    self._names[place], f"has {len(cell)} characters; at most {limit} are read"
                )
            if found := unseen.search(cell):
                raise BadCellError(self._names[place], control_character(found[0]))

    @staticmethod
    def _cell(cells: list[str], place: int | None) -> str | None:
        if place is None:
            return None
        cell = cells[place].strip()
        return None if not cell or is_missing(cell) else cell

    def _fingerprint(self, cells: list[str]) -> str | None:
        for place in self._fingerprints:
            found = bare_etag(cells[place])
            if found and not is_missing(found):
                return found
        return None

    def _metadata_of(self, cells: list[str]) -> Mapping[str, str]:
        return {
            name: cell
            for name, place in self._metadata
            if (cell := cells[place]) and (self._typed or not is_null(cell))
        }


def _is_plain(cells: list[str]) -> bool:
    text = ",".join(cells)
    return len(text) <= MAX_VALUE_CHARACTERS and not UNSEEN.search(text)


def _checked_input(uri: str) -> str:
    if not uri:
        raise BadCellError("input", "is empty; give an s3://, https:// or http:// URI")
    if uri.startswith(SCHEME):
        try:
            _, key = split_uri(uri)
        except ValueError as error:
            raise BadCellError("input", str(error)) from error
        if not key or key.endswith("/"):
            raise BadCellError("input", "names no object; write s3://bucket/key")
        return uri
    try:
        parts = urlsplit(uri)
        usable = bool(parts.scheme.lower() in {"http", "https"} and parts.hostname)
        port = parts.port
    except ValueError as error:
        raise BadCellError("input", f"is not a URL: {error}") from error
    if not usable or port == 0 or " " in uri:
        raise BadCellError("input", "must be an s3://, https:// or http:// URI")
    if parts.username is not None or parts.password is not None:
        raise BadCellError("input", "holds a password; use a signed URL or a connection")
    return uri


def _checked_profile(profile: str | None, kind: str | None) -> str | None:
    if profile is None:
        return None
    if kind is not None:
        raise BadCellError("profile", "and `kind` exclude each other; leave one of them empty")
    name = profile.lower()
    if not _PROFILE.fullmatch(name):
        raise BadCellError("profile", "is not a profile name; use a-z, 0-9, - and _")
    return name


def _as_kind(kind: str | None) -> str | None:
    """Spell a kind as Ittybit does: `Adaptive Video` is `adaptive_video`."""
    return _SEPARATORS.sub("_", kind.lower()) if kind else None


def _checked_options(kind: str | None, text: str | None) -> Mapping[str, Any] | None:
    if kind is None:
        if text is not None:
            raise BadCellError("options", "need a `kind`")
        return None
    options, field, reason = _parsed(_as_kind(kind) or "", text)
    if reason is not None:
        raise BadCellError(field, reason)
    return options


# Rows repeat the same few options, and checking them is slow.
@lru_cache(maxsize=8192)
def _parsed(kind: str, text: str | None) -> tuple[Mapping[str, Any] | None, str, str | None]:
    try:
        given = json.loads(
            text or "{}", object_pairs_hook=_unique_names, parse_constant=_refuse_constant
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


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # json.loads would keep the last one.
        raise ValueError("a name appears twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    # json.loads accepts NaN and Infinity, which are not JSON.
    raise ValueError(f"{name} is not a number")


def _size(text: str | None) -> int | None:
    """Read a size. It is only a hint, so a text that is not a whole number gives None."""
    if text is None:
        return None
    if _SIZE.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and 0 <= number < MOST_BYTES else None


def control_character(character: str) -> str:
    """Say that a value has a control character."""
    if character == NO_TEXT:
        return "holds bytes that are not UTF-8, or a NUL character; write it as UTF-8 text"
    return f"holds the control character {character!r}; remove it"


def reject_of(line: int, field: str, reason: str, cells: list[str]) -> Reject:
    """Make a reject, with the part of the row that may be shown."""
    shown = ",".join(without_secrets(cell[: 4 * MAX_EXCERPT_CHARACTERS]) for cell in cells)
    return Reject(
        line,
        printable(field),
        printable(without_secrets(reason)),
        printable(shown[:MAX_EXCERPT_CHARACTERS]),
    )


def printable(text: str) -> str:
    """Replace characters that a terminal would obey or a database would refuse."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
