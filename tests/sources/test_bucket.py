"""Listing a bucket: what becomes an item, what does not, and going on after a stop."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from pydantic import ValidationError

from ittybatch.profiles import Item
from ittybatch.sources import BucketSource, Page, SourceError, read_pages
from ittybatch.sources.listing import Answer, Listing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def put(s3: "S3Client", bucket: str, *keys: str, body: bytes = b"media") -> None:
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=body)


def keys_of(pages: list[Page]) -> list[str]:
    return [item.key for page in pages for item in page.items]


def listed(bucket: str, prefix: str = "", **more: Any) -> list[str]:  # noqa: ANN401 - any field
    return keys_of(list(read_pages(BucketSource(uri=f"s3://{bucket}/{prefix}", **more))))


def left_out(bucket: str, **more: Any) -> dict[str, int]:  # noqa: ANN401 - any field
    (page,) = read_pages(BucketSource(uri=f"s3://{bucket}/", **more))
    return page.filtered


def test_an_object_becomes_an_item_with_all_that_is_known(s3: "S3Client", bucket: str) -> None:
    """URI, ETag, size and time."""
    put(s3, bucket, "in/clip.mov", body=b"12345")
    (page,) = read_pages(BucketSource(uri=f"s3://{bucket}/in/"))
    (item,) = page.items
    assert (item.uri, item.size_bytes, item.line) == (f"s3://{bucket}/in/clip.mov", 5, None)
    assert item.fingerprint == s3.head_object(Bucket=bucket, Key="in/clip.mov")["ETag"].strip('"')
    assert item.modified_at is not None
    assert abs(datetime.now(UTC) - item.modified_at) < timedelta(minutes=5)


def test_new_content_has_another_fingerprint(s3: "S3Client", bucket: str) -> None:
    """So that it is processed again."""
    fingerprints = set()
    for body in (b"one", b"two"):
        put(s3, bucket, "clip.mov", body=body)
        (page,) = read_pages(BucketSource(uri=f"s3://{bucket}/"))
        fingerprints.add(page.items[0].fingerprint)
    assert len(fingerprints) == 2


def test_a_prefix_is_a_folder(s3: "S3Client", bucket: str) -> None:
    """With or without its slash; what only begins alike is something else."""
    put(s3, bucket, "up/a.mov", "up/b/c.mov", "upload/d.mov", "up.mov")
    assert listed(bucket, "up/") == listed(bucket, "up") == ["up/a.mov", "up/b/c.mov"]


def test_one_object_can_be_named(s3: "S3Client", bucket: str) -> None:
    """It is made; a folder of that name is read with it."""
    put(s3, bucket, "in/a.mov", "in/a.mov.txt", "in/b.mov", "in/c.mov/d.mov", "in/c.mov")
    assert listed(bucket, "in/a.mov") == ["in/a.mov"]
    assert listed(bucket, "in/none.mov") == []
    assert listed(bucket, "in/c.mov") == ["in/c.mov", "in/c.mov/d.mov"]
    assert listed(bucket, "in/c.mov/") == ["in/c.mov/d.mov"]
    more = {"more_uris": [f"s3://{bucket}/in/a.mov", f"s3://{bucket}/in/b.mov"]}
    assert listed(bucket, "in/a.mov", **more) == ["in/a.mov", "in/b.mov"]
    assert listed(bucket, "in/", **more) == listed(bucket, "in/")
    assert listed(bucket, "in/a.mov", glob="b*") == []


def test_one_object_and_a_folder_are_read_on_after_a_stop(s3: "S3Client", bucket: str) -> None:
    """The object once, and all of the folder."""
    put(s3, bucket, "a.mov", "in/1.mov", "in/2.mov", "in/3.mov")
    source = BucketSource(uri=f"s3://{bucket}/a.mov", more_uris=(f"s3://{bucket}/in/",))
    found = read_by_many_processes(source, 1)
    assert found == ["a.mov", "in/1.mov", "in/2.mov", "in/3.mov"]


def test_an_empty_folder_yields_no_page(bucket: str) -> None:
    """Nothing is nothing."""
    assert listed(bucket) == []


def test_folder_markers_and_empty_objects_are_left_out(s3: "S3Client", bucket: str) -> None:
    """They hold no media, and are counted."""
    put(s3, bucket, "in/", "in/empty.mov", body=b"")
    put(s3, bucket, "in/a.mov")
    assert listed(bucket) == ["in/a.mov"]
    assert left_out(bucket) == {"empty": 1, "folders": 1}


def test_filters_count_what_they_leave_out(s3: "S3Client", bucket: str) -> None:
    """Each object under the first rule that leaves it out."""
    put(s3, bucket, "a.MOV", "b.mp4", "c.txt", "old/d.mov")
    put(s3, bucket, "large.mov", body=b"x" * 100)
    found: dict[str, Any] = {"suffixes": [".mov", "mp4"], "exclude": "old/*", "max_size": 50}
    assert listed(bucket, **found) == ["a.MOV", "b.mp4"]
    assert left_out(bucket, **found) == {"suffix": 1, "exclude": 1, "max_size": 1}
    assert left_out(bucket, min_size="6B") == {"min_size": 4}
    assert listed(bucket, glob="?.mov") == ["old/d.mov"]
    assert listed(bucket, "old/", glob="d.*") == ["old/d.mov"]
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert left_out(bucket, modified_since=soon) == {"modified_since": 5}
    assert left_out(bucket, modified_before=soon) == {}


ODD = [
    "in/%41.mov", "in/+.mov", "in/#1?.mov", "in/a b.mov", "in/a//b.mov", "in/a/../b.mov",
    "in/*[x]{y}.mov", "in/\\.mov", "in/^`|<>.mov", "in/~.mov", "in/'\"&.mov", "in/é/ü.mov",
    "in/日本.mov", "in/😀.mov", "in//first.mov",
]  # fmt: skip


def test_every_name_that_s3_allows_is_listed_as_it_is(s3: "S3Client", bucket: str) -> None:
    """Whatever people and programs have called their files."""
    put(s3, bucket, *ODD)
    assert listed(bucket) == sorted(ODD)
    assert listed(bucket, "in/é") == ["in/é/ü.mov"]
    assert listed(bucket, "in//") == ["in//first.mov"]


def items_of_many_processes(source: BucketSource, page_size: int) -> list[Item]:
    found: list[Item] = []
    cursor, page = None, next(read_pages(source, page_size=page_size), None)
    while page is not None and page.cursor != cursor:
        found += page.items
        cursor = page.cursor
        page = next(read_pages(source, cursor=cursor, page_size=page_size), None)
    return found


def read_by_many_processes(source: BucketSource, page_size: int) -> list[str]:
    return [item.key for item in items_of_many_processes(source, page_size)]


@pytest.mark.parametrize("page_size", [3, 7])
def test_a_stop_after_any_page_loses_and_repeats_nothing(
    s3: "S3Client", bucket: str, page_size: int
) -> None:
    """Each page is read by a process that knows the last cursor and nothing else."""
    put(s3, bucket, *ODD, "a.mov", "z.mov", "in/a-1.mov", "in/a.mov")
    put(s3, bucket, "in/a/", "in/e/", body=b"")
    source = BucketSource(uri=f"s3://{bucket}/")
    found = read_by_many_processes(source, page_size)
    assert sorted(found) == sorted([*ODD, "a.mov", "z.mov", "in/a-1.mov", "in/a.mov"])
    assert found == keys_of(list(read_pages(source, page_size=page_size)))


def test_a_long_listing_is_read_page_by_page(s3: "S3Client", bucket: str) -> None:
    """More than one answer of S3, odd names among them."""
    keys = [f"in/{n:04}.mov" for n in range(1100)] + ["in/0500//x.mov"]
    del s3
    store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for key in keys:
        store.put_object(bucket, key, b"media")
    source = BucketSource(uri=f"s3://{bucket}/", parallel=1)
    pages = list(read_pages(source, page_size=300))
    assert keys_of(pages) == sorted(keys)
    assert all(len(page.items) <= 300 for page in pages)
    cursor = pages[1].cursor
    rest = list(read_pages(source, cursor=cursor, page_size=300))
    assert keys_of(pages[:2]) + keys_of(rest) == sorted(keys)


def test_a_name_with_a_control_character_is_a_reject(s3: "S3Client", bucket: str) -> None:
    """It stops nothing, and can be read in the report."""
    put(s3, bucket, "a.mov", "b\x01.mov", "c.mov")
    (page,) = read_pages(BucketSource(uri=f"s3://{bucket}/"))
    assert keys_of([page]) == ["a.mov", "c.mov"]
    (reject,) = page.rejects
    assert (reject.line, reject.field, reject.row_excerpt) == (None, "key", r"b\x01.mov")
    assert reject.reason.startswith(rf"s3://{bucket}/b\x01.mov has a name")


def test_a_failed_listing_never_looks_like_an_empty_one(s3: "S3Client") -> None:
    """It names the bucket, what failed, and the remedy."""
    del s3
    with pytest.raises(
        SourceError, match=r"s3://no-such-bucket/in/ cannot be listed: NoSuchBucket"
    ) as caught:
        list(read_pages(BucketSource(uri="s3://no-such-bucket/in/")))
    assert "AWS_ENDPOINT_URL" in str(caught.value)


def test_an_unreachable_store_is_an_error(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an empty bucket."""
    del s3
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SourceError, match=r"s3://media/ cannot be listed: Could not connect"):
        list(read_pages(BucketSource(uri="s3://media/")))


