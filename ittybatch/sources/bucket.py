"""The source that lists a bucket."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from ittybatch.profiles import Item
from ittybatch.profiles.glob import glob_matches
from ittybatch.profiles.quantities import ByteCount
from ittybatch.sources.cursor import read_cursor, write_cursor
from ittybatch.sources.errors import SourceError
from ittybatch.sources.form import as_form
from ittybatch.sources.listing import Entry, list_entries
from ittybatch.sources.page import Page, Reject
from ittybatch.sources.s3 import split_uri

DEFAULT_PAGE_SIZE = 1000
Rule = tuple[str, Callable[[Entry], bool]]

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class BucketSource(BaseModel):
    """Every object under a prefix of an S3 bucket, or of a store that speaks S3."""

    model_config = ConfigDict(
        extra="forbid", title="Bucket", frozen=True, json_schema_extra=as_form
    )

    type: Literal["bucket"] = Field("bucket", title="Type", description="A listing of a bucket.")
    uri: str = Field(
        title="Bucket and prefix",
        description="`s3://bucket/prefix/`. The prefix is a folder: `s3://media/up` holds "
        "`up/clip.mov`, not `upload.mov`.",
        examples=["s3://media/uploads/"],
    )
    suffixes: tuple[str, ...] = Field(
        (),
        title="Suffixes",
        description="Only objects whose names end in one of these, such as `.mov`.",
    )
    glob: str | None = Field(
        None,
        title="Only matching",
        description="Shell pattern of names (`clip-*.mp4`) or, with a slash, of paths under the "
        "prefix (`2024/*/master.mov`).",
        max_length=500,
    )
    exclude: str | None = Field(
        None,
        title="Except matching",
        description="Shell pattern of what to leave out, read as above.",
        max_length=500,
    )
    min_size: ByteCount | None = Field(
        None,
        title="Smallest size",
        description="Leave out smaller objects: `500kB`, `10MB`, `2GiB`.",
    )
    max_size: ByteCount | None = Field(
        None, title="Largest size", description="Leave out larger objects: `500kB`, `10MB`, `2GiB`."
    )
    modified_since: AwareDatetime | None = Field(
        None,
        title="Modified since",
        description="Only objects last modified at this time or later.",
    )
    modified_before: AwareDatetime | None = Field(
        None,
        title="Modified before",
        description="Only objects last modified before this time.",
    )

    @field_validator("uri")
    @classmethod
    def _bucket_and_folder(cls, uri: str) -> str:
        bucket, key = split_uri(uri)
        if _UNSEEN.search(key):
            raise ValueError(f"{uri!r} holds a character that cannot be seen")
        return f"s3://{bucket}/{key if not key or key.endswith('/') else key + '/'}"

    @field_validator("suffixes")
    @classmethod
    def _dotted(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            f".{suffix.strip().lower().removeprefix('.')}" for suffix in suffixes if suffix.strip()
        )

    @model_validator(mode="after")
    def _possible(self) -> "BucketSource":
        if None not in (self.min_size, self.max_size) and self.min_size > self.max_size:  # type: ignore[operator]
            raise ValueError("no object is both as large as min_size and as small as max_size")
        since, before = self.modified_since, self.modified_before
        if since is not None and before is not None and since >= before:
            raise ValueError("modified_since must be earlier than modified_before")
        return self

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return split_uri(self.uri)[0]

    @property
    def prefix(self) -> str:
        """What every listed key begins with: empty, or ending with a slash."""
        return split_uri(self.uri)[1]


def read_bucket(
    source: BucketSource, *, cursor: str | None = None, page_size: int = DEFAULT_PAGE_SIZE
) -> Iterator[Page]:
    """List a bucket in pages of objects, in the order of their keys.

    Args:
        source: What to list and what of it to keep.
        cursor: Of the last page that was dealt with.
        page_size: Objects a page, before any are left out.

    Raises:
        SourceError: The listing failed; an empty one simply yields no page.
    """
    after = None
    if cursor is not None:
        after = _key_of(read_cursor(cursor, source.type, source.uri), source)
    rules = _rules(source)
    for entries in list_entries(source.bucket, source.prefix, after, page_size):
        # Folder markers come without their slash and so may sort before their neighbours.
        after = max(after or "", *(entry.key for entry in entries))
        yield _page(source, rules, entries, after)


def _key_of(place: dict[str, object], source: BucketSource) -> str:
    key = place.get("after")
    if not isinstance(key, str):
        raise SourceError(
            f"{source.uri} cannot be read on from the saved place: it names no key.",
            remedy="Start a new batch of the source.",
        )
    return key


def _page(
    source: BucketSource,
    rules: list[Rule],
    entries: list[Entry],
    after: str,
) -> Page:
    items: list[Item] = []
    rejects: list[Reject] = []
    filtered: Counter[str] = Counter()
    root = f"s3://{source.bucket}/"
    for entry in entries:
        rule = next((name for name, leaves_out in rules if leaves_out(entry)), None)
        if rule is not None:
            filtered[rule] += 1
        elif _UNSEEN.search(entry.key):
            reason = "holds a character that cannot be seen; rename the object"
            rejects.append(Reject(None, "key", reason, repr(entry.key)[:200]))
        else:
            items.append(
                Item(
                    uri=root + entry.key,
                    fingerprint=entry.fingerprint,
                    size_bytes=entry.size_bytes,
                    modified_at=entry.modified_at,
                )
            )
    cursor = write_cursor(source.type, source.uri, {"after": after})
    return Page(items, rejects, dict(filtered), cursor)


def _rules(source: BucketSource) -> list[Rule]:
    """List what leaves an object out, by name, leaving out what the source does not ask for."""
    start = len(source.prefix)
    suffixes, glob, exclude = source.suffixes, source.glob, source.exclude
    least, most = source.min_size, source.max_size
    since, before = source.modified_since, source.modified_before
    # Folders made in consoles are empty objects; nothing empty is media.
    rules: list[Rule] = [("empty", lambda e: e.size_bytes == 0)]
    if suffixes:
        rules.append(("suffix", lambda e: not e.key.lower().endswith(suffixes)))
    if glob is not None:
        rules.append(("glob", lambda e: not glob_matches(glob, e.key[start:])))
    if exclude is not None:
        rules.append(("exclude", lambda e: glob_matches(exclude, e.key[start:])))
    if least is not None:
        rules.append(("min_size", lambda e: e.size_bytes < least))
    if most is not None:
        rules.append(("max_size", lambda e: e.size_bytes > most))
    if since is not None:
        rules.append(("modified_since", lambda e: e.modified_at < since))
    if before is not None:
        rules.append(("modified_before", lambda e: e.modified_at >= before))
    return rules
