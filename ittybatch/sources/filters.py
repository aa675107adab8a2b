"""Which objects of a bucket become items: the same for a listing, an inventory and events."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from ittybatch.profiles import Item
from ittybatch.profiles.glob import glob_matches
from ittybatch.profiles.quantities import ByteCount
from ittybatch.sources.entry import UNSEEN_REASON, Entry, has_unseen, visible
from ittybatch.sources.moment import Moment, fixed
from ittybatch.sources.page import Reject
from ittybatch.sources.rules import Litter

_PATTERN_CHARACTERS = frozenset("*?[]{}/")

# Lower-case texts in a key with a slash or a line end around it: see `Rule.hints`.
_STARTS = ("/.", "\n.", "/~$", "\n~$")
_WHOLE_NAMES = ("thumbs.db", "desktop.ini", "ehthumbs.db", "@eadir", "#recycle", "$recycle.bin",
                "__macosx", "lost+found")  # fmt: skip
_UNFINISHED = ("tmp", "part", "partial", "crdownload", "filepart", "opdownload", "aria2", "!ut")
_STREAMING = ("m3u8", "mpd", "m4s")
_STREAM_FOLDERS = ("hls", "dash")
_PIECES = ("seg", "chunk", "frag", "filesequence", "media", "index", "playlist", "stream", "init")

HIDDEN_HINTS = (*_STARTS, *_WHOLE_NAMES, *(f".{ending}\n" for ending in _UNFINISHED))
SEGMENT_HINTS = (
    *(f".{ending}\n" for ending in (*_STREAMING, "ts")),
    *(f"{before}{folder}/" for folder in _STREAM_FOLDERS for before in "/\n"),
)

_HIDDEN = re.compile(
    # A folder or a file whose name begins with a dot. Some programs write `..` as a name.
    r"(?:^|/)(?:\.(?!\.?(?:/|$))|~\$)"
    rf"|(?:^|/)(?:{'|'.join(map(re.escape, _WHOLE_NAMES))})(?:/|$)"
    rf"|\.(?:{'|'.join(map(re.escape, _UNFINISHED))})$",
    re.IGNORECASE,
)
_SEGMENT = re.compile(
    rf"\.(?:{'|'.join(_STREAMING)})$"
    # Recordings are transport streams, too, so leave out numbered pieces only.
    rf"|(?:^|/)(?:{'|'.join(_PIECES)})[^/]*\d+\.ts$"
    rf"|(?:^|/)(?:{'|'.join(_STREAM_FOLDERS)})/(?:.*/)?"
    rf"(?:[^/]*\.ts|(?:{'|'.join(_PIECES)})[^/]*\.(?:mp4|m4a|m4v|aac|vtt))$",
    re.IGNORECASE,
)
# As ffmpeg numbers segments by default, `NAME0.ts`. A recording may end with a number as well, of
# an episode or of a camera, but hardly with more than six digits, and it is longer.
_NUMBERED = re.compile(r"(?:^|[^0-9])0*[0-9]{1,6}\.ts$", re.IGNORECASE)
# Recordings are named for their day: 2024-05-01.ts, cam1-20240501_1200.ts.
_DATE = re.compile(
    r"(?<![0-9])(?:19|20)[0-9]{2}[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12][0-9]|3[01])"
)
# Ten seconds at 50 Mbit/s.
_LARGEST_SEGMENT_BYTES = 64_000_000


class ObjectFilters(BaseModel):
    """The filter fields of every source of objects in a bucket."""

    suffixes: tuple[str, ...] = Field(
        (),
        title="Suffixes",
        description="Only objects whose names end in one of these, such as `.mov`, in any case.",
    )
    glob: str | None = Field(
        None,
        title="Include pattern",
        description="Shell pattern of names (`clip-*.{mov,mp4}`) or, with a slash, of paths under "
        "the prefix (`2024/*/master.mov`). It is case-sensitive.",
        min_length=1,
        max_length=500,
    )
    exclude: str | None = Field(
        None,
        title="Exclude pattern",
        description="Shell pattern of what to leave out, read as above.",
        min_length=1,
        max_length=500,
    )
    include: tuple[Litter, ...] = Field(
        (),
        title="Include",
        description="Do not leave these out: hidden files, litter and unfinished uploads "
        "(`hidden`); playlists and segments of HLS and DASH (`segments`); archived objects that "
        "are not restored (`archived`); `empty` objects; keys that end with a slash (`folders`).",
    )
    min_size: ByteCount | None = Field(
        None,
        title="Minimum size",
        description="Leave out smaller objects: `500kB`, `10MB`, `2GiB`.",
    )
    max_size: ByteCount | None = Field(
        None, title="Maximum size", description="Leave out larger objects: `500kB`, `10MB`, `2GiB`."
    )
    modified_since: Moment | None = Field(
        None,
        title="Modified since",
        description="Only objects last modified at this time or later. An age such as `2d` "
        "counts back from the start of the batch.",
    )
    modified_before: Moment | None = Field(
        None,
        title="Modified before",
        description="Only objects last modified before this time, or longer ago than this age.",
    )
    versioned: bool = Field(
        default=False,
        title="Identify by version",
        description="Identify an object by its version id instead of its ETag. Use the same "
        "setting for a bucket every time: a change makes every object a new one.",
    )

    @field_validator("suffixes")
    @classmethod
    def _dotted(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_suffix(one) for suffix in suffixes for one in suffix.split(","))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if None not in (self.min_size, self.max_size) and self.min_size > self.max_size:  # type: ignore[operator]
            raise ValueError("no object is both as large as min_size and as small as max_size")
        since, before = fixed(self.modified_since), fixed(self.modified_before)
        if since is not None and before is not None and since >= before:
            raise ValueError("modified_since must be earlier than modified_before")
        return self

    def at(self, now: datetime) -> Self:
        """Replace ages by times, counted back from `now`."""
        return self.model_copy(
            update={
                "modified_since": fixed(self.modified_since, now),
                "modified_before": fixed(self.modified_before, now),
            }
        )


def _suffix(text: str) -> str:
    """Write a suffix in lower case and with its dot.

    Raises:
        ValueError: It is empty or a pattern.
    """
    # Many other programs expect `*.mov`.
    suffix = text.strip().lower().removeprefix("*").removeprefix(".")
    if not suffix:
        raise ValueError(f"{text!r} is not a suffix; write .mov, or give no suffix to take all")
    if _PATTERN_CHARACTERS & set(suffix):
        raise ValueError(f"{text!r} is a pattern, not a suffix; use `glob` (`--glob`) for patterns")
    return f".{suffix}"


class Rule(NamedTuple):
    """One reason to leave objects out.

    Args:
        name: Its name in `rules.RULES`.
        leaves_out: Returns whether the rule leaves out an object.
        hints: Lower-case texts. Every key that the rule leaves out contains one of them, with
            line ends around the key. Empty for a rule that does not look at the key.
    """

    name: str
    leaves_out: Callable[[Entry], bool]
    hints: tuple[str, ...] = ()


def rules_of(filters: ObjectFilters, prefix: str = "") -> list[Rule]:
    """List the rules that leave objects out, in the order in which they count them.

    Args:
        filters: The filters.
        prefix: The folder that patterns are relative to.
    """
    return [*litter_rules(filters, prefix), *wanted_rules(filters, prefix)]


def litter_rules(filters: ObjectFilters, prefix: str) -> list[Rule]:
    """List the rules that leave out litter; arguments as for `rules_of`."""
    start = len(prefix)
    every = [
        Rule("folders", lambda e: e.key.endswith("/"), ("/\n",)),
        Rule("empty", lambda e: e.size_bytes == 0),
        Rule("hidden", lambda e: is_hidden(e.key[start:]), HIDDEN_HINTS),
        Rule("segments", lambda e: is_segment(e.key[start:], e.size_bytes), SEGMENT_HINTS),
        Rule("archived", lambda e: e.archived),
    ]
    return [rule for rule in every if rule.name not in filters.include]


def wanted_rules(filters: ObjectFilters, prefix: str) -> list[Rule]:
    """List the rules of the user's filters; arguments as for `rules_of`."""
    start = len(prefix)
    suffixes, glob, exclude = filters.suffixes, filters.glob, filters.exclude
    least, most = filters.min_size, filters.max_size
    since, before = fixed(filters.modified_since), fixed(filters.modified_before)
    rules: list[Rule] = []
    if suffixes:
        rules.append(Rule("suffix", lambda e: not e.key.lower().endswith(suffixes)))
    if glob is not None:
        rules.append(Rule("glob", lambda e: not glob_matches(glob, e.key[start:])))
    if exclude is not None:
        rules.append(Rule("exclude", lambda e: glob_matches(exclude, e.key[start:])))
    # An event may lack a size or a time; then these rules keep the object.
    if least is not None:
        rules.append(Rule("min_size", lambda e: e.size_bytes is not None and e.size_bytes < least))
    if most is not None:
        rules.append(Rule("max_size", lambda e: e.size_bytes is not None and e.size_bytes > most))
    if since is not None:
        rules.append(
            Rule("modified_since", lambda e: e.modified_at is not None and e.modified_at < since)
        )
    if before is not None:
        rules.append(
            Rule("modified_before", lambda e: e.modified_at is not None and e.modified_at >= before)
        )
    return rules


