"""Destinations: templates of S3 keys that no item's name can break out of."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ittybatch.profiles.errors import UnusableItem
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.profiles.keys import has_unsafe_characters, is_bucket_name
from ittybatch.profiles.subject import DESTINATION_ITEM_FIELDS, Subject
from ittybatch.profiles.template import (
    Part,
    field_names,
    fill_constants,
    parse_template,
    render,
)

DESTINATION_FIELDS = DESTINATION_ITEM_FIELDS | {"rendition", "kind", "ext"}
MAX_KEY_BYTES = 1024

_NAMES_ITEM = frozenset({"key", "stem", "item"})
_MAY_BE_EMPTY = frozenset({"dir", "suffix"})
# Stand-ins for fields while a template's shape is checked; literal text cannot hold them.
_FULL, _EMPTYABLE = "\x00", "\x01"


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination's template with everything filled in but the item's own values.

    Args:
        bucket: Parts of the bucket's name; its only field can be `bucket`.
        key: Parts of the key.
    """

    bucket: tuple[Part, ...]
    key: tuple[Part, ...]

    @property
    def as_json(self) -> list[list[str | list[str]]]:
        """The template in JSON's types, with fields as lists to keep them apart from text."""
        return [
            [part if isinstance(part, str) else [part.name] for part in parts]
            for parts in (self.bucket, self.key)
        ]

    def render(self, subject: Subject) -> str:
        """Return the destination of one item's output.

        Raises:
            UnusableItem: The key would be longer than S3 allows, the bucket's name would be
                invalid, or the output would replace the item itself.
        """
        value = subject.destination_value
        key = "".join([part if isinstance(part, str) else value(part.name) for part in self.key])
        if "//" in key or key[0] in "./" or "/." in key or key[-1] == "/":
            key = _normalised(key)
        first = self.bucket[0]
        fixed = first if len(self.bucket) == 1 and isinstance(first, str) else None
        bucket = fixed or render(self.bucket, {"bucket": value("bucket")})
        uri = f"{S3_SCHEME}{bucket}/{key}"
        # A character has at most four bytes.
        if len(key) > MAX_KEY_BYTES // 4 and len(key.encode()) > MAX_KEY_BYTES:
            raise UnusableItem(
                f"{subject.item.shown}: its output's key would have {len(key.encode())} bytes; "
                f"S3 allows {MAX_KEY_BYTES}.",
                remedy="Use {item} in place of {key} or {dir} in the destination.",
            )
        if fixed is None:
            _check_bucket(bucket, subject)
        if uri == subject.item.uri:
            raise UnusableItem(
                f"{subject.item.shown}: its output would replace it.",
                remedy="Give the destination a folder or a bucket of its own.",
            )
        return uri


def parse_destination(text: str, constants: Mapping[str, str]) -> Destination:
    """Check a destination's template and fill in the values that all items share.

    Args:
        text: `s3://bucket/key` with fields.
        constants: Values of `rendition`, `kind` and `ext`; `ext` is absent where only the input
            decides the output's format.

    Raises:
        ValueError: The template is unusable; the message says why.
    """
    if not text.startswith(S3_SCHEME):
        raise ValueError(f"{text!r} must begin with {S3_SCHEME}; outputs go to S3 only")
    parts = fill_constants(
        parse_template(text.removeprefix(S3_SCHEME), DESTINATION_FIELDS), constants
    )
    if "ext" in field_names(parts):
        raise ValueError(f"{text!r} uses {{ext}}, so `options` must name a `format`")
    if any(isinstance(part, str) and has_unsafe_characters(part) for part in parts):
        raise ValueError(f"{text!r} holds a backslash or an invisible character")
    destination = _split(text, parts)
    _check_bucket_template(text, destination)
    _check_key_template(text, destination)
    return destination


def _split(text: str, parts: Sequence[Part]) -> Destination:
    bucket: list[Part] = []
    for index, part in enumerate(parts):
        if isinstance(part, str) and "/" in part:
            head, _, tail = part.partition("/")
            rest = parts[index + 1 :]
            return Destination(
                bucket=tuple([*bucket, head] if head else bucket),
                key=tuple([tail, *rest] if tail else rest),
            )
        bucket.append(part)
    raise ValueError(f"{text!r} names no key; write s3://bucket/{{key}}/{{rendition}}.{{ext}}")


def _check_bucket_template(text: str, destination: Destination) -> None:
    other = field_names(destination.bucket) - {"bucket"}
    if other:
        raise ValueError(
            f"{text!r} has {{{min(other)}}} in the bucket; only {{bucket}} is allowed there"
        )
    if not is_bucket_name(render(destination.bucket, {"bucket": "xxx"})):
        raise ValueError(f"{text!r} does not name a bucket; write s3://bucket/...")


def _check_key_template(text: str, destination: Destination) -> None:
    if not field_names(destination.key) & _NAMES_ITEM:
        raise ValueError(
            f"{text!r} is the same for every item; use {{key}}, {{item}} or {{stem}} in its key"
        )
    segments = _shape(destination.key).split("/")
    for segment in segments:
        if not segment:
            raise ValueError(f"{text!r} has an empty segment; it must end with a file name")
        if segment in {".", ".."} or re.match(rf"\.+[{_FULL}{_EMPTYABLE}]", segment):
            raise ValueError(f"{text!r} has a segment that begins with dots; give it a name")
    if not segments[-1].strip(f".{_EMPTYABLE}"):
        raise ValueError(f"{text!r} may end without a file name; end it with {{stem}}.{{ext}}")


def _shape(parts: Sequence[Part]) -> str:
    return "".join(
        part if isinstance(part, str) else _EMPTYABLE if part.name in _MAY_BE_EMPTY else _FULL
        for part in parts
    )


def _normalised(key: str) -> str:
    segments = (segment for segment in key.split("/") if segment)
    return "/".join("_" * len(name) if name in {".", ".."} else name for name in segments)


def _check_bucket(bucket: str, subject: Subject) -> None:
    if not is_bucket_name(bucket):
        raise UnusableItem(
            f"{subject.item.shown}: its output would go to {bucket!r}, which is not a bucket name.",
            remedy="Name the bucket in the destination instead of {bucket}.",
        )
