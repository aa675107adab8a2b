"""The header of a manifest: which column means what."""

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from ittybatch.profiles.rendition import check_metadata_name

METADATA_PREFIX = "metadata."
REQUIRED = "input"
KNOWN = (REQUIRED, "kind", "options", "profile", "fingerprint", "etag", "size_bytes")
# Titles that mean `input` if no column has that name.
INPUT_ALIASES = ("path", "url", "uri", "s3_uri", "s3_url", "input_url", "input_uri", "source_url")
MAX_COLUMNS = 200
MAX_NAME_CHARACTERS = 200

# Text above a table: a report's title, a date, a remark.
MAX_LINES_ABOVE = 20

# Columns of a batch's own `report.csv`, and of `ittybatch.results()`. Rows are renditions with the
# kind, options and size of the output. Read as a manifest, they name the inputs, and the profile
# makes the jobs.
_REPORT = frozenset({"input", "rendition", "task_id", "output_url"})
_OF_REPORT = {"kind": "", "options": "", "size_bytes": "", "input_size_bytes": "size_bytes"}
# What a value of `input` begins with, and titles rarely do.
_ADDRESS = ("s3://", "http://", "https://")
# A title that begins with this is not read, and not compared with the known ones.
_UNREAD = "_"
# A title this similar to a known one is a typing error, which would silently change the order.
_CLOSE = 0.8
# Similar to a known title, but usual for something else.
_OF_THEIR_OWN = frozenset({"tag", "tags"})
# `profileId`, `ProfileID`
_CAMEL_ID = re.compile(r"[a-z](?:Id|ID)$")
_SEPARATORS = re.compile(r"[ -]+")


@dataclass(frozen=True, slots=True)
class Columns:
    """The place of each known column in a row.

    Args:
        names: Every column of the header, in order.
        places: Place of each known column, by its name.
        metadata: Name and place of each `metadata.` column.
    """

    names: tuple[str, ...]
    places: dict[str, int]
    metadata: tuple[tuple[str, int], ...]

    @classmethod
    def from_header(cls, header: list[str], mapping: Mapping[str, str] | None = None) -> Self:
        """Read a header; columns with unknown names are ignored.

        Args:
            header: The columns' titles.
            mapping: Titles of known columns that have other names in this file, by known name.

        Raises:
            ValueError: `input` is missing, a known column appears twice, or a title is nearly a
                known one.
        """
        names = tuple(_renamed(header, mapping or {}))
        if _REPORT.issubset(names):
            names = tuple(_OF_REPORT.get(name, name) for name in names)
        if len(names) > MAX_COLUMNS:
            raise ValueError(f"it has {len(names)} columns; at most {MAX_COLUMNS} are read")
        if any(len(name) > MAX_NAME_CHARACTERS for name in names):
            raise ValueError(f"a column's name has more than {MAX_NAME_CHARACTERS} characters")
        if REQUIRED not in names:
            listing = ", ".join(repr(name[:40]) for name in names[:10]) or "none"
            raise ValueError(f"it has no column `{REQUIRED}` (found: {listing})")
        for name in names:
            _check(name, names)
        metadata = tuple(
            (name.removeprefix(METADATA_PREFIX), place)
            for place, name in enumerate(names)
            if name.startswith(METADATA_PREFIX)
        )
        places = {name: place for place, name in enumerate(names) if name in KNOWN}
        return cls(names, places, metadata)

    @property
    def read(self) -> list[int]:
        """Places of the known columns, in order."""
        return sorted([*self.places.values(), *(place for _, place in self.metadata)])


class Likeness(IntEnum):
    """How much a row looks like the titles of a table."""

    NOT = 0
    # It has the title `input` or the mapped one, and also an address, so it may be a row of values.
    WITH_ADDRESS = 1
    # A cell `URL` may also name a value above the table.
    ALIAS = 2
    EXACT = 3


def likeness(cells: list[str], mapping: Mapping[str, str]) -> Likeness:
    """Say how much a row looks like the titles. Of a file's first rows, the most alike counts.

    Args:
        cells: The values of the row.
        mapping: Titles of known columns that have other names in this file, by known name.
    """
    titles = {folded(title) for title in cells}
    if folded(mapping.get(REQUIRED, REQUIRED)) in titles:
        return Likeness.WITH_ADDRESS if holds_address(cells) else Likeness.EXACT
    if REQUIRED in mapping or titles.isdisjoint(INPUT_ALIASES) or holds_address(cells):
        return Likeness.NOT
    return Likeness.ALIAS


