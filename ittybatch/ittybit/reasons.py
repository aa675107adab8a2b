"""Reasons of failures, without what differs from job to job: numbers, ids, names and addresses.

Thousands of jobs that fail for one reason have thousands of different messages. Their reasons are
equal.
"""

import re
from functools import lru_cache

VARIES = "…"
_MAX_CHARS = 300
_SHORTEST_WORD = 3

# Statuses of HTTP say what happened: 404 and 503 are two reasons.
_STATUS = r"(?<![\w.,:/-])[45]\d\d(?![\w/-]|[.,:]\d)"
_VARYING = re.compile(
    "|".join(
        (
            rf"(?P<kept>{_STATUS})",
            # An address, up to the text that follows it.
            r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>()]*[^\s\"'<>().,:;]",
            # A name in quotes, if it looks like one: words in quotes are kept.
            r"'[^'\s]*[\d/.][^']*'|\"[^\"\s]*[\d/.][^\"]*\"",
            # A path, or the name of a file.
            r"(?<![\w/])[\w.~-]*/[\w./~-]+",
            r"\b[\w-]{1,99}(?:\.[\w-]{1,99}){0,9}\.[a-z]\w{1,4}\b(?![(.])",
            # An id: letters and digits mixed, too long for the name of a codec.
            r"\b(?=[\w-]{0,99}\d)(?=[\w-]{0,99}[A-Za-z])[\w-]{7,}\b",
            # A number, also with a unit.
            r"(?<![\w])[-+]?\d[\d.,:_]*(?:\s?(?:%|[kMGT]?i?[Bb]|m?s|h|min|px)\b)?",
        )
    )
)


@lru_cache(maxsize=4096)
def reason_of(kind: str | None, message: str | None) -> str:
    """Reduce an error to its reason.

    Args:
        kind: The error's kind, which is the reason if there is no message.
        message: The error's message.
    """
    text = " ".join((message or kind or "").split())
    # Long enough for a reason, and short enough to search quickly.
    found = _VARYING.sub(lambda match: match["kept"] or VARIES, text[: 4 * _MAX_CHARS])
    if len(found) <= _MAX_CHARS:
        return found
    # Between words: a part of a word could be reduced further.
    whole, _, part = found[:_MAX_CHARS].rpartition(" ")
    return whole or part


def words_of(reason: str) -> list[str]:
    """The longest part of a reason that no message of it changes, as words in their order."""
    parts = [part.split() for part in reason.split(VARIES)]
    # A word beside a part that varies may have been a part of it.
    words = max(parts, key=lambda part: sum(map(len, part)), default=[])
    return [word for word in words if len(word) >= _SHORTEST_WORD]


def fits(reason: str, kind: str | None, message: str | None) -> bool:
    """Whether an error has a reason, given as `reason_of` returns it, or as any message of it."""
    return reason_of(kind, message) in {reason, reason_of(None, reason)}
