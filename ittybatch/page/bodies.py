"""The body of a webhook or of a polled answer, for people to read: safe, bounded, secrets out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ittybatch.engine.amounts import format_bytes
from ittybatch.ittybit.json_text import NotJson, read_json
from ittybatch.ittybit.redaction import redacted, redacted_json

# A webhook of Ittybit has about 1 KB; the receiver accepts 1 MB, of anything.
MAX_READ_BYTES = 256 * 1024
MAX_LINES = 1000
_MAX_LINE_CHARS = 2000


@dataclass(frozen=True, slots=True)
class ShownBody:
    """A body as a page shows it.

    Args:
        lines: Its lines. Every character is visible, and none reverses the text.
        size_bytes: The body's whole size.
        note: What the lines do not show; empty if they show everything.
    """

    lines: Sequence[str]
    size_bytes: int
    note: str = ""


def show_body(body: bytes, secrets: Sequence[str] = ()) -> ShownBody:
    """Format a body: JSON indented, everything else as text.

    Args:
        body: The bytes, from anyone.
        secrets: Texts to mask wherever they are.
    """
    notes: list[str] = []
    text: str | None = None
    if len(body) <= MAX_READ_BYTES:
        try:
            found = redacted_json(read_json(body), *secrets)
            text = json.dumps(found, ensure_ascii=False, indent=2)
        except (NotJson, RecursionError):
            notes.append("This is not JSON.")
    else:
        notes.append(f"Only its first {format_bytes(MAX_READ_BYTES)} are shown.")
    if text is None:
        beginning = body[:MAX_READ_BYTES].decode("utf-8", "backslashreplace")
        # `redacted` cuts long texts, so it gets one line at a time.
        text = "\n".join(redacted(line, *secrets) for line in beginning.split("\n"))
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        notes.append(f"It has {len(lines):,} lines; the first {MAX_LINES:,} are shown.")
        lines = lines[:MAX_LINES]
    if any(len(line) > _MAX_LINE_CHARS for line in lines):
        notes.append(f"Lines are cut after {_MAX_LINE_CHARS:,} characters.")
    shown = [visible_line(line[:_MAX_LINE_CHARS]) for line in lines]
    return ShownBody(shown, len(body), " ".join(notes))


def visible_line(line: str) -> str:
    """Write characters that are invisible, or that change the text's direction, as escapes."""
    if line.isprintable():
        return line
    return "".join(
        each if each.isprintable() else "".join(f"\\u{unit:04x}" for unit in _units(each))
        for each in line
    )


def _units(character: str) -> Sequence[int]:
    """The UTF-16 units of a character, as JSON escapes it."""
    raw = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2)]