def is_more_alike(like: Likeness, cells: list[str], best: Likeness, titles: list[str]) -> bool:
    """Say whether a row is more like the titles than the best row above it.

    A row of values may hold the word `input` below titles such as `url,stage`.

    Args:
        like: How much the row is like titles.
        cells: The values of the row.
        best: How much the best row above is; `NOT` if there is none.
        titles: The values of that row.
    """
    if best is Likeness.ALIAS and (not cells[0].strip() or _filled(cells) < _filled(titles)):
        return False
    return like > best


def _filled(cells: list[str]) -> int:
    return sum(bool(cell.strip()) for cell in cells)


def holds_address(cells: list[str]) -> bool:
    """Say whether a row holds an address, as titles rarely do."""
    return any(bare(cell).lower().startswith(_ADDRESS) for cell in cells)


def bare(title: str) -> str:
    """Return a title without space and byte order marks around it, in one Unicode form."""
    return unicodedata.normalize("NFC", title).strip().strip("\ufeff").strip()


def folded(title: str) -> str:
    """Fold a title for comparison: its case, surrounding space and Unicode form do not count."""
    return bare(title).casefold()


def _renamed(header: list[str], mapping: Mapping[str, str]) -> list[str]:
    known_by_title = {folded(title): name for name, title in mapping.items()}
    titles = list(map(bare, header))
    keys = list(map(folded, titles))
    for name, title in mapping.items():
        if folded(title) not in keys:
            raise ValueError(f"it has no column {title!r}, which `columns` gives for `{name}`")
    names: list[str] = []
    for title, key in zip(titles, keys, strict=True):
        name = plain_name(title)
        if key in known_by_title:
            names.append(known_by_title[key])
        elif name in mapping:
            # `columns` gives another column for it.
            names.append("")
        else:
            names.append(name)
    if REQUIRED not in names:
        places = [place for place, name in enumerate(names) if folded(name) in INPUT_ALIASES]
        if len(places) > 1:
            listing = ", ".join(repr(titles[place]) for place in places)
            raise ValueError(
                f"it has no column `{REQUIRED}`, and each of {listing} could be it; "
                f"say which one is the input with `columns`"
            )
        for place in places:
            names[place] = REQUIRED
    return names


def check_known(name: str) -> str:
    """Spell the name of a known column as it is spelt here.

    Raises:
        ValueError: The name is unknown; the message lists the known ones.
    """
    plain = plain_name(name)
    if plain.startswith(METADATA_PREFIX):
        check_metadata_name(plain.removeprefix(METADATA_PREFIX))
    elif plain not in KNOWN and not plain.startswith(_UNREAD):
        raise ValueError(
            f"{name!r} is not a column; use {', '.join(KNOWN)}, metadata.NAME, or _NAME for a "
            "column that is not read"
        )
    return plain


def plain_name(name: str) -> str:
    """Spell a title as it is spelt here if it is known: `Size Bytes` is `size_bytes`."""
    stripped = bare(name)
    lowered = stripped.casefold()
    if lowered.startswith(METADATA_PREFIX):
        return METADATA_PREFIX + stripped[len(METADATA_PREFIX) :]
    joined = _SEPARATORS.sub("_", lowered)
    return joined if joined in KNOWN else stripped


def _check(name: str, names: tuple[str, ...]) -> None:
    if name and names.count(name) > 1 and (name in KNOWN or name.startswith(METADATA_PREFIX)):
        raise ValueError(f"its column `{name}` appears twice")
    if name.startswith(METADATA_PREFIX):
        check_metadata_name(name.removeprefix(METADATA_PREFIX))
    elif name not in KNOWN and (problem := typing_error(name)):
        raise ValueError(f"its column `{name}` {problem}")


def typing_error(name: str) -> str | None:
    """Say which known title an unknown one seems to mean, and how to leave it out; else None."""
    lowered = _SEPARATORS.sub("_", name.casefold())
    if lowered.startswith(_UNREAD) or lowered in _OF_THEIR_OWN:
        return None
    if lowered.endswith("_id") or _CAMEL_ID.search(name):
        return None
    close = difflib.get_close_matches(lowered, [*KNOWN, "metadata"], n=1, cutoff=_CLOSE)
    if not close:
        return None
    meant = "metadata.NAME" if close[0] == "metadata" else close[0]
    plain = re.sub(r"\W+", "_", name).lstrip("_")[:40]
    return (
        f"is not known; did you mean `{meant}`? To leave it out, name it `_{plain}`: in the file, "
        f"in the query, or with `columns` (--column _{plain}=TITLE)"
    )
