"""Why a source leaves something out: the name of each rule and its description in reports."""

from collections.abc import Mapping
from typing import Literal

# Left out unless a source's `include` names it.
Litter = Literal["hidden", "segments", "archived", "empty", "folders"]

COUNT_PREFIX = "filtered:"

RULES: Mapping[str, str] = {
    "folders": "folder markers: their keys end with a slash",
    "empty": "empty objects",
    "hidden": "hidden files, litter of file managers, unfinished uploads",
    "segments": "playlists and segments of HLS and DASH",
    "archived": "archived objects that are not restored",
    "prefix": "outside the prefix",
    "suffix": "another suffix",
    "glob": "no match of the pattern, which is case-sensitive",
    "exclude": "match of the pattern of exceptions",
    "min_size": "smaller than the smallest size",
    "max_size": "larger than the largest size",
    "modified_since": "last modified earlier",
    "modified_before": "last modified later",
    "old version": "old versions and deleted objects of a versioned bucket",
    "test event": "test events of S3",
    "other event": "events about something other than a new object",
    "newer event": "events that a later event of the same object replaces",
    "removed again": "objects that a later event reports as removed",
    "undeclared": "objects and rows that `intake.yaml` does not declare",
    "no url": "rows without a URL",
    "empty line": "empty lines",
    "empty row": "empty rows",
    "hidden row": "hidden rows of the workbook",
    "line above the titles": "lines above the titles",
}


def describe_rule(name: str) -> str:
    """Describe what a rule leaves out."""
    return RULES.get(name, f"left out by {name}")


def left_out_by_rule(counts: Mapping[str, int]) -> dict[str, int]:
    """Pick the counts of each rule out of a plan's counts, by the rule's name."""
    return {
        name.removeprefix(COUNT_PREFIX): count
        for name, count in sorted(counts.items())
        if name.startswith(COUNT_PREFIX) and count
    }


def nothing_left(counts: Mapping[str, int]) -> str | None:
    """Say that the filters leave out everything; None if they do not.

    Args:
        counts: A plan's counts.
    """
    rules = left_out_by_rule(counts)
    if counts.get("found") or counts.get("rejected") or not rules:
        return None
    reasons = "; ".join(
        f"{count:,} by `{name}` ({describe_rule(name)})" for name, count in rules.items()
    )
    return f"Nothing is planned: the filters leave out everything that the source holds: {reasons}."
