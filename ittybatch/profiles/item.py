"""One source object: the unit that a profile turns into jobs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ittybatch.ittybit.redaction import without_secrets

S3_SCHEME = "s3://"
# What makes the keys of uploads unique, before the name of the file.
_UNIQUE = re.compile(r"[0-9a-f]{32}-(?=.)")


@dataclass(slots=True)
class Item:
    """One source object, as a source found it. Do not change it; it is not frozen, for speed.

    Args:
        uri: `s3://bucket/key` with the key unencoded, or an http(s) URL.
        fingerprint: Version or ETag of the content; None where unknown.
        size_bytes: Size of the object; None where unknown.
        modified_at: Aware UTC time of the last change; None where unknown.
        line: Line of the manifest that lists the item, counted from 1.
        kind: Kind of the item's only job, where its manifest row asks for one.
        options: Options of `kind`.
        profile: Name of the profile to use for this item instead of the batch's.
        metadata: The user's own name-value pairs, sent with every job of the item.
    """

    uri: str
    fingerprint: str | None = None
    size_bytes: int | None = None
    modified_at: datetime | None = None
    line: int | None = None
    kind: str | None = None
    options: Mapping[str, Any] | None = None
    profile: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        """Bucket of an S3 object, or host of a URL; empty if the URL cannot be parsed."""
        if self.uri.startswith(S3_SCHEME):
            return self.uri[5:].partition("/")[0]
        parts = _parsed(self.uri)
        return (parts and parts.hostname) or ""

    @property
    def key(self) -> str:
        """Key of an S3 object, or decoded path of a URL without its leading slash.

        Empty if the URL cannot be parsed.
        """
        if self.uri.startswith(S3_SCHEME):
            return self.uri[5:].partition("/")[2]
        parts = _parsed(self.uri)
        return "" if parts is None else unquote(parts.path).removeprefix("/")

    @property
    def uploaded_as(self) -> str:
        """Name of the file that was uploaded to this key; empty if the key is not an upload's."""
        if not self.uri.startswith(S3_SCHEME):
            return ""
        name = self.key.rpartition("/")[2]
        unique = _UNIQUE.match(name)
        return name[unique.end() :] if unique else ""

    @property
    def shown(self) -> str:
        """The URI for messages, without a URL's password and query, which may hold a signature."""
        if self.uri.startswith(S3_SCHEME):
            return self.uri
        parts = _parsed(self.uri)
        if parts is None:
            bare, mark, _ = without_secrets(self.uri).partition("?")
            return f"{bare}?..." if mark else bare
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}{'?...' if parts.query else ''}"

    @property
    def suffix(self) -> str:
        """Lower-case suffix of the file name with its dot, or an empty string."""
        name = self.key.rpartition("/")[2]
        stem, dot, suffix = name.rpartition(".")
        return f".{suffix.lower()}" if dot and stem and suffix else ""


def _parsed(uri: str) -> SplitResult | None:
    """The parts of a URL; None if it cannot be parsed. Requests and events name such, too."""
    try:
        return urlsplit(uri)
    except ValueError:  # for example https://[
        return None
