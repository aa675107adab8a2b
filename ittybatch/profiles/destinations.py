"""Where outputs go: templates of S3 keys that nothing in an item's name can lead astray."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ittybatch.profiles.buckets import is_bucket_name
from ittybatch.profiles.cleaning import has_unfit_characters
from ittybatch.profiles.errors import ProfileError, UnusableItem
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.profiles.subject import DESTINATION_ITEM_FIELDS, Subject
from ittybatch.profiles.template import (
    Field,
    Part,
    field_names,
    fill_constants,
    parse_template,
    render,
)

if TYPE_CHECKING:
    from ittybatch.profiles.profile import Profile

DESTINATION_FIELDS = DESTINATION_ITEM_FIELDS | {"rendition", "kind", "ext"}
MAX_KEY_BYTES = 1024

_NAMES_ITEM = frozenset({"key", "stem", "item"})
_MAY_BE_EMPTY = frozenset({"dir", "suffix"})
# Stand-ins for fields while the shape of a template is judged; literals cannot hold them.
_FULL, _EMPTYABLE = "\x00", "\x01"


class DestinationOverlap(ProfileError):
    """Outputs would land among the objects that are scanned, and be taken for new items."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination's template with all but the item's own values in place.

    Args:
        bucket: Parts of the bucket's name; its only field can be `bucket`.
        key: Parts of the key.
    """

    bucket: tuple[Part, ...]
    key: tuple[Part, ...]

    @property
    def as_json(self) -> list[list[str | list[str]]]:
        """The template in JSON's types, fields as lists, so that no text can pass for one."""
        return [
            [part if isinstance(part, str) else [part.name] for part in parts]
            for parts in (self.bucket, self.key)
        ]

    @property
    def static_prefix(self) -> str:
        """What every rendered destination begins with: the text before the first field."""
        bucket = _literal_head(self.bucket)
        if field_names(self.bucket):
            return S3_SCHEME + bucket
        return f"{S3_SCHEME}{bucket}/{_literal_head(self.key)}"

    def render(self, subject: Subject) -> str:
        """Give the destination of one item's output.

        Raises:
            UnusableItem: The key would be longer than S3 allows, the bucket's name would be
                none, or the output would replace the item itself.
        """
        value = subject.destination_value
        key = "".join([part if isinstance(part, str) else value(part.name) for part in self.key])
        if "//" in key or key[0] in "./" or "/." in key or key[-1] == "/":
            key = _normalised(key)
        first = self.bucket[0]
        fixed = first if len(self.bucket) == 1 and isinstance(first, str) else None
        bucket = fixed or render(self.bucket, {"bucket": value("bucket")})
        uri = f"{S3_SCHEME}{bucket}/{key}"
        # No character takes more than four bytes.
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
    """Check a destination's template and put in what is the same for every item.

    Args:
        text: `s3://bucket/key` with fields.
        constants: Values of `rendition`, `kind` and `ext`; `ext` is absent where the format of
            the output is not known before it is made.

    Raises:
        ValueError: The template is unusable; the message says why.
    """
    if not text.startswith(S3_SCHEME):
        raise ValueError(f"{text!r} must begin with {S3_SCHEME}; outputs go to S3 alone")
    parts = fill_constants(
        parse_template(text.removeprefix(S3_SCHEME), DESTINATION_FIELDS), constants
    )
    if "ext" in field_names(parts):
        raise ValueError(f"{text!r} uses {{ext}}, so `options` must name a `format`")
    if any(isinstance(part, str) and has_unfit_characters(part) for part in parts):
        raise ValueError(f"{text!r} holds a backslash or a character that cannot be seen")
    destination = _split(text, parts)
    _check_bucket_template(text, destination)
    _check_key_template(text, destination)
    return destination


def static_prefix(template: str) -> str:
    """Give what every destination of a template begins with.

    Args:
        template: `s3://bucket/key` with fields.

    Returns:
        The text before the first field, such as `s3://out/renditions/`; only `s3://` and the
        beginning of the name where the bucket itself is a field.
    """
    parts = parse_template(template.removeprefix(S3_SCHEME), DESTINATION_FIELDS)
    return S3_SCHEME + _literal_head(parts)


def destination_overlap(destination: Destination, scanned: str) -> str | None:
    """Say whether outputs could land inside a scanned prefix.

    Args:
        destination: Where the outputs go.
        scanned: `s3://bucket/prefix/` that is listed for items.

    Returns:
        What would meet what, or None where they keep apart.
    """
    bucket, _, prefix = scanned.removeprefix(S3_SCHEME).partition("/")
    folder = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    target = render(destination.bucket, {"bucket": bucket})
    head = _literal_head(destination.key)
    if target != bucket:
        return None
    # A field right after a shorter text may spell out the rest of the scanned prefix.
    if not head.startswith(folder) and not folder.startswith(head):
        return None
    return f"{S3_SCHEME}{target}/{head}... reaches into {scanned}"


def refuse_overlap(profile: "Profile", scanned: Sequence[str]) -> None:
    """Refuse a profile whose outputs the next scan would take for new items.

    Args:
        profile: The profile.
        scanned: Every `s3://bucket/prefix/` that the batch lists.

    Raises:
        DestinationOverlap: Naming each rendition in the way.
    """
    clashes = [
        f"\n  rendition {name}: {overlap}"
        for name, destination in profile.destinations().items()
        for prefix in scanned
        if (overlap := destination_overlap(destination, prefix))
    ]
    if clashes:
        raise DestinationOverlap(
            f"Profile {profile.name} would write its outputs among the objects it reads, and "
            f"the next run would process them again:{''.join(clashes)}",
            remedy="Begin the destination with another bucket, or with a fixed folder outside "
            "the scanned prefix, such as s3://bucket/renditions/{key}.",
        )


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
    strange = field_names(destination.bucket) - {"bucket"}
    if strange:
        raise ValueError(f"{text!r} has {{{min(strange)}}} in the bucket; only {{bucket}} may be")
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
            raise ValueError(f"{text!r} has an empty segment; it must end with a file's name")
        if segment in {".", ".."} or re.match(rf"\.+[{_FULL}{_EMPTYABLE}]", segment):
            raise ValueError(f"{text!r} has a segment that begins with dots; give it a name")
    if not segments[-1].strip(f".{_EMPTYABLE}"):
        raise ValueError(f"{text!r} may end without a file's name; end it with {{stem}}.{{ext}}")


def _shape(parts: Sequence[Part]) -> str:
    return "".join(
        part if isinstance(part, str) else _EMPTYABLE if part.name in _MAY_BE_EMPTY else _FULL
        for part in parts
    )


def _literal_head(parts: Sequence[Part]) -> str:
    return parts[0] if parts and not isinstance(parts[0], Field) else ""


def _normalised(key: str) -> str:
    segments = (segment for segment in key.split("/") if segment)
    return "/".join("_" * len(name) if name in {".", ".."} else name for name in segments)


def _check_bucket(bucket: str, subject: Subject) -> None:
    if not is_bucket_name(bucket):
        raise UnusableItem(
            f"{subject.item.shown}: its output would go to {bucket!r}, which is no bucket's name.",
            remedy="Name the bucket in the destination instead of {bucket}.",
        )
