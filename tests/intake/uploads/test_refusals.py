"""What is refused about an upload: the field, the remedy, and what is left in the bucket."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ittybatch.intake import upload_parts
from ittybatch.intake.declared import UploadsDeclared
from ittybatch.sources import BucketSource, read_pages
from tests.intake.uploads.serving import MIB, TOKEN, Api, put, send_all, serving

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LARGE = 16 * MIB + 1


@pytest.fixture(autouse=True)
def _multipart_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_parts, "MULTIPART_ABOVE", 16 * MIB)


def refusal(answer: httpx.Response, status: int, field: str | None) -> str:
    """What an answer says, which has to have a remedy."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told.get("field") == field, told
    assert told["remedy"]
    assert "X-Amz" not in answer.text
    return str(told["error"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"filename": None}, "filename"),
        ({"filename": ""}, "filename"),
        ({"filename": "x" * 1001}, "filename"),
        ({"filename": 7}, "filename"),
        ({"size": None}, "size"),
        ({"size": 0}, "size"),
        ({"size": -1}, "size"),
        ({"size": "5"}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": True}, "size"),
        ({"size": 10 * 1000**3 + 1}, "size"),
        ({"size": 10**18}, "size"),
        ({"content_type": "text/html"}, "content_type"),
        ({"content_type": "video"}, "content_type"),
        ({"content_type": "video/*"}, "content_type"),
        ({"content_type": "image/svg+xml"}, "content_type"),
        ({"content_type": "video/mp4\r\nx-amz-acl: public-read"}, "content_type"),
        ({"content_type": "v" * 300}, "content_type"),
        ({"content_type": "", "filename": "clip"}, "content_type"),
        ({"content_type": "", "filename": "page.html"}, "content_type"),
        ({"profile": "missing"}, "profile"),
        ({"profile": "../web"}, "profile"),
        ({"profile": "web", "kind": "video"}, "profile"),
        ({"kind": "movie"}, "kind"),
        ({"kind": "video", "options": {"width": -1}}, "options.width"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [{"kind": "video"}, {"kind": "image", "options": {"fps": 1}}]}, None),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"profile": "podcast", "filename": "photo.png", "content_type": "image/png"}, "profile"),
        ({"key": "uploads/of/my/choice.mov"}, "key"),
        ({"bucket": "another"}, "bucket"),
    ],
)
def test_an_announcement_is_checked_before_anything_is_sent(
    api: Api, s3: "S3Client", bucket: str, changes: dict[str, Any], field: str | None
) -> None:
    """A file of gigabytes must not be sent only to be refused then."""
    answer = api.begin(**changes)
    told = refusal(answer, 422, field or answer.json()["field"])
    assert told
    if field is None:
        assert answer.json()["field"].startswith("tasks[1].")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("token", [None, "wrong", TOKEN.upper()])
def test_beginning_needs_the_token(api: Api, token: str | None) -> None:
    """An open route would be everybody's storage."""
    body = {"filename": "clip.mov", "size": 5}
    answer = api.call("POST", f"{api.url}/uploads", body, token=token)
    assert answer.status_code == 401
    assert "id" not in answer.json()


@pytest.mark.parametrize("tampered", ["", "x", "gAAAAA", "..%2f..%2fjobs"])
@pytest.mark.parametrize(
    ("method", "suffix"), [("POST", "/complete"), ("GET", "/parts"), ("DELETE", "")]
)
def test_an_id_that_was_not_issued_is_refused(
    api: Api, tampered: str, method: str, suffix: str
) -> None:
    """Also with the API's token: that begins uploads, and finishes none."""
    begun = api.begun()
    for given in (tampered, begun["id"][:-2] + tampered, begun["id"].swapcase()):
        answer = api.call(method, f"{api.url}/uploads/{given}{suffix}", token=TOKEN)
        assert answer.status_code in {404, 405}, answer.text
    assert api.intake.taken == []


