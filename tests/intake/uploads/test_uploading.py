"""A file goes from the browser into the bucket, and is processed once."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from ittybatch.intake import upload_parts
from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.wanted import TaskSpec
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.sources import BucketSource, read_pages
from tests.intake.uploads.serving import MB, MIB, TOKEN, Api, put, send_all, serving

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# One more than is sent at once in these tests: a part and a byte.
LARGE = 16 * MIB + 1


@pytest.fixture(autouse=True)
def _multipart_early(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Send files in parts from 16 MiB on, to send less in most tests."""
    if "as_shipped" not in request.fixturenames:
        monkeypatch.setattr(upload_parts, "MULTIPART_ABOVE", 16 * MIB)


@pytest.fixture
def as_shipped() -> None:
    """Send files in parts beyond 100 MB, as users do."""


def signed_headers(url: str) -> set[str]:
    """The headers that a presigned URL is valid with."""
    return set(parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"][0].split(";"))


def incomplete(s3: "S3Client", bucket: str) -> int:
    """How many multipart uploads are begun and not completed."""
    return len(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def test_a_small_file_is_one_put(api: Api, s3: "S3Client", bucket: str) -> None:
    """Its type and size are signed, so S3 accepts no other."""
    begun = api.begun()
    assert begun["multipart"] is False
    assert begun["more_url"] is None
    assert begun["headers"] == {"Content-Type": "video/quicktime"}
    [part] = begun["parts"]
    assert (part["number"], part["offset"], part["size"]) == (1, 0, 5)
    assert signed_headers(part["url"]) == {"content-length", "content-type", "host"}
    put(part["url"], b"12345", begun["headers"])

    done = api.call("POST", begun["complete_url"], {})
    assert done.status_code == 202, done.text
    assert done.json()["task_id"] == "task_1"
    assert done.json()["status"] == "processing"
    [found] = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert begun["uri"] == f"s3://{bucket}/{found['Key']}"


@pytest.mark.usefixtures("as_shipped")
def test_a_large_file_is_sent_in_parts(api: Api, s3: "S3Client", bucket: str) -> None:
    """And is byte for byte what was sent."""
    content = b"0123456789abcdef" * (101 * MB // 16)
    begun = api.begun(size=len(content))
    assert begun["multipart"] is True
    assert begun["part_count"] == len(begun["parts"]) == 7
    assert {part["size"] for part in begun["parts"][:-1]} == {16 * MIB}
    assert signed_headers(begun["parts"][0]["url"]) == {"content-length", "host"}
    parts = send_all(api, begun, content)

    done = api.call("POST", begun["complete_url"], {"parts": parts})
    assert done.status_code == 202, done.text
    key = begun["uri"].removeprefix(f"s3://{bucket}/")
    stored = s3.get_object(Bucket=bucket, Key=key)
    assert stored["ContentType"] == "video/quicktime"
    assert stored["Body"].read() == content
    assert incomplete(s3, bucket) == 0


def test_the_file_has_the_identity_that_a_scan_gives_it(api: Api, bucket: str) -> None:
    """So the nightly batch over the same bucket makes nothing of it again."""
    for size in (5, LARGE):
        begun = api.begun(size=size)
        send_all(api, begun, b"x" * size)
        assert api.call("POST", begun["complete_url"]).status_code == 202
    [page] = read_pages(BucketSource(uri=f"s3://{bucket}/"))
    scanned = {item.uri: (item.fingerprint, item.size_bytes) for item in page.items}
    taken = {
        wanted.item.uri: (wanted.item.fingerprint, wanted.item.size_bytes)
        for wanted in api.intake.taken
    }
    assert taken == scanned
    assert all(fingerprint for fingerprint, _ in taken.values())


def test_a_versioned_bucket_is_identified_by_version_if_a_scan_does(
    s3: "S3Client", bucket: str
) -> None:
    """One identity, whichever reader saw the object."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    with serving(UploadsDeclared(bucket=bucket, profile="web", versioned=True)) as api:
        begun = api.begun()
        send_all(api, begun, b"12345")
        assert api.call("POST", begun["complete_url"]).status_code == 202
    [page] = read_pages(BucketSource(uri=f"s3://{bucket}/", versioned=True))
    assert [item.fingerprint for item in page.items] == [api.intake.taken[0].item.fingerprint]


def test_what_to_make_is_said_at_the_beginning(api: Api) -> None:
    """By the caller with the token; the browser cannot change it."""
    tasks = [{"kind": "video", "options": {"width": 640}}, {"kind": "audio"}]
    for asked in (
        {},
        {"profile": "podcast", "metadata": {"media_id": 7, "tags": ["a"]}, "again": True},
        {"tasks": tasks},
        {"kind": "image", "options": {"start": 2}},
    ):
        begun = api.begun(**asked)
        send_all(api, begun, b"12345")
        assert api.call("POST", begun["complete_url"]).status_code == 202
    declared, named, several, one = api.intake.taken
    assert (declared.profile, declared.tasks) == ("web", [])
    assert (named.profile, named.again) == ("podcast", True)
    assert named.metadata == {"media_id": 7, "tags": ["a"]}
    assert (several.profile, several.tasks) == (
        None,
        [TaskSpec("video", {"width": 640}), TaskSpec("audio", {})],
    )
    assert one.tasks == [TaskSpec("image", {"start": 2})]


def test_completing_again_gives_the_same_answer(api: Api) -> None:
    """Also at the same time, and also without the parts."""
    begun = api.begun(size=LARGE)
    parts = send_all(api, begun, b"x" * LARGE)
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: api.call("POST", begun["complete_url"], {"parts": parts}), range(4))
        )
    answers.append(api.call("POST", begun["complete_url"]))
    assert {answer.status_code for answer in answers} == {202}, [a.text for a in answers]
    assert len({answer.text for answer in answers}) == 1
    assert len(api.intake.taken) == 1


def test_a_file_is_processed_by_the_next_call_if_the_ledger_was_down(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket has put the parts together already; likewise after a receiver was killed."""
    begun = api.begun(size=LARGE)
    parts = send_all(api, begun, b"x" * LARGE)
    with monkeypatch.context() as patch:
        patch.setattr(api.intake, "fails_with", LedgerUnavailable("no ledger"))
        refused = api.call("POST", begun["complete_url"], {"parts": parts})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert api.call("POST", begun["complete_url"], {"parts": parts}).status_code == 202
    assert len(api.intake.taken) == 1


@pytest.mark.parametrize("given", [None, {}, {"parts": None}, "without etags"])
def test_the_bucket_is_asked_for_etags_that_the_page_could_not_read(
    api: Api, given: object
) -> None:
    """CORS of the bucket may not expose them."""
    begun = api.begun(size=LARGE)
    parts = send_all(api, begun, b"x" * LARGE)
    if given == "without etags":
        given = {"parts": [{"number": part["number"], "etag": None} for part in parts]}
    assert api.call("POST", begun["complete_url"], given).status_code == 202


def test_urls_of_a_very_large_file_are_given_in_pages(bucket: str) -> None:
    """A thousand URLs at once would be half a megabyte."""
    declared = UploadsDeclared(bucket=bucket, profile="web", max_bytes=5 * 1024**4)
    with serving(declared) as api:
        begun = api.begun(size=250 * 16 * MIB)
        seen = [part["number"] for part in begun["parts"]]
        assert len(seen) == 100
        while begun["more_url"]:
            answer = api.call("GET", begun["more_url"])
            assert answer.status_code == 200, answer.text
            assert answer.headers["Cache-Control"] == "no-store"
            begun = answer.json()
            seen += [part["number"] for part in begun["parts"]]
        assert seen == list(range(1, 251))
        huge = api.begun(size=5 * 1024**4)
        assert huge["part_count"] <= 10_000
        assert len(huge["parts"]) == 100


def test_a_page_may_ask_again_for_urls(api: Api) -> None:
    """When those it has are no longer valid."""
    begun = api.begun()
    again = api.call("GET", f"{api.url}/uploads/{begun['id']}/parts").json()
    assert again["id"] == begun["id"]
    put(again["parts"][0]["url"], b"12345", again["headers"])
    assert api.call("POST", again["complete_url"]).status_code == 202


def test_an_abandoned_upload_was_never_taken(api: Api, s3: "S3Client", bucket: str) -> None:
    """Neither one that was only begun, nor one whose parts have arrived."""
    api.begun()
    begun = api.begun(size=LARGE)
    put(begun["parts"][0]["url"], b"x" * (16 * MIB))
    assert api.intake.taken == []
    assert incomplete(s3, bucket) == 1


def test_an_aborted_upload_leaves_nothing_in_the_bucket(
    api: Api, s3: "S3Client", bucket: str
) -> None:
    """And cannot be completed."""
    begun = api.begun(size=LARGE)
    put(begun["parts"][0]["url"], b"x" * (16 * MIB))
    assert api.call("DELETE", begun["abort_url"]).status_code == 204
    assert api.call("DELETE", begun["abort_url"]).status_code == 204
    assert incomplete(s3, bucket) == 0
    refused = api.call("POST", begun["complete_url"])
    assert refused.status_code == 410
    assert refused.json()["remedy"] == "Begin it with POST /uploads."


def test_an_upload_of_one_part_is_not_withdrawn(api: Api) -> None:
    """Its URL is the bucket's, and the receiver keeps no record: the docs say so."""
    begun = api.begun()
    assert api.call("DELETE", begun["abort_url"]).status_code == 204
    send_all(api, begun, b"12345")
    assert api.call("POST", begun["complete_url"]).status_code == 202


def test_a_file_that_is_in_use_is_not_aborted(api: Api, s3: "S3Client", bucket: str) -> None:
    """Ittybit may be about to read it."""
    begun = api.begun()
    send_all(api, begun, b"12345")
    assert api.call("POST", begun["complete_url"]).status_code == 202
    refused = api.call("DELETE", begun["abort_url"])
    assert refused.status_code == 409
    assert refused.json()["field"] == "id"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_urls_and_id_say_until_when(api: Api) -> None:
    """URLs an hour, as declared; the id a day, for slow lines."""
    begun = api.begun()
    left = datetime.fromisoformat(begun["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    query = parse_qs(urlsplit(begun["parts"][0]["url"]).query)
    assert query["X-Amz-Expires"] == ["3600"]


def test_no_signature_and_no_id_is_in_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the log must not be able to upload."""
    caplog.set_level(logging.INFO)
    begun = api.begun(size=LARGE)
    send_all(api, begun, b"x" * LARGE)
    api.call("POST", begun["complete_url"], {"parts": [{"number": 1, "etag": "wrong"}]})
    api.call("POST", begun["complete_url"])
    api.call("POST", f"{begun['complete_url']}x")
    ours = "\n".join(
        record.getMessage()
        for record in caplog.records
        # Clients and servers of the test log what they call; the receiver's process is another.
        if record.name.startswith("ittybatch")
    )
    assert "X-Amz-Signature" not in ours
    assert begun["id"] not in ours
    assert TOKEN not in ours