def sort_entries(
    bucket: str, entries: Sequence[Entry], rules: Sequence[Rule]
) -> tuple[list[Item], list[Reject], dict[str, int]]:
    """Turn objects into items and rejects, and count what each rule leaves out.

    Args:
        bucket: The bucket that holds the objects.
        entries: The objects.
        rules: The rules. The first one that leaves an object out counts it.
    """
    filtered: Counter[str] = Counter()
    kept: list[Entry] = list(entries)
    # One search in all keys together usually replaces a search in each of them.
    names = "\n".join(["", *[entry.key for entry in kept], ""])
    lowered = names.lower()
    for name, leaves_out, hints in rules:
        if hints and not any(hint in lowered for hint in hints):
            continue
        before = kept
        kept = [entry for entry in before if not leaves_out(entry)]
        if left_out := len(before) - len(kept):
            filtered[name] = left_out
    rejects: list[Reject] = []
    if has_unseen(names.replace("\n", "")) or names.count("\n") != len(entries) + 1:
        unseen = [entry.key for entry in kept if has_unseen(entry.key)]
        rejects = [
            Reject(None, "key", f"s3://{bucket}/{visible(key)} {UNSEEN_REASON}", visible(key)[:200])
            for key in unseen
        ]
        kept = [entry for entry in kept if not has_unseen(entry.key)]
    root = f"s3://{bucket}/"
    items = [Item(root + key, etag, size, time) for key, size, etag, time, _ in kept]
    return items, rejects, dict(filtered)


def is_hidden(path: str) -> bool:
    """Say whether a path is a hidden file, a file manager's litter, or an unfinished upload.

    Args:
        path: Path below the folder that is read.
    """
    return _HIDDEN.search(path) is not None


def is_segment(path: str, size_bytes: int | None) -> bool:
    """Say whether an object is a playlist or a segment of an HLS or DASH stream.

    Args:
        path: Path below the folder that is read.
        size_bytes: Its size; None if unknown, and then its name decides alone.
    """
    if _SEGMENT.search(path) is not None:
        return True
    if _NUMBERED.search(path) is None or (size_bytes or 0) > _LARGEST_SEGMENT_BYTES:
        return False
    return _DATE.search(path.rpartition("/")[2]) is None
