"""The source that lists a bucket."""

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from ittybatch.profiles import Item
from ittybatch.sources.entry import has_unseen, visible
from ittybatch.sources.filters import ObjectFilters, rules_of, sort_entries
from ittybatch.sources.form import as_form
from ittybatch.sources.lanes import Lane, Lanes, split_folder
from ittybatch.sources.listing import MAX_ANSWER, Answer, Listing
from ittybatch.sources.moment import Span
from ittybatch.sources.page import (
    Page,
    PageBuilder,
    read_cursor,
    unusable_cursor,
    write_cursor,
)
from ittybatch.sources.s3 import SCHEME, split_uri

_DAY_S = 86_400.0
# For the run form: `s3://bucket/prefix/`, or the same without `s3://`.
_BUCKET_OR_URI = r"^\s*(s3://)?[A-Za-z0-9][^/:]*(/.*)?$"


class BucketSource(ObjectFilters):
    """All objects under one or several prefixes of S3, or of another store with its API."""

    model_config = ConfigDict(
        extra="forbid",
        title="Bucket",
        frozen=True,
        json_schema_extra=as_form,
        hide_input_in_errors=True,
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
        description="More folders, of this bucket or of others, written like the first.",
        max_length=100,
    )
    since_last_scan: bool = Field(
        default=False,
        title="Since the last scan",
        description="Only objects modified since the last complete scan of the same source with "
        "the same profile. All objects if there was no such scan, or if it has unfinished jobs.",
    )
    overlap: Span = Field(
        _DAY_S,
        title="Overlap",
        description="How long before the last scan to begin, such as `24h`. The time of a "
        "multipart upload is when it began.",
        ge=0,
        json_schema_extra={"type": "string", "default": "24h"},
    )
    request_payer: bool = Field(
        default=False,
        title="Requester pays",
        description="Agree to pay for listing a Requester Pays bucket.",
    )
    parallel: int = Field(
        8,
        title="Parallel listings",
        description="How many folders inside a prefix to list at the same time. With 1, objects "
        "are in the order of their keys.",
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
        """The folders to list, without those inside another one."""
        uris = dict.fromkeys(
            uri if uri.endswith("/") else f"{uri}/" for uri in (self.uri, *self.more_uris)
        )
        return tuple(
            uri for uri in uris if not any(uri.startswith(other) for other in uris if other != uri)
        )

    @property
    def objects(self) -> tuple[str, ...]:
        """The URIs that may name a single object outside of all folders."""
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
        raise ValueError(f"{visible(uri)} has an invisible character")
    # With a suffix it may be an object; only reading the bucket tells.
    if not key or key.endswith("/") or Item(uri).suffix:
        return f"s3://{bucket}/{key}"
    return f"s3://{bucket}/{key}/"


def read_bucket(source: BucketSource, *, cursor: str | None, page_size: int) -> Iterator[Page]:
    """List the folders of a source in pages of objects.

    Args:
        source: The folders and the filters.
        cursor: Cursor of the last committed page; None to begin at the beginning.
        page_size: Objects in a page at most, before filters.

    Raises:
        SourceError: The listing failed. An empty listing yields no page.
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
            if single := _single_objects(source, listings):
                yield single.build(write_cursor(source.type, name, {"lanes": [*map(list, lanes)]}))
        else:
            lanes = _lanes_of(read_cursor(cursor, source.type, name), source)
        rules = {uri: rules_of(source, split_uri(uri)[1]) for uri in source.uris}

        def ask(lane: Lane, limit: int) -> Answer:
            bucket, prefix = split_uri(lane.uri)
            return listings[bucket].answer(prefix, lane.after, limit)

        # A page holds several answers, because one commit of a large page is faster.
        builder, objects = PageBuilder(), 0
        for lane, answer, rest in Lanes(lanes, ask, source.parallel, page_size):
            if answer.entries:
                bucket, _ = split_uri(lane.uri)
                builder.extend(*sort_entries(bucket, answer.entries, rules[lane.uri]))
                objects += len(answer.entries)
            if objects and (not rest or objects + MAX_ANSWER > page_size):
                yield builder.build(write_cursor(source.type, name, {"lanes": [*map(list, rest)]}))
                objects = 0
    finally:
        for listing in listings.values():
            listing.close()


def _single_objects(source: BucketSource, listings: dict[str, Listing]) -> PageBuilder:
    """Read the objects that the source names one by one, if they exist."""
    builder = PageBuilder()
    for uri in source.objects:
        bucket, key = split_uri(uri)
        found = listings[bucket].object(key).entries
        # Patterns are relative to a folder, here the one that the object is in.
        rules = rules_of(source, key[: key.rfind("/") + 1])
        builder.extend(*sort_entries(bucket, found, rules))
    return builder


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
        raise unusable_cursor(source.uri, "it is damaged") from error
    if any(lane.uri not in source.uris for lane in lanes):
        raise unusable_cursor(source.uri, "it belongs to another folder")
    return lanes
