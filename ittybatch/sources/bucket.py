"""The source that lists a bucket."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from ittybatch.profiles import Item
from ittybatch.sources.cursor import read_cursor, write_cursor
from ittybatch.sources.entry import Found, has_unseen, sort_entries, visible
from ittybatch.sources.errors import SourceError
from ittybatch.sources.filters import ObjectFilters, rules_of
from ittybatch.sources.form import as_form
from ittybatch.sources.lanes import Lane, Lanes, split_folder
from ittybatch.sources.listing import MAX_ANSWER, Answer, Listing
from ittybatch.sources.moment import Span
from ittybatch.sources.page import Page, Reject
from ittybatch.sources.s3 import SCHEME, split_uri

DEFAULT_PAGE_SIZE = 1000
_DAY_S = 86_400.0
# For the run form: `s3://bucket/prefix/`, or the same without `s3://`.
_BUCKET_OR_URI = r"^\s*(s3://)?[A-Za-z0-9][^/:]*(/.*)?$"


class BucketSource(ObjectFilters):
    """Every object under one or several prefixes of S3 buckets, or of a store that speaks S3."""

    model_config = ConfigDict(
        extra="forbid", title="Bucket", frozen=True, json_schema_extra=as_form
    )

    type: Literal["bucket"] = Field("bucket", title="Type", description="A listing of a bucket.")
    uri: str = Field(
        title="Bucket and prefix",
        description="`s3://bucket/prefix/`. The prefix is a folder: `s3://media/up` holds "
        "`up/clip.mov`, not `upload.mov`. `s3://media/up/clip.mov` is one object.",
        examples=["s3://media/uploads/"],
        json_schema_extra={"pattern": _BUCKET_OR_URI},
    )
    more_uris: tuple[str, ...] = Field(
        (),
        title="More prefixes",
        description="Further folders, of this bucket or of others, written as the first.",
        max_length=100,
    )
    since_last_scan: bool = Field(
        default=False,
        title="Since the last scan",
        description="Only objects modified since the last complete scan of the same source with "
        "the same profile. Everything, where there was none or something of it is still to do.",
    )
    overlap: Span = Field(
        _DAY_S,
        title="Overlap",
        description="How far before the last scan to begin, such as `24h`. An upload in parts "
        "has the time at which it was begun.",
        ge=0,
        json_schema_extra={"type": "string", "default": "24h"},
    )
    request_payer: bool = Field(
        default=False,
        title="Requester pays",
        description="Agree to pay for the listing of a bucket where the requester pays.",
    )
    parallel: int = Field(
        8,
        title="Listings at once",
        description="How many folders inside a prefix to list at the same time. With 1, objects "
        "come in the order of their keys.",
        ge=1,
        le=64,
    )

    @field_validator("uri")
    @classmethod
    def _bucket_and_folder(cls, uri: str) -> str:
        return _folder(uri)

    @field_validator("more_uris")
    @classmethod
    def _buckets_and_folders(cls, uris: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_folder(uri) for uri in uris if uri.strip())

    @property
    def uris(self) -> tuple[str, ...]:
        """Every folder that is listed, once: what is inside another comes with that."""
        uris = dict.fromkeys(
            uri if uri.endswith("/") else f"{uri}/" for uri in (self.uri, *self.more_uris)
        )
        return tuple(
            uri for uri in uris if not any(uri.startswith(other) for other in uris if other != uri)
        )

    @property
    def objects(self) -> tuple[str, ...]:
        """Every URI that may name one object, and is in none of the folders."""
        return tuple(
            uri
            for uri in dict.fromkeys((self.uri, *self.more_uris))
            if not uri.endswith("/") and not any(uri.startswith(folder) for folder in self.uris)
        )


def _folder(uri: str) -> str:
    uri = uri.strip()
    if "://" not in uri and re.match(_BUCKET_OR_URI, uri):
        uri = f"{SCHEME}{uri}"
    bucket, key = split_uri(uri)
    if has_unseen(key):
        raise ValueError(f"{visible(uri)} holds a character that does not show")
    # With a suffix it may be an object; that shows when the bucket is read.
    if not key or key.endswith("/") or Item(uri).suffix:
        return f"s3://{bucket}/{key}"
    return f"s3://{bucket}/{key}/"


def read_bucket(
    source: BucketSource, *, cursor: str | None = None, page_size: int = DEFAULT_PAGE_SIZE
) -> Iterator[Page]:
    """List the folders of a source in pages of objects.

    Args:
        source: What to list and what of it to keep.
        cursor: Of the last page that was dealt with.
        page_size: Objects a page at most, before any are left out.

    Raises:
        SourceError: The listing failed; an empty one simply yields no page.
    """
    listings: dict[str, Listing] = {}
    name = " ".join(source.uris)
    try:
        for uri in source.uris:
            bucket, _ = split_uri(uri)
            if bucket not in listings:
                listings[bucket] = Listing(
                    uri,
                    versioned=source.versioned,
                    connections=source.parallel,
                    request_payer=source.request_payer,
                )
        if cursor is None:
            lanes = _split(source, listings)
            single = _read_objects(source, listings)
            if single.objects:
                yield single.page(write_cursor(source.type, name, {"lanes": [*map(list, lanes)]}))
        else:
            lanes = _lanes_of(read_cursor(cursor, source.type, name), source)
        rules = {uri: rules_of(source, split_uri(uri)[1]) for uri in source.uris}

        def ask(lane: Lane, limit: int) -> Answer:
            bucket, prefix = split_uri(lane.uri)
            return listings[bucket].answer(prefix, lane.after, limit)

        read = _Read()
        for lane, answer, rest in Lanes(lanes, ask, source.parallel, page_size):
            if answer.entries:
                bucket, _ = split_uri(lane.uri)
                read.add(len(answer.entries), sort_entries(bucket, answer.entries, rules[lane.uri]))
            if read.objects and (not rest or read.objects + MAX_ANSWER > page_size):
                cursor = write_cursor(source.type, name, {"lanes": [*map(list, rest)]})
                yield read.page(cursor)
                read = _Read()
    finally:
        for listing in listings.values():
            listing.close()


class _Read:
    """What has been read since the last page: an answer is a fifth of what a plan commits."""

    def __init__(self) -> None:
        self.objects = 0
        self.items: list[Item] = []
        self.rejects: list[Reject] = []
        self.filtered: Counter[str] = Counter()

    def add(self, objects: int, found: Found) -> None:
        items, rejects, filtered = found
        self.objects += objects
        self.items += items
        self.rejects += rejects
        self.filtered.update(filtered)

    def page(self, cursor: str) -> Page:
        return Page(self.items, self.rejects, dict(self.filtered), cursor)


def _read_objects(source: BucketSource, listings: dict[str, Listing]) -> _Read:
    """Read the objects that the source names one by one, if they exist."""
    read = _Read()
    for uri in source.objects:
        bucket, key = split_uri(uri)
        found = listings[bucket].object(key).entries
        # A pattern is about paths below a folder, and this object's folder is its own.
        rules = rules_of(source, key[: key.rfind("/") + 1])
        read.add(len(found), sort_entries(bucket, found, rules))
    return read


def _split(source: BucketSource, listings: dict[str, Listing]) -> list[Lane]:
    wanted = -(-2 * source.parallel // len(source.uris)) if source.parallel > 1 else 1
    lanes: list[Lane] = []
    for uri in source.uris:
        bucket, prefix = split_uri(uri)
        lanes += split_folder(listings[bucket], uri, prefix, wanted)
    return lanes


def _lanes_of(place: dict[str, Any], source: BucketSource) -> list[Lane]:
    try:
        lanes = [Lane(*lane) for lane in place["lanes"]]
    except (KeyError, TypeError) as error:
        raise _lost(source) from error
    if any(lane.uri not in source.uris for lane in lanes):
        raise _lost(source)
    return lanes


def _lost(source: BucketSource) -> SourceError:
    return SourceError(
        f"{source.uri} cannot be read on from the saved place: it names no key.",
        remedy="Start a new batch of the source.",
    )
