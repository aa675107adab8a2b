"""Answers to ListObjectsV2, read with expat.

boto3 builds a tree of elements first, which takes ten times as long. Here an answer stays a flat
list of tokens, and objects of one shape are slices of it. A test compares both parsers.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import unquote_plus
from xml.parsers import expat

from botocore.utils import parse_timestamp

from ittybatch.sources.entry import MOST_BYTES, Entry, bare_etags

# Storage classes that need a restore. Glacier Instant Retrieval (GLACIER_IR) does not.
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})

_ROOT = "ListBucketResult"
_OBJECT = "Contents"
_RESTORE = "RestoreStatus"
_TRUE = "true"
# Longer than any text of an answer, because expat splits longer ones.
_TEXT_BYTES = 1 << 16


class Parsed(NamedTuple):
    """The content of an answer.

    Args:
        entries: Its objects.
        more: Whether more objects follow.
    """

    entries: list[Entry]
    more: bool


def parse_answer(body: bytes) -> Parsed | None:
    """Read an answer.

    Returns:
        None if this is not an answer to ListObjectsV2.
    """
    tokens = _tokens(body)
    if tokens is None or isinstance(tokens[0], str) or tokens[0].local != _ROOT:
        return None
    places = [
        place
        for place, token in enumerate(tokens)
        if type(token) is _Start and token.local == _OBJECT
    ]
    columns, rest = _regular(tokens, places) or _irregular(tokens, places)
    answer = _leaves(rest)

    def column(name: str) -> list[str | None]:
        return columns.get(name) or [None] * len(places)

    keys = [key or "" for key in column("Key")]
    if answer.get("EncodingType", "").strip() == "url":
        # Keep bytes that are not UTF-8 recognisable: a job must not read another object with a
        # similar key.
        keys = [
            unquote_plus(key, errors="surrogateescape") if "%" in key or "+" in key else key
            for key in keys
        ]
    entries = list(
        map(
            Entry,
            keys,
            map(as_size, column("Size")),
            bare_etags(column("ETag")),
            map(as_time, column("LastModified")),
            _archived(column),
        )
    )
    # If IsTruncated is missing, only an empty answer is certainly the last one.
    truncated = answer.get("IsTruncated", "").strip().lower()
    return Parsed(entries, truncated == _TRUE if truncated else bool(entries))


def as_size(value: object) -> int | None:
    """Read a size in bytes, from text or a number; None if it is missing or cannot be a size."""
    if not isinstance(value, str | int | float | Decimal) or isinstance(value, bool):
        return None
    try:
        size = int(value)
    except (ValueError, OverflowError):
        return None
    whole = isinstance(value, str) or size == value
    return size if whole and 0 <= size < MOST_BYTES else None


def as_time(value: object) -> datetime | None:
    """Read a time in any format of S3 as aware UTC; None if it is missing or unreadable."""
    if not value or not isinstance(value, str | datetime):
        return None
    try:
        if isinstance(value, str):
            value = _parsed_time(value)
        # The ledger stores UTC, in which a time on the first or last day of years may not exist.
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, RuntimeError, OverflowError, OSError):
        return None


def _parsed_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parse_timestamp(text.strip())


def _archived(column: Callable[[str], list[str | None]]) -> list[bool]:
    """Say for each object whether it must be restored before it can be read."""
    classes = column("StorageClass")
    if ARCHIVES.isdisjoint(classes):
        return [False] * len(classes)
    # A restored copy can be read when its restore has ended; then it has an expiry date.
    restoring, until = column("IsRestoreInProgress"), column("RestoreExpiryDate")
    return [
        storage in ARCHIVES and ((going or "").strip() == _TRUE or not (date or "").strip())
        for storage, going, date in zip(classes, restoring, until, strict=True)
    ]


class _Start:
    """The start of an element, as a token. The tokens of ends (names) and texts are strings.

    Args:
        name: Its name with the namespace prefix.
    """

    __slots__ = ("local", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.local = name.rpartition(":")[2]


class _Starts(dict[str, _Start]):
    """One start token for each name."""

    def __missing__(self, name: str) -> _Start:
        self[name] = _Start(name)
        return self[name]


_Token = _Start | str
_Columns = dict[str, list[str | None]]


def _tokens(body: bytes) -> list[_Token] | None:
    """Read starts, texts and ends in order; None if this is not XML, or has a DOCTYPE."""
    tokens: list[_Token] = []
    append, starts = tokens.append, _Starts()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = _TEXT_BYTES
    parser.StartElementHandler = lambda name, _: append(starts[name])
    parser.CharacterDataHandler = append
    parser.EndElementHandler = append
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError):
        return None
    return tokens


def _refuse_doctype(*_: object) -> None:
    """Refuse a DOCTYPE: stores send none, and its entities could expand without limit."""
    raise ValueError("the answer has a DOCTYPE")


def _regular(tokens: list[_Token], places: list[int]) -> tuple[_Columns, list[_Token]] | None:
    """Read objects that all have the same elements in the same order, as most pages do.

    Args:
        tokens: The answer's tokens.
        places: Indexes of the objects' start tokens.

    Returns:
        The texts of each element by its name, and the tokens outside of objects; None if an
        object differs from the first one.
    """
    if len(places) < 2:  # noqa: PLR2004  a stride needs two
        return None
    first, stride = places[0], places[1] - places[0]
    end = first + stride * len(places)
    row = tokens[first : places[1]]
    texts = dict(_texts(row))
    columns: _Columns = {}
    for offset, token in enumerate(row):
        column: list[Any] = tokens[first + offset : end : stride]
        if offset not in texts:
            if column.count(token) != len(places):
                return None
        elif name := texts[offset]:
            columns[name] = column
    return columns, tokens[:first] + tokens[end:]


def _irregular(tokens: list[_Token], places: list[int]) -> tuple[_Columns, list[_Token]]:
    """Read objects one by one; results as for `_regular`."""
    ends = [*places[1:], len(tokens)]
    rows = [_leaves(tokens[place:end]) for place, end in zip(places, ends, strict=False)]
    names = {name for row in rows for name in row}
    return {name: [row.get(name) for row in rows] for name in names}, tokens


def _leaves(tokens: list[_Token]) -> dict[str, str]:
    """Return the texts of the first element, and of its restore status, by their names."""
    return {name: str(tokens[place]) for place, name in _texts(tokens) if name}


def _texts(tokens: list[_Token]) -> Iterator[tuple[int, str | None]]:
    """Find the texts of the elements without children in the first element.

    Yields:
        The place of each text, and the name of its element; None in an element that is not read,
        such as for `Key` in the `UserMetadata` that some stores add.
    """
    within: list[_Start] = []
    for place, token in enumerate(tokens):
        before = tokens[place - 1] if place else ""
        if isinstance(token, _Start):
            within.append(token)
        elif isinstance(before, _Start) and tokens[place + 1 : place + 2] == [before.name]:
            is_read = all(each.local == _RESTORE for each in within[1:-1])
            yield place, before.local if is_read else None
        elif within and token == within[-1].name:
            within.pop()
            if not within:
                return
