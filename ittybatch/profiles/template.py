"""Text with `{fields}`: checked when a profile is loaded, filled in for each job."""

import difflib
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

METADATA_PREFIX = "metadata."


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a template, to be replaced by an item's value."""

    name: str


Part = str | Field


def parse_template(text: str, fields: Iterable[str], *, metadata: bool = False) -> list[Part]:
    """Split a template into literal text and fields.

    Args:
        text: Such as `s3://out/{stem}.{ext}`; `{{` and `}}` are literal braces.
        fields: Allowed field names.
        metadata: Whether `{metadata.NAME}` is allowed, too.

    Raises:
        ValueError: A field is unknown, or the braces do not match.
    """
    known = sorted(fields)
    parts: list[Part] = []
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a template: {error}") from error
    for literal, name, spec, conversion in pieces:
        if literal:
            parts.append(literal)
        if name is None:
            continue
        if spec or conversion:
            raise ValueError(f"{{{name}}} takes no format; write the field's name alone")
        if name not in known and not (metadata and name.startswith(METADATA_PREFIX)):
            raise ValueError(_unknown(name, known, metadata=metadata))
        parts.append(Field(name))
    return _joined(parts)


def fill_constants(parts: Iterable[Part], constants: Mapping[str, str]) -> list[Part]:
    """Fill in the values that all items share."""
    return _joined(
        constants.get(part.name, part) if isinstance(part, Field) else part for part in parts
    )


def render(parts: Iterable[Part], values: Mapping[str, str]) -> str:
    """Fill in a template; a `metadata.` field without a value becomes an empty string."""
    return "".join([part if isinstance(part, str) else values.get(part.name, "") for part in parts])


def field_names(parts: Iterable[Part]) -> set[str]:
    """List the fields that are not filled in yet."""
    return {part.name for part in parts if isinstance(part, Field)}


def _joined(parts: Iterable[Part]) -> list[Part]:
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _unknown(name: str, known: list[str], *, metadata: bool) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {{{close[0]}}}?" if close else ""
    listing = ", ".join(f"{{{field}}}" for field in known)
    more = " and {metadata.NAME}" if metadata else ""
    return f"{{{name}}} is not a field{hint} (known: {listing}{more})"
