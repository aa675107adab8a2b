"""S3 Inventories: parts in each format, versions, checksums, and going on after a stop."""

import csv
import gzip
import hashlib
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pyarrow as pa
import pytest
from pyarrow import orc, parquet
from pydantic import ValidationError

from ittybatch.sources import BucketSource, InventorySource, Page, SourceError, read_pages
from ittybatch.sources import parquet as parquet_source
from ittybatch.sources.inventory import scanned_folder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Row = dict[str, Any]
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TITLES = {
    "bucket": "Bucket",
    "key": "Key",
    "version_id": "VersionId",
    "is_latest": "IsLatest",
    "is_delete_marker": "IsDeleteMarker",
    "size": "Size",
    "last_modified_date": "LastModifiedDate",
    "e_tag": "ETag",
    "storage_class": "StorageClass",
}
COLUMNS: dict[str, pa.DataType] = {
    "bucket": pa.string(),
    "key": pa.string(),
    "version_id": pa.string(),
    "is_latest": pa.bool_(),
    "is_delete_marker": pa.bool_(),
    "size": pa.int64(),
    "last_modified_date": pa.timestamp("ms", tz="UTC"),
    "e_tag": pa.string(),
    "storage_class": pa.string(),
}
SCHEMA = pa.schema(COLUMNS)
LAYOUTS = {
    "CSV": ", ".join(TITLES.values()),
    "ORC": "struct<" + ",".join(f"{name}:string" for name in TITLES) + ">",
    "Parquet": "message s3.inventory { "
    + " ".join(f"optional binary {name} (UTF8);" for name in TITLES)
    + "}",
}


def row(key: str, **more: Any) -> Row:  # noqa: ANN401 - any column
    return {
        "bucket": "media",
        "key": key,
        "version_id": f"v-{key}",
        "is_latest": True,
        "is_delete_marker": False,
        "size": 5,
        "last_modified_date": TIME,
        "e_tag": hashlib.md5(key.encode()).hexdigest(),
        "storage_class": "STANDARD",
        **more,
    }


def csv_part(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for each in rows:
        cells = {**each, "key": quote_plus(each["key"], safe="/")}
        cells["last_modified_date"] = "2026-01-02T03:04:05.000Z"
        writer.writerow(
            str(value).lower() if isinstance(value, bool) else "" if value is None else value
            for value in cells.values()
        )
    return gzip.compress(text.getvalue().encode())


def orc_part(rows: list[Row]) -> bytes:
    file = io.BytesIO()
    orc.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    return file.getvalue()


def parquet_part(rows: list[Row]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), file, row_group_size=50)
    return file.getvalue()


PARTS = {"CSV": csv_part, "ORC": orc_part, "Parquet": parquet_part}
Make = Callable[..., InventorySource]


@pytest.fixture
def inventory(s3: "S3Client", bucket: str) -> Make:
    """Puts an inventory of `media` into the bucket, one part a list of rows."""

    def put(form: str, *parts: list[Row], **fields: Any) -> InventorySource:  # noqa: ANN401
        files = []
        for number, rows in enumerate(parts):
            content = PARTS[form](rows)
            key = f"inv/data/{number}.{form.lower()}"
            s3.put_object(Bucket=bucket, Key=key, Body=content)
            digest = hashlib.md5(content).hexdigest()
            files.append({"key": key, "size": len(content), "MD5checksum": digest})
        manifest = {
            "sourceBucket": "media",
            "destinationBucket": f"arn:aws:s3:::{bucket}",
            "version": "2016-11-30",
            "creationTimestamp": "1767322800000",
            "fileFormat": form,
            "fileSchema": LAYOUTS[form],
            "files": files,
        }
        content = json.dumps(manifest).encode()
        s3.put_object(Bucket=bucket, Key="inv/manifest.json", Body=content)
        digest = hashlib.md5(content).hexdigest()
        s3.put_object(Bucket=bucket, Key="inv/manifest.checksum", Body=f"{digest}\n".encode())
        return InventorySource(manifest_uri=f"s3://{bucket}/inv/manifest.json", **fields)

    return put


