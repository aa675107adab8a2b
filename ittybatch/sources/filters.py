"""Which objects of a bucket are wanted: what a listing, an inventory and events have in common."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field, field_validator, model_validator

from ittybatch.profiles.glob import glob_matches
from ittybatch.profiles.quantities import ByteCount
from ittybatch.sources.entry import Rule
from ittybatch.sources.litter import HIDDEN_HINTS, SEGMENT_HINTS, is_hidden, is_segment
from ittybatch.sources.moment import Moment, fixed
from ittybatch.sources.rules import Litter

_PATTERN_CHARACTERS = frozenset("*?[]{}/")


class ObjectFilters(BaseModel):
    """Fields of every source that gives objects of a bucket."""

    suffixes: tuple[str, ...] = Field(
        (),
        title="Suffixes",
        description="Only objects whose names end in one of these, such as `.mov`, in any case.",
    )
    glob: str | None = Field(
        None,
        title="Only matching",
        description="Shell pattern of names (`clip-*.{mov,mp4}`) or, with a slash, of paths under "
        "the prefix (`2024/*/master.mov`). It is case-sensitive.",
        min_length=1,
        max_length=500,
    )
    exclude: str | None = Field(
        None,
        title="Except matching",
        description="Shell pattern of what to leave out, read as above.",
        min_length=1,
        max_length=500,
    )
    include: tuple[Litter, ...] = Field(
        (),
        title="Also take",
        description="What is left out otherwise: hidden files, litter and unfinished uploads "
        "(`hidden`); playlists and segments of HLS and DASH (`segments`); archived objects that "
        "are not restored (`archived`); `empty` objects; keys that end with a slash (`folders`).",
    )
    min_size: ByteCount | None = Field(
        None,
        title="Smallest size",
        description="Leave out smaller objects: `500kB`, `10MB`, `2GiB`.",
    )
    max_size: ByteCount | None = Field(
        None, title="Largest size", description="Leave out larger objects: `500kB`, `10MB`, `2GiB`."
    )
    modified_since: Moment | None = Field(
        None,
        title="Modified since",
        description="Only objects last modified at this time or later. How long ago, such as "
        "`2d`, counts from the start of the batch.",
    )
    modified_before: Moment | None = Field(
        None,
        title="Modified before",
        description="Only objects last modified before this time, or longer ago than this.",
    )
    versioned: bool = Field(
        default=False,
        title="Identify by version",
        description="Take an object's version id in place of its ETag for what makes it the same "
        "object. Keep to one of them for a bucket: a change makes every object a new one.",
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
        """Give the same filters with times in place of ages, counted back from `now`."""
        return self.model_copy(
            update={
                "modified_since": fixed(self.modified_since, now),
                "modified_before": fixed(self.modified_before, now),
            }
        )


def _suffix(text: str) -> str:
    """Bring a suffix into the form that names are compared with.

    Raises:
        ValueError: It is empty or a pattern.
    """
    # `*.mov` is how many other programs want it.
    suffix = text.strip().lower().removeprefix("*").removeprefix(".")
    if not suffix:
        raise ValueError(f"{text!r} is no suffix; write .mov, or leave the suffixes out for all")
    if _PATTERN_CHARACTERS & set(suffix):
        raise ValueError(f"{text!r} is a pattern, not a suffix; use `glob` (`--glob`) for patterns")
    return f".{suffix}"


def rules_of(filters: ObjectFilters, prefix: str = "") -> list[Rule]:
    """List what leaves an object out, in the order in which it is counted.

    Args:
        filters: The filters.
        prefix: What paths that a pattern names are below.
    """
    return [*litter_rules(filters, prefix), *wanted_rules(filters, prefix)]


def litter_rules(filters: ObjectFilters, prefix: str) -> list[Rule]:
    """List what leaves out objects that nobody makes anything of; arguments as `rules_of`."""
    start = len(prefix)
    every = [
        Rule("folders", lambda e: e.key.endswith("/"), ("/\n",)),
        Rule("empty", lambda e: e.size_bytes == 0),
        Rule("hidden", lambda e: is_hidden(e.key[start:]), HIDDEN_HINTS),
        Rule("segments", lambda e: is_segment(e.key[start:]), SEGMENT_HINTS),
        Rule("archived", lambda e: e.archived),
    ]
    return [rule for rule in every if rule.name not in filters.include]


def wanted_rules(filters: ObjectFilters, prefix: str) -> list[Rule]:
    """List what leaves out objects that the user does not want; arguments as `rules_of`."""
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
    # What an event does not tell leaves nothing out.
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