def test_an_endpoint_in_the_clear_must_be_this_machine(
    s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed requests do not hide what they ask for."""
    del s3
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:9000")
    with pytest.raises(SourceError, match=r"http://192.0.2.1:9000 is not HTTPS"):
        list(read_pages(BucketSource(uri="s3://media/")))


def test_a_public_bucket_needs_no_credentials(
    s3: "S3Client", bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests go unsigned where there is nothing to sign with."""
    put(s3, bucket, "a.mov")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert listed(bucket) == ["a.mov"]


@pytest.mark.parametrize(
    "cursor", ["", "{}", "nonsense", '{"version":1,"type":"bucket","uri":"s3://other/","place":{}}']
)
def test_a_cursor_of_something_else_is_refused(s3: "S3Client", bucket: str, cursor: str) -> None:
    """It would skip what was never read."""
    del s3
    with pytest.raises(SourceError, match="cannot be resumed"):
        list(read_pages(BucketSource(uri=f"s3://{bucket}/"), cursor=cursor))


@pytest.mark.parametrize(
    "fields",
    [
        {"uri": "./media/in"},
        {"uri": "https://media/in"},
        {"uri": "s3://"},
        {"uri": "s3://me dia/"},
        {"uri": "s3://../in/"},
        {"uri": "s3://media/", "suffixes": [""]},
        {"uri": "s3://media/", "suffixes": [".mov,"]},
        {"uri": "s3://media/", "suffixes": ["clip*.mov"]},
        {"uri": "s3://media/", "glob": ""},
        {"uri": "s3://media/", "include": ["everything"]},
        {"uri": "s3://media--use1-az4--x-s3/"},
        {"uri": "s3://media/a\x00b/"},
        {"uri": "s3://media/", "min_size": 2, "max_size": 1},
        {"uri": "s3://media/", "modified_since": "2024-01-01T00:00:00"},
        {"uri": "s3://media/", "sufixes": [".mov"]},
        {
            "uri": "s3://media/",
            "modified_since": "2024-01-02T00:00:00Z",
            "modified_before": "2024-01-01T00:00:00Z",
        },
    ],
)
def test_an_impossible_bucket_source_is_refused(fields: dict[str, Any]) -> None:
    """In the form, before anything runs."""
    with pytest.raises(ValidationError):
        BucketSource.model_validate(fields)


@pytest.mark.parametrize("page_size", [0, -1, 5001])
def test_a_page_has_a_sensible_size(page_size: int) -> None:
    """Pages are held in memory."""
    with pytest.raises(ValueError, match="from 1 to 5000"):
        read_pages(BucketSource(uri="s3://media/"), page_size=page_size)


def test_items_of_a_listing_have_parts(s3: "S3Client", bucket: str) -> None:
    """Names with question marks and hashes are names, not queries."""
    put(s3, bucket, "in/what?#1.final.MOV")
    (page,) = read_pages(BucketSource(uri=f"s3://{bucket}"))
    item = page.items[0]
    assert (item.bucket, item.key) == (bucket, "in/what?#1.final.MOV")
    assert item.suffix == ".mov"


def test_several_folders_are_one_source(s3: "S3Client", bucket: str) -> None:
    """What is inside another is listed once; other buckets may be among them."""
    other = f"{bucket}-b"
    s3.create_bucket(Bucket=other)
    put(s3, bucket, "in/a.mov", "in/b/c.mov", "out/d.mov", "not/e.mov")
    put(s3, other, "f.mov")
    more = [f"s3://{bucket}/out", f"s3://{bucket}/in/b/", f"s3://{other}/", f"s3://{bucket}/in/"]
    source = BucketSource.model_validate({"uri": f"s3://{bucket}/in/", "more_uris": more})
    assert source.uris == (f"s3://{bucket}/in/", f"s3://{bucket}/out/", f"s3://{other}/")
    found = read_by_many_processes(source, 1000)
    assert sorted(found) == ["f.mov", "in/a.mov", "in/b/c.mov", "out/d.mov"]


@pytest.fixture
def library(bucket: str) -> list[str]:
    """Forty-odd folders of ten objects each, and some objects beside them."""
    keys = [f"in/{folder:02}/{n}.mov" for folder in range(40) for n in range(10)]
    keys += [f"in/{n}.mov" for n in ("000", "20", "2", "zz")] + ["in/20-a/x.mov", "in/20/"]
    store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for key in keys:
        store.put_object(bucket, key, b"media")
    # Not a folder's marker alone: it has content, and is no media all the same.
    keys.remove("in/20/")
    return keys


@pytest.mark.parametrize("parallel", [1, 3, 8])
def test_folders_that_are_listed_at_once_give_every_object_once(
    s3: "S3Client", bucket: str, library: list[str], parallel: int
) -> None:
    """In an order that is the same each time."""
    del s3
    source = BucketSource(uri=f"s3://{bucket}/in/", parallel=parallel)
    found = keys_of(list(read_pages(source, page_size=50)))
    assert sorted(found) == sorted(library)
    assert found == keys_of(list(read_pages(source, page_size=50)))
    if parallel == 1:
        assert found == sorted(library)


def test_a_killed_listing_goes_on_with_at_most_a_page_of_each_stretch_again(
    s3: "S3Client", bucket: str, library: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had been asked for beforehand."""
    del s3
    asked: list[tuple[str, str | None]] = []
    answer = Listing.answer

    def counted(self: Listing, prefix: str, after: str | None, limit: int) -> Answer:
        asked.append((prefix, after))
        return answer(self, prefix, after, limit)

    monkeypatch.setattr(Listing, "answer", counted)
    source = BucketSource(uri=f"s3://{bucket}/in/", parallel=4)
    whole = list(read_pages(source, page_size=20))
    requests = len(asked)
    asked.clear()
    pages = read_pages(source, page_size=20)
    first = [next(pages) for _ in range(len(whole) // 2)]
    pages.close()  # type: ignore[attr-defined]
    rest = list(read_pages(source, cursor=first[-1].cursor, page_size=20))
    assert keys_of([*first, *rest]) == keys_of(whole)
    assert sorted(keys_of(whole)) == sorted(library)
    assert len(asked) <= requests + 4


def test_the_version_is_the_identity_where_that_is_asked_for(s3: "S3Client", bucket: str) -> None:
    """The newest one, of objects that are still there."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    newest = {}
    for _ in range(3):
        for key in ("a.mov", "b.mov", "c.mov"):
            newest[key] = s3.put_object(Bucket=bucket, Key=key, Body=b"same")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="b.mov")
    source = BucketSource(uri=f"s3://{bucket}/", versioned=True)
    found = {item.key: item.fingerprint for page in read_pages(source) for item in page.items}
    del newest["b.mov"]
    assert found == newest


@pytest.mark.parametrize("page_size", [2, 5])
def test_a_versioned_listing_goes_on_after_any_page(
    s3: "S3Client", bucket: str, page_size: int
) -> None:
    """Also where a page ends among the many versions of one object, or deleted ones follow."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    newest = {}
    for number in range(9):
        key = f"in/{number}.mov"
        for body in range(1 + number * 2 % 7):
            put_in = s3.put_object(Bucket=bucket, Key=key, Body=b"%d" % body)
            newest[key] = put_in["VersionId"]
        if number % 3 == 2:
            s3.delete_object(Bucket=bucket, Key=key)
            del newest[key]
    source = BucketSource(uri=f"s3://{bucket}/in/", versioned=True)
    found = {item.key: item.fingerprint for item in items_of_many_processes(source, page_size)}
    assert found == newest
    assert read_by_many_processes(source, page_size) == sorted(newest)


def test_an_object_of_an_unversioned_bucket_has_its_etag(s3: "S3Client", bucket: str) -> None:
    """Its version would be the same for every content."""
    put(s3, bucket, "a.mov")
    marks = []
    for versioned in (False, True):
        (page,) = read_pages(BucketSource(uri=f"s3://{bucket}/", versioned=versioned))
        marks.append(page.items[0].fingerprint)
    assert marks[0] == marks[1]


def test_an_age_is_counted_back_from_now(s3: "S3Client", bucket: str) -> None:
    """Where nothing says when the batch began."""
    put(s3, bucket, "a.mov")
    assert listed(bucket, modified_since="1h") == ["a.mov"]
    assert left_out(bucket, modified_before="1h") == {"modified_before": 1}