def keys_of(pages: list[Page]) -> list[str]:
    return [item.key for page in pages for item in page.items]


@pytest.mark.parametrize("form", PARTS)
def test_an_object_is_the_item_that_a_listing_makes_of_it(
    inventory: Make, s3: "S3Client", form: str
) -> None:
    """The same URI and fingerprint, so that it is paid for once."""
    s3.create_bucket(Bucket="media")
    s3.put_object(Bucket="media", Key="a b+c/é.mov", Body=b"12345")
    (listed,) = next(read_pages(BucketSource(uri="s3://media/a b+c/"))).items
    etag = listed.fingerprint
    (page,) = read_pages(inventory(form, [row("a b+c/é.mov", e_tag=etag)]))
    (item,) = page.items
    assert (item.uri, item.fingerprint, item.size_bytes) == (listed.uri, etag, 5)
    assert item.modified_at == TIME


def test_bytes_for_text_and_times_beyond_the_calendar_are_read(
    inventory: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may have written the part: no object is lost for its time."""

    def part(_: list[Row]) -> bytes:
        names = pa.array([b"a/\xc3\xa9.mov", b"b.mov"])
        tags = pa.array([b'"x"', b"y"])
        times = pa.array([2**62, 0]).cast(pa.timestamp("us"))
        table = pa.table({"key": names, "e_tag": tags, "last_modified_date": times, "size": [1, 2]})
        out = io.BytesIO()
        parquet.write_table(table, out)
        return out.getvalue()

    monkeypatch.setitem(PARTS, "Parquet", part)
    (page,) = read_pages(inventory("Parquet", []))
    assert [(item.key, item.fingerprint) for item in page.items] == [
        ("a/é.mov", "x"),
        ("b.mov", "y"),
    ]
    assert [item.modified_at for item in page.items] == [None, datetime(1970, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize("form", PARTS)
def test_only_newest_versions_count(inventory: Make, form: str) -> None:
    """Old ones and deleted objects are left out, and their number is told."""
    rows = [
        row("a.mov"),
        row("a.mov", is_latest=False, version_id="old"),
        row("gone.mov", is_delete_marker=True, size=None, e_tag=None),
        row("folder/", size=0),
    ]
    (page,) = read_pages(inventory(form, rows))
    assert keys_of([page]) == ["a.mov"]
    assert page.filtered == {"old version": 2, "folders": 1}
    (page,) = read_pages(inventory(form, rows, versioned=True))
    assert page.items[0].fingerprint == "v-a.mov"


@pytest.mark.parametrize("form", PARTS)
def test_a_stop_after_any_page_loses_and_repeats_nothing(inventory: Make, form: str) -> None:
    """Each page is read by a process that knows the last cursor and nothing else."""
    keys = [f"in/{number:03}.mov" for number in range(130)]
    rows = [row(key) for key in keys]
    source = inventory(form, rows[:60], [], rows[60:])
    found: list[str] = []
    cursor = None
    while page := next(read_pages(source, cursor=cursor, page_size=25), None):
        found += keys_of([page])
        cursor = page.cursor
    assert found == keys


def test_filters_are_those_of_a_bucket(inventory: Make) -> None:
    """With paths that are counted from the prefix."""
    rows = [row("in/a.mov"), row("in/b/c.mov"), row("out/d.mov"), row("in/e.txt", size=7)]
    source = inventory("Parquet", rows, prefix="/in", suffixes=[".mov"], exclude="b/*")
    (page,) = read_pages(source)
    assert keys_of([page]) == ["in/a.mov"]
    assert page.filtered == {"prefix": 1, "suffix": 1, "exclude": 1}
    assert scanned_folder(source) == "s3://media/in/"


def test_a_part_that_is_damaged_is_told(inventory: Make, s3: "S3Client", bucket: str) -> None:
    """By its checksum, before anything of it is believed."""
    source = inventory("CSV", [row("a.mov")], [row("b.mov")])
    s3.put_object(Bucket=bucket, Key="inv/data/1.csv", Body=csv_part([row("evil.mov")]))
    pages = read_pages(source)
    assert keys_of([next(pages)]) == ["a.mov"]
    with pytest.raises(SourceError, match=r"inv/data/1.csv does not match its checksum"):
        next(pages)


def test_a_manifest_that_is_damaged_is_told(inventory: Make, s3: "S3Client", bucket: str) -> None:
    """By the checksum beside it; without one, by what it holds."""
    source = inventory("CSV", [row("a.mov")])
    s3.put_object(Bucket=bucket, Key="inv/manifest.json", Body=b'{"files": []}')
    with pytest.raises(SourceError, match="does not match its checksum"):
        next(read_pages(source))
    s3.delete_object(Bucket=bucket, Key="inv/manifest.checksum")
    with pytest.raises(SourceError, match=r"its manifest is not one of S3 Inventory: sourceBucket"):
        next(read_pages(source))


def test_a_newer_inventory_in_its_place_is_not_read_on(inventory: Make) -> None:
    """A place in one is no place in the other."""
    source = inventory("CSV", [row("a.mov"), row("b.mov")])
    page = next(read_pages(source, page_size=1))
    inventory("CSV", [row("c.mov"), row("d.mov")])
    with pytest.raises(SourceError, match="has changed since"):
        next(read_pages(source, cursor=page.cursor))


def test_a_part_that_is_no_longer_there_is_named(
    inventory: Make, s3: "S3Client", bucket: str
) -> None:
    """S3 removes old inventories by lifecycle rules."""
    source = inventory("ORC", [row("a.mov")])
    s3.delete_object(Bucket=bucket, Key="inv/data/0.orc")
    with pytest.raises(SourceError, match=rf"s3://{bucket}/inv/data/0.orc is missing") as caught:
        next(read_pages(source))
    assert "NoSuchBucket" not in str(caught.value)
    assert "a newer inventory" in str(caught.value)


def test_a_column_that_is_needed_and_not_there_is_named(
    inventory: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an ETag, nobody could tell that an object was replaced."""
    monkeypatch.setitem(LAYOUTS, "CSV", "Bucket, Key, VersionId")
    with pytest.raises(SourceError, match=r"no column ETag \(to find changed objects\)"):
        next(read_pages(inventory("CSV", [row("a.mov")])))


def test_an_inventory_without_sizes_needs_a_word_on_empty_objects(
    inventory: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could tell them from media; folders are told by their names."""
    monkeypatch.setitem(LAYOUTS, "CSV", LAYOUTS["CSV"].replace("Size", "Unknown"))
    rows = [row("a.mov"), row("folder/")]
    with pytest.raises(SourceError, match=r"no column Size .*`include` has `empty`"):
        next(read_pages(inventory("CSV", rows)))
    (page,) = read_pages(inventory("CSV", rows, include=["empty"]))
    assert keys_of([page]) == ["a.mov"]
    assert page.filtered == {"folders": 1}


def test_an_inventory_without_storage_classes_needs_a_word_on_archived_objects(
    inventory: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them would be a job that fails."""
    monkeypatch.setitem(LAYOUTS, "CSV", LAYOUTS["CSV"].replace("StorageClass", "Unknown"))
    rows = [row("a.mov", storage_class="GLACIER")]
    with pytest.raises(SourceError, match=r"no column StorageClass .*`include` has `archived`"):
        next(read_pages(inventory("CSV", rows)))
    assert keys_of(list(read_pages(inventory("CSV", rows, include=["archived"])))) == ["a.mov"]


@pytest.mark.parametrize("form", PARTS)
def test_archived_objects_are_left_out(
    inventory: Make, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their class, and by the tier of those that S3 moves by itself."""
    monkeypatch.setitem(TITLES, "tier", "IntelligentTieringAccessTier")
    monkeypatch.setitem(LAYOUTS, "CSV", ", ".join(TITLES.values()))
    columns = {"intelligent_tiering_access_tier": pa.string()}
    monkeypatch.setattr(sys.modules[__name__], "SCHEMA", pa.schema({**COLUMNS, **columns}))
    rows = [
        row(key, storage_class=storage, intelligent_tiering_access_tier=tier)
        for key, storage, tier in (
            ("a.mov", "STANDARD", None),
            ("b.mov", "GLACIER", None),
            ("c.mov", "DEEP_ARCHIVE", None),
            ("d.mov", "GLACIER_IR", None),
            ("e.mov", "INTELLIGENT_TIERING", "ARCHIVE_ACCESS"),
            ("f.mov", "INTELLIGENT_TIERING", "FREQUENT_ACCESS"),
        )
    ]
    (page,) = read_pages(inventory(form, rows))
    assert keys_of([page]) == ["a.mov", "d.mov", "f.mov"]
    assert page.filtered == {"archived": 3}
    assert len(keys_of(list(read_pages(inventory(form, rows, include=["archived"]))))) == 6


@pytest.mark.parametrize("cut", [10, 40])
def test_a_part_that_ends_early_is_told_in_a_sentence(
    inventory: Make, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Its checksum may be of what is there."""
    rows = [row(f"{number}.mov") for number in range(50)]
    monkeypatch.setitem(PARTS, "CSV", lambda rows: csv_part(rows)[:-cut])
    with pytest.raises(SourceError, match=r"inv/data/0.csv cannot be read: .*a newer inventory"):
        list(read_pages(inventory("CSV", rows)))


@pytest.mark.parametrize("written", ['"{}"', "&#34;{}&#34;", "%22{}%22", "W/{}"])
@pytest.mark.parametrize("form", PARTS)
def test_an_etag_has_the_same_form_as_in_a_listing(
    inventory: Make, form: str, written: str
) -> None:
    """However the store wrote it."""
    etag = hashlib.md5(b"x").hexdigest()
    (page,) = read_pages(inventory(form, [row("a.mov", e_tag=written.format(etag))]))
    assert page.items[0].fingerprint == etag


def test_a_key_that_is_not_utf8_is_a_reject(
    inventory: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made of a name that only resembles the object's."""
    monkeypatch.setitem(
        PARTS,
        "CSV",
        lambda rows: gzip.compress(gzip.decompress(csv_part(rows)).replace(b"X", b"%E9")),
    )
    (page,) = read_pages(inventory("CSV", [row("cafX.mov"), row("d.mov")]))
    assert keys_of([page]) == ["d.mov"]
    assert r"caf\udce9.mov has a name" in page.rejects[0].reason


@pytest.mark.parametrize("uri", ["inv/manifest.json", "s3://media/", "s3://media/list.csv"])
def test_anything_but_a_manifest_is_refused(uri: str) -> None:
    """In the form, before anything runs."""
    with pytest.raises(ValidationError):
        InventorySource(manifest_uri=uri)


@pytest.mark.parametrize("odd", [0, 1])
def test_times_of_orc_are_converted_as_a_column(monkeypatch: pytest.MonkeyPatch, odd: int) -> None:
    """One by one would take longer than all else; only a time that Python cannot hold needs it."""
    single: list[object] = []
    by_itself = parquet_source._of_nanoseconds

    def counted(scalar: object) -> object:
        single.append(scalar)
        return by_itself(scalar)

    monkeypatch.setattr(parquet_source, "_of_nanoseconds", counted)
    column = pa.array([1_500_000_000_000_000_000, None, odd], pa.timestamp("ns", "UTC"))
    first, nothing, last = parquet_source.values_of(column)
    assert (first, nothing) == (datetime(2017, 7, 14, 2, 40, tzinfo=UTC), None)
    assert last == ("1970-01-01T00:00:00.000000001Z" if odd else datetime(1970, 1, 1, tzinfo=UTC))
    assert len(single) == 3 * odd