def test_an_id_does_not_outlive_its_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says to begin again."""
    begun = api.begun()
    ends = datetime.fromisoformat(begun["expires_at"])
    monkeypatch.setattr("ittybatch.intake.upload_ids._now", lambda: ends)
    for method, url in (
        ("POST", begun["complete_url"]),
        ("GET", f"{begun['abort_url']}/parts"),
        ("DELETE", begun["abort_url"]),
    ):
        assert "expired" in refusal(api.call(method, url), 410, "id")


def test_a_file_that_has_not_arrived_is_not_processed(api: Api) -> None:
    """The upload can still be finished."""
    begun = api.begun()
    refusal(api.call("POST", begun["complete_url"]), 409, "id")
    send_all(api, begun, b"12345")
    assert api.call("POST", begun["complete_url"]).status_code == 202


def test_a_missing_part_is_named(api: Api) -> None:
    """S3 itself would make a shorter file of the others."""
    begun = api.begun(size=3 * LARGE)
    parts = send_all(api, begun, b"x" * 3 * LARGE)
    for given in ({"parts": parts[:1] + parts[2:]}, {"parts": parts[:3]}):
        told = refusal(api.call("POST", begun["complete_url"], given), 422, "parts")
        assert "2" in told or "4" in told
    assert api.call("POST", begun["complete_url"], {"parts": parts}).status_code == 202


def test_a_part_that_did_not_arrive_is_named(api: Api) -> None:
    """Where the bucket is asked."""
    begun = api.begun(size=3 * LARGE)
    put(begun["parts"][1]["url"], b"x" * begun["parts"][1]["size"])
    told = refusal(api.call("POST", begun["complete_url"]), 422, "parts")
    assert told.endswith("not named: 1, 3, 4.")


@pytest.mark.parametrize(
    "parts",
    [
        [{"number": 1, "etag": '"00000000000000000000000000000000"'}, {"number": 2}],
        [{"number": 1}, {"number": 2}, {"number": 3, "etag": "x"}],
        [{"number": 0, "etag": "x"}],
        [{"number": 10_001, "etag": "x"}],
        [{"number": "1", "etag": "x"}],
        [{"number": 1, "etag": "x" * 201}],
        [{"number": 1, "etag": "x", "size": 1}],
        ["1"],
        "1",
    ],
)
def test_parts_that_the_bucket_does_not_have_are_refused(api: Api, parts: object) -> None:
    """And the upload can still be completed."""
    begun = api.begun(size=LARGE)
    send_all(api, begun, b"x" * LARGE)
    answer = api.call("POST", begun["complete_url"], {"parts": parts})
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"].startswith("parts")
    assert api.call("POST", begun["complete_url"]).status_code == 202


@pytest.mark.parametrize(
    ("content", "content_type", "field"),
    [
        (b"123456", "video/quicktime", "size"),
        (b"1234", "video/quicktime", "size"),
        (b"12345", "text/html", "content_type"),
    ],
)
def test_a_file_that_was_not_announced_is_deleted(
    api: Api, bucket: str, content: bytes, content_type: str, field: str
) -> None:
    """This store does not enforce signed headers; then completing does."""
    begun = api.begun()
    put(begun["parts"][0]["url"], content, {"Content-Type": content_type})
    told = refusal(api.call("POST", begun["complete_url"]), 422, field)
    assert "deleted" in told
    assert list(read_pages(BucketSource(uri=f"s3://{bucket}/"))) == []
    assert api.intake.taken == []


def test_parts_that_are_too_large_are_deleted(api: Api, s3: "S3Client", bucket: str) -> None:
    """Together they are a larger file than was announced."""
    begun = api.begun(size=LARGE)
    for part in begun["parts"]:
        put(part["url"], b"x" * (part["size"] + 1))
    refusal(api.call("POST", begun["complete_url"]), 422, "size")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("after", ["-1", "3", "10001", "x"])
def test_parts_that_do_not_exist_get_no_url(api: Api, after: str) -> None:
    """Only those of the file."""
    begun = api.begun(size=LARGE)
    answer = api.call("GET", f"{api.url}/uploads/{begun['id']}/parts?after={after}")
    refusal(answer, 422, "after")


def test_a_body_is_limited(api: Api) -> None:
    """In both routes that read one."""
    begun = api.begun()
    for url in (f"{api.url}/uploads", begun["complete_url"]):
        answer = httpx.post(
            url, content=b"x" * (MIB + 1), headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert answer.status_code == 413


def test_without_a_declaration_uploads_are_off() -> None:
    """And the answer says what to declare."""
    with serving(None) as api:
        assert "not declared" in refusal(api.begin(), 404, "uploads")
        answer = api.call("POST", f"{api.url}/uploads/x/complete")
        assert "not declared" in refusal(answer, 404, "uploads")


def test_a_bucket_that_does_not_exist_is_a_trouble_of_ours(s3: "S3Client") -> None:
    """Not of the caller, who may try again; the log says what is wrong."""
    del s3
    with serving(UploadsDeclared(bucket="no-such-bucket", profile="web")) as api:
        answer = api.begin(size=LARGE)
        assert "cannot be used now" in refusal(answer, 503, None)
        assert answer.headers["Retry-After"]


def test_an_upload_for_another_bucket_than_the_declared_one_begins_again(
    api: Api, bucket: str, s3: "S3Client"
) -> None:
    """The declaration was changed meanwhile."""
    begun = api.begun()
    s3.create_bucket(Bucket=f"{bucket}-2")
    with serving(UploadsDeclared(bucket=f"{bucket}-2", profile="web")) as later:
        url = begun["complete_url"].replace(api.url, later.url)
        assert "another bucket" in refusal(later.call("POST", url), 410, "id")
