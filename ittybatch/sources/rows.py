"""Rows of a manifest turned into items, or into the reason why not."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import urlsplit

from ittybatch.ittybit.options import InvalidOptions, canonical_options
from ittybatch.profiles import Item
from ittybatch.profiles.buckets import S3_OBJECT
from ittybatch.profiles.rendition import SLUG
from ittybatch.sources.columns import Columns
from ittybatch.sources.errors import without_secrets
from ittybatch.sources.etag import bare_etag
from ittybatch.sources.page import Misread, Reject
from ittybatch.sources.records import Record
from ittybatch.sources.s3 import SCHEME, split_uri

MAX_INPUT_CHARACTERS = 4096
MAX_OPTIONS_CHARACTERS = 16_384
MAX_VALUE_CHARACTERS = 2048
MAX_EXCERPT_CHARACTERS = 200

UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Options may be printed over several lines.
_UNSEEN_IN_OPTIONS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PROFILE = re.compile(SLUG)
_SIZE = re.compile(r"[0-9]{1,18}")
_DIRECTORY_BUCKET = "--x-s3/"


class _BadCellError(Exception):
    def __init__(self, field: str, reason: str, kind: type[Reject] = Reject) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason
        self.kind = kind


class Rows:
    """Reads the rows under one header.

    Args:
        columns: The header.
    """

    def __init__(self, columns: Columns) -> None:
        self._names = columns.names
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

    def read(self, record: Record) -> Item | Reject:
        """Turn a record into an item; a bad one into a reject that names the column."""
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
    ) -> Item | Reject:
        """Turn a row's values into an item; bad ones into a reject that names the column.

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
        try:
            return self._item(line, cells, pairs)
        except _BadCellError as error:
            return reject_of(line, error.field or "row", error.reason, cells, error.kind)

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
        if profile and (kind or not _PROFILE.fullmatch(profile)):
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
            raise _BadCellError(
                "row",
                f"has {len(cells)} values under {len(self._names)} columns; "
                "put quotes around values that hold separators",
                Misread,
            )
        cells = [*cells, *[""] * missing] if missing else cells
        self._check_characters(cells)
        kind = self._cell(cells, self._kind)
        profile = self._cell(cells, self._profile)
        return Item(
            uri=_checked_input(cells[self._input].strip()),
            fingerprint=self._fingerprint(cells),
            size_bytes=_size(self._cell(cells, self._size)),
            line=line,
            kind=kind,
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
            if place == self._options:
                unseen, most = _UNSEEN_IN_OPTIONS, MAX_OPTIONS_CHARACTERS
            elif place == self._input:
                most = MAX_INPUT_CHARACTERS
            if len(cell) > most:
                raise _BadCellError(
                    self._names[place], f"has {len(cell)} characters; at most {most} are read"
                )
            if found := unseen.search(cell):
                raise _BadCellError(
                    self._names[place], f"holds the control character {found[0]!r}; remove it"
                )

    @staticmethod
    def _cell(cells: list[str], place: int | None) -> str | None:
        return (cells[place].strip() or None) if place is not None else None

    def _fingerprint(self, cells: list[str]) -> str | None:
        for place in self._fingerprints:
            if found := bare_etag(cells[place]):
                return found
        return None

    def _pairs(self, cells: list[str]) -> Mapping[str, str]:
        return {name: cells[place] for name, place in self._metadata if cells[place]}


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
    if not _PROFILE.fullmatch(profile):
        raise _BadCellError("profile", "is no profile's name")
    return profile


def _checked_options(kind: str | None, text: str | None) -> Mapping[str, Any] | None:
    if kind is None:
        if text is not None:
            raise _BadCellError("options", "need a `kind` to belong to")
        return None
    options, field, reason = _parsed(kind, text)
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
    if text is None:
        return None
    if not _SIZE.fullmatch(text):
        raise _BadCellError("size_bytes", "is not a whole number of bytes")
    return int(text)


def reject_of(
    line: int, field: str, reason: str, cells: list[str], kind: type[Reject] = Reject
) -> Reject:
    """Make a reject, with what can be shown of the row."""
    shown = ",".join(without_secrets(cell[: 4 * MAX_EXCERPT_CHARACTERS]) for cell in cells)
    excerpt = "".join(
        character if character.isprintable() else "\ufffd"
        for character in shown[:MAX_EXCERPT_CHARACTERS]
    )
    return kind(line, field, reason, excerpt)
