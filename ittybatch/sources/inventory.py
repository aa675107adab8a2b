"""The source that is an S3 Inventory: a listing of a bucket that S3 writes to files."""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Literal, Protocol, cast

from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from s3transfer.exceptions import RetriesExceededError
from urllib3.exceptions import HTTPError

from ittybatch.sources.filters import ObjectFilters, Rule, rules_of, sort_entries
from ittybatch.sources.form import BEGINS_EMPTY, as_form
from ittybatch.sources.page import Page, SourceError, read_cursor, write_cursor
from ittybatch.sources.parts import Format, PartRows, lacking, read_part, titles_of
from ittybatch.sources.s3 import (
    aws_client,
    failure,
    patient,
    request_payer_parameters,
    s3_client,
    split_uri,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class _Ask(Protocol):
    """Calls S3, for example as `patient` does."""

    def __call__(self, call: Callable[[], bytes], *, first: bool = False) -> bytes:
        """Return what the call returns."""


_ARN = ":::"
_GONE = frozenset({"404", "NoSuchKey"})
_BLOCK_BYTES = 1024 * 1024
_MAX_MANIFEST_BYTES = 64 * 1024 * 1024


class InventorySource(ObjectFilters):
    """The newest version of each object that an S3 Inventory lists."""

    model_config = ConfigDict(
        extra="forbid",
        title="S3 Inventory",
        frozen=True,
        json_schema_extra=as_form,
        hide_input_in_errors=True,
    )

    type: Literal["inventory"] = Field(
        "inventory", title="Type", description="A listing of a bucket that S3 writes to files."
    )
    manifest_uri: str = Field(
        title="manifest.json",
        description="`s3://` URI of the inventory's `manifest.json`. Its parts may be CSV, ORC or "
        "Parquet.",
        examples=["s3://my-inventories/media/all/2026-01-01T01-00Z/manifest.json"],
        min_length=1,
        max_length=4096,
        json_schema_extra=BEGINS_EMPTY,
    )
    prefix: str = Field(
        "",
        title="Prefix",
        description="Only objects in this folder of the bucket, such as `uploads/`.",
        max_length=1024,
    )

    request_payer: bool = Field(
        default=False,
        title="Requester pays",
        description="Agree to pay for reading the inventory from a Requester Pays bucket.",
    )

    @field_validator("manifest_uri")
    @classmethod
    def _a_manifest(cls, uri: str) -> str:
        stripped = uri.strip()
        _, key = split_uri(stripped)
        if not key.endswith(".json"):
            raise ValueError(f"{uri!r} is not the manifest.json of an inventory")
        return stripped

    @field_validator("prefix")
    @classmethod
    def _a_folder(cls, prefix: str) -> str:
        stripped = prefix.strip().removeprefix("/")
        return stripped if not stripped or stripped.endswith("/") else f"{stripped}/"


class _Part(BaseModel):
    key: str
    size: int | None = None
    md5: str | None = Field(None, alias="MD5checksum")


class _Manifest(BaseModel):
    bucket: str = Field(alias="sourceBucket")
    parts_bucket: str = Field(alias="destinationBucket")
    format: Format = Field(alias="fileFormat")
    layout: str = Field(alias="fileSchema")
    files: list[_Part]


@dataclass(frozen=True, slots=True)
class _Inventory:
    """An inventory's manifest, with a hash of its content and the titles of its columns."""

    manifest: _Manifest
    identity: str
    titles: list[str]

    @property
    def bucket(self) -> str:
        """The bucket that the inventory lists."""
        return self.manifest.bucket.rpartition(_ARN)[2]


def scanned_folder(source: InventorySource, *, within_s: float | None = None) -> str:
    """Return the folder that an inventory lists, as `s3://bucket/prefix/`.

    Args:
        source: The inventory.
        within_s: Somebody waits: each of two requests to the store is made once and gets half of
            this time. None retries for minutes.

    Raises:
        SourceError: Its manifest cannot be read.
    """
    if within_s is None:
        with closing(s3_client()) as client:
            return f"s3://{_open(source, client).bucket}/{source.prefix}"
    once = Config(
        connect_timeout=within_s / 4,
        read_timeout=within_s / 4,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    with closing(cast("S3Client", aws_client("s3", config=once))) as client:
        return f"s3://{_open(source, client, _ask_once).bucket}/{source.prefix}"


def _ask_once(call: Callable[[], bytes], *, first: bool = False) -> bytes:  # noqa: ARG001
    """Call S3, as `patient` does, but without retries."""
    return call()


def read_inventory(
    source: InventorySource, *, cursor: str | None, page_size: int
) -> Iterator[Page]:
    """Read an inventory part by part, in pages of objects.

    Args:
        source: The inventory and the filters.
        cursor: Cursor of the last committed page; None to begin at the beginning.
        page_size: Rows in a page at most, before filters.

    Raises:
        SourceError: The inventory cannot be read, is damaged, or lacks a needed column.
    """
    with closing(s3_client()) as client:
        inventory = _open(source, client)
        first, skipped = _place(source, cursor, inventory)
        rules = rules_of(source, source.prefix)
        if source.prefix:
            outside = Rule("prefix", lambda each: not each.key.startswith(source.prefix))
            rules.insert(0, outside)
        for number, part in enumerate(inventory.manifest.files[first:], first):
            at = skipped if number == first else 0
            with TemporaryFile() as file:
                _fetch(source, client, inventory, part, file)
                for rows in _rows(source, inventory, part, file, at, page_size):
                    at += rows.read
                    found = sort_entries(inventory.bucket, rows.entries, rules)
                    if old := rows.read - len(rows.entries):
                        found[2]["old version"] = old
                    place = {"identity": inventory.identity, "part": number, "rows": at}
                    yield Page(*found, write_cursor(source.type, source.manifest_uri, place))


def _open(source: InventorySource, client: "S3Client", ask: _Ask = patient) -> _Inventory:
    content = _read_object(source, client, ask)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    given = _checksum(source, client, ask)
    if given is not None and given != digest:
        raise _damaged(source, "its manifest does not match its checksum")
    try:
        manifest = _Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise _unusable(
            source, f"its manifest is not one of S3 Inventory: {where}: {first['msg']}"
        ) from error
    titles = titles_of(manifest.format, manifest.layout)
    if missing := lacking(titles, _needed(source)):
        raise _unusable(source, f"it has no column {' and no '.join(missing)}")
    return _Inventory(manifest, digest, titles)


def _needed(source: InventorySource) -> dict[str, str]:
    needed = {"Key": "the objects' names", "ETag": "to find changed objects"}
    if source.versioned:
        needed["VersionId"] = "for `versioned`"
    if source.min_size is not None or source.max_size is not None:
        needed["Size"] = "for `min_size` and `max_size`"
    elif "empty" not in source.include:
        needed["Size"] = "to find empty objects, unless `include` has `empty`"
    if "archived" not in source.include:
        needed["StorageClass"] = "to find archived objects, unless `include` has `archived`"
    if source.modified_since is not None or source.modified_before is not None:
        needed["LastModifiedDate"] = "for `modified_since` and `modified_before`"
    return needed


def _read_object(source: InventorySource, client: "S3Client", ask: _Ask) -> bytes:
    uri = source.manifest_uri
    bucket, key = split_uri(uri)

    def read() -> bytes:
        answer = client.get_object(
            Bucket=bucket, Key=key, **request_payer_parameters(source.request_payer)
        )
        return answer["Body"].read(_MAX_MANIFEST_BYTES)

    try:
        return ask(read, first=True)
    except (ClientError, BotoCoreError, HTTPError) as error:
        raise failure("read", uri, error) from error


def _checksum(source: InventorySource, client: "S3Client", ask: _Ask) -> str | None:
    """Return the checksum that S3 puts beside a manifest; None if it was not copied along."""
    uri = source.manifest_uri
    bucket, key = split_uri(uri)
    beside = f"{key.removesuffix('.json')}.checksum"

    def read() -> bytes:
        answer = client.get_object(
            Bucket=bucket, Key=beside, **request_payer_parameters(source.request_payer)
        )
        return answer["Body"].read(200)

    try:
        return ask(read).decode(errors="replace").strip().lower() or None
    except ClientError:
        return None
    except (BotoCoreError, HTTPError) as error:
        raise failure("read", uri, error) from error


def _place(source: InventorySource, cursor: str | None, inventory: _Inventory) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    place = read_cursor(cursor, source.type, source.manifest_uri)
    if place.get("identity") != inventory.identity:
        raise _damaged(source, "its manifest has changed since this batch began to read it")
    return int(place["part"]), int(place["rows"])


def _fetch(
    source: InventorySource,
    client: "S3Client",
    inventory: _Inventory,
    part: _Part,
    file: IO[bytes],
) -> None:
    """Copy a part to this machine: reading ORC and Parquet begins at their end."""
    bucket = inventory.manifest.parts_bucket.rpartition(_ARN)[2]

    def copy() -> None:
        file.seek(0)
        file.truncate()
        client.download_fileobj(
            bucket, part.key, file, ExtraArgs=request_payer_parameters(source.request_payer)
        )

    try:
        patient(copy)
    except (ClientError, BotoCoreError, Boto3Error, RetriesExceededError, HTTPError) as error:
        uri = f"s3://{bucket}/{part.key}"
        # boto3 may send HEAD first, and its answer has no body that could name the reason.
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in _GONE:
            raise _damaged(source, f"its part {uri} is missing") from error
        raise failure("read", uri, error) from error
    except OSError as error:
        raise _damaged(source, f"{part.key} cannot be copied to this machine: {error}") from error
    file.seek(0)
    if part.md5 is not None:
        digest = hashlib.md5(usedforsecurity=False)
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        if digest.hexdigest() != part.md5.lower():
            raise _damaged(source, f"{part.key} does not match its checksum in the manifest")
        file.seek(0)


def _rows(  # noqa: PLR0917
    source: InventorySource,
    inventory: _Inventory,
    part: _Part,
    file: IO[bytes],
    skip: int,
    limit: int,
) -> Iterator[PartRows]:
    try:
        yield from read_part(
            file,
            inventory.manifest.format,
            inventory.titles,
            skip=skip,
            limit=limit,
            versioned=source.versioned,
        )
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise _damaged(source, f"{part.key} cannot be read: {error}") from error


def _unusable(source: InventorySource, why: str) -> SourceError:
    return SourceError(
        f"The inventory {source.manifest_uri} cannot be used: {why}.",
        remedy="Give the manifest.json of an S3 Inventory, and configure it with that column.",
    )


def _damaged(source: InventorySource, why: str) -> SourceError:
    return SourceError(
        f"The inventory {source.manifest_uri} cannot be read to its end: {why}.",
        remedy="`ittybatch resume` tries again from there; or start a batch of a newer inventory.",
    )
