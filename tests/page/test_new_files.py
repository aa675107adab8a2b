"""Files go straight to the bucket: shown with their price first, in parts, or by a plain form."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import select

from ittybatch.intake.upload_store import UploadStore
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.models import Item
from ittybatch.page import new
from tests.intake.harness import jobs
from tests.page.new_jobs import PROFILE, Viewer, sealed, serving, text
from tests.receiver.harness import SECRET, wait_until
from tests.sandbox import harness as sandboxes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MB = 1000**2
FILM = b"not really a film"


@pytest.fixture
def viewer(sqlite_url: str, tmp_path: Path, bucket: str) -> Iterator[Viewer]:
    """Somebody at a page whose intake.yaml declares the bucket."""
    declared = tmp_path / "intake.yaml"
    declared.write_text(
        f"uploads:\n  bucket: {bucket}\n  profile: web\n  max_bytes: 1GB\n"
        "  content_types: [video/*, audio/*, image/png, image/gif]\n"
    )
    with (
        sandboxes.running(instant=True, webhook_secret=SECRET) as sandbox,
        serving(
            sqlite_url, tmp_path, sandbox, intake_file=declared, kind_costs={"video": 0.5}
        ) as up,
    ):
        yield Viewer(up)


@pytest.fixture
def ledger_of(sqlite_url: str) -> Iterator[Ledger]:
    """The ledger that the receiver works with."""
    opened = Ledger(create_ledger_engine(sqlite_url))
    yield opened
    opened.close()


def _chosen(*files: tuple[str, str, int]) -> dict[str, Any]:
    names, types, sizes = zip(*files, strict=True)
    return {"make": "profile:web", "name": names, "type": types, "size": [str(n) for n in sizes]}


def test_files_are_shown_with_their_price_and_made_once(
    viewer: Viewer,
    ledger_of: Ledger,
    s3: "S3Client",
    bucket: str,
) -> None:
    film = ("<b>film</b>.mov", "video/quicktime", len(FILM))
    answer = viewer.post(
        "/page/new/files",
        _chosen(film, ("notes.txt", "text/plain", 9), ("song.mp3", "", 5 * MB)),
    )
    said = text(answer)
    assert "3 files, profile web" in said
    assert "notes.txt 9 Bytes refused Files of type 'text/plain' are not accepted" in said
    assert "unknown no price is set for audio" in said
    assert "Send 2 files, make 4 jobs" in said
    assert "<b>film" not in answer.text
    fields = {"sealed": sealed(answer), "number": "0"}
    keys = set()
    for _ in range(2):  # as after a double click
        begun = viewer.post("/page/new/uploads/begin", fields).json()
        keys.add(begun["uri"])
        [part] = begun["parts"]
        put = httpx.put(part["url"], content=FILM, headers=begun["headers"], trust_env=False)
        assert put.status_code == 200
        made = viewer.post("/page/new/uploads/complete", {"id": begun["id"], **fields})
        assert made.status_code == 202, made.text
    assert len(keys) == 1
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 1
    assert [str(job.id) for job in jobs(ledger_of)] == [str(n) for n in made.json()["jobs"]]
    assert len(jobs(ledger_of)) == 3
    [recorded] = ledger_of.read(recent_actions)
    assert recorded.outcome == "3 jobs were asked for."
    for wrong in ({**fields, "number": "2"}, {**fields, "number": "x"}, {"number": "0"}):
        assert viewer.post("/page/new/uploads/begin", wrong).status_code in {404, 410}


def test_a_large_file_goes_in_parts_and_can_be_given_up(
    viewer: Viewer,
    s3: "S3Client",
    bucket: str,
) -> None:
    answer = viewer.post("/page/new/files", _chosen(("long.mov", "video/quicktime", 200 * MB)))
    begun = viewer.post("/page/new/uploads/begin", {"sealed": sealed(answer), "number": "0"}).json()
    assert begun["part_count"] == 12
    renewed = viewer.post("/page/new/uploads/more", {"id": begun["id"], "after": "3"}).json()
    assert renewed["parts"][0]["number"] == 4
    confirmed = {"id": begun["id"], "sealed": sealed(answer), "number": "0"}
    early = viewer.post("/page/new/uploads/complete", confirmed)
    assert early.status_code == 422
    assert "have not arrived" in early.json()["error"]
    assert early.json()["remedy"] == "Try again: the file is sent from its beginning."
    assert viewer.post("/page/new/uploads/abort", {"id": begun["id"]}).status_code == 204
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    # The API is off, and what the page began would be none of its uploads.
    assert viewer.get(f"/uploads/{begun['id']}/parts").status_code == 404


def test_a_file_does_not_become_what_nobody_has_seen(
    viewer: Viewer, ledger_of: Ledger, s3: "S3Client", bucket: str, tmp_path: Path
) -> None:
    """The profile changed while the file was sent. It waits in the bucket for another look."""
    chosen = _chosen(("a.mov", "video/quicktime", len(FILM)))
    fields = {"sealed": sealed(viewer.post("/page/new/files", chosen)), "number": "0"}
    begun = viewer.post("/page/new/uploads/begin", fields).json()
    [part] = begun["parts"]
    httpx.put(part["url"], content=FILM, headers=begun["headers"], trust_env=False)
    profile = tmp_path / "profiles" / "web.yaml"
    profile.write_text(PROFILE.replace("name: hd", "name: uhd"))
    wait_until(lambda: "uhd" in text(viewer.post("/page/new/files", chosen)))
    refused = viewer.post("/page/new/uploads/complete", {"id": begun["id"], **fields})
    assert refused.status_code == 409
    assert refused.json() == {
        "error": "What it becomes has changed since you looked. The file is in the bucket, and "
        "nothing more was made.",
        "remedy": f"Open New, give the address {begun['uri']}, and look again.",
    }
    assert s3.head_object(Bucket=bucket, Key=begun["uri"].removeprefix(f"s3://{bucket}/"))
    assert jobs(ledger_of) == []
    profile.write_text(PROFILE.partition("  - {name: small")[0])  # one job fewer
    wait_until(
        lambda: (
            viewer.post("/page/new/uploads/complete", {"id": begun["id"], **fields}).status_code
            == 202
        )
    )
    assert len(jobs(ledger_of)) == 2


def test_a_bucket_that_does_not_answer_holds_up_no_form(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address needs it no more than a library does. It is asked once for all viewers."""
    answers = threading.Event()
    asked = []

    def origin(_: UploadStore) -> str:
        asked.append(1)
        assert answers.wait(20)
        return "https://bucket.test"

    monkeypatch.setattr(UploadStore, "origin", origin)
    monkeypatch.setattr(new, "_ORIGIN_WITHIN_S", 0.2)
    try:
        for _ in range(2):
            page = viewer.get("/page/new")
            assert page.status_code == 200
            assert "has not answered, so no files can be sent now" in text(page)
            assert "Address of a file" in text(page)
    finally:
        answers.set()
    assert len(asked) == 1
    wait_until(
        lambda: "https://bucket.test" in viewer.get("/page/new").headers["content-security-policy"]
    )


def test_too_many_files_or_none_are_refused_at_once(viewer: Viewer) -> None:
    for count in (0, 201):
        given = {"make": "profile:web", "name": ["a.mov"] * count, "type": [""] * count}
        answer = viewer.post("/page/new/files", {**given, "size": ["1"] * count})
        assert answer.status_code == 422
        assert f"{count} files were chosen" in text(answer)


def test_without_script_one_file_goes_by_a_form_and_is_made_after_a_look(
    viewer: Viewer, ledger_of: Ledger
) -> None:
    """The bucket takes the form, and leads back to what the file would make."""
    offered = viewer.get("/page/new")
    types = re.findall(r"<option>([^<]+)</option>", offered.text)
    assert {"video/mp4", "audio/mpeg", "image/png", "image/gif"} <= set(types)
    chosen = re.findall(r'<option value="([^"]+)" selected', offered.text)
    assert chosen[:3] == ["profile:web"] * 3, "a video does not become audio by default"
    assert "image/jpeg" not in types, "this bucket does not accept it"
    assert "one file of at most 1.0 GB goes at a time" in text(offered)
    page = viewer.post(
        "/page/new/file",
        {"make": "profile:web", "content_type": "video/quicktime", "name": "Our film"},
    )
    form = re.search(r'<form class="fields" method="post" action="([^"]+)"', page.text)
    assert form
    assert "up to 1.0 GB" in text(page)
    policy = page.headers["content-security-policy"]
    assert f"form-action 'self' {form[1].rsplit('/', 1)[0]}" in policy or form[1].rstrip(
        "/"
    ).startswith(policy.partition("form-action 'self' ")[2].partition(";")[0])
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    sent = httpx.post(
        form[1],
        data=fields,
        files={"file": ("x.mov", FILM, "video/quicktime")},
        trust_env=False,
    )
    assert sent.status_code == 303
    back = sent.headers["location"]
    assert back.startswith(f"{viewer.up.url}/page/new/arrived/")
    arrived = viewer.get(back)
    assert "Our-film.mov" in text(arrived)
    assert "17 Bytes" in text(arrived)
    assert jobs(ledger_of) == []
    for _ in range(2):
        taken = viewer.post("/page/new/take", {"sealed": sealed(arrived)})
        assert taken.status_code == 303
    assert len(jobs(ledger_of)) == 3

    named = viewer.post(
        "/page/new/file",
        {"make": "profile:web", "content_type": "audio/mpeg", "name": "My interview.mp3"},
    )
    assert re.search(r'name="key" value="uploads/[0-9a-f]{32}-My-interview\.mp3"', named.text)
    early = viewer.post("/page/new/file", {"make": "profile:web", "content_type": "video/mp4"})
    there = re.search(r'name="success_action_redirect" value="([^"]+)"', early.text)
    assert there
    missing = viewer.get(there[1])
    assert missing.status_code == 404
    assert "The file has not arrived in the bucket" in text(missing)
    secure = viewer.up.url.replace("http:", "https:")
    behind_tls = viewer.post(
        "/page/new/file", {"make": "profile:web", "content_type": "video/mp4"}, Origin=secure
    )
    assert f'name="success_action_redirect" value="{secure}/page/new/arrived/' in behind_tls.text
    wrong = viewer.post("/page/new/file", {"make": "profile:web", "content_type": "text/html"})
    assert "'text/html' are not accepted" in text(wrong)


def test_another_file_under_the_same_key_is_not_bought_as_the_one_that_was_shown(
    viewer: Viewer, ledger_of: Ledger, s3: "S3Client", bucket: str
) -> None:
    """Somebody went back, and sent another file by the same form."""
    page = viewer.post("/page/new/file", {"make": "profile:web", "content_type": "video/mp4"})
    [key] = re.findall(r'name="key" value="([^"]+)"', page.text)
    [arrived] = re.findall(r'name="success_action_redirect" value="([^"]+)"', page.text)
    quotes = []
    for content in (b"A", b"B"):
        s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="video/mp4")
        quotes.append(sealed(viewer.get(arrived)))
    etag = s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')

    changed = viewer.post("/page/new/take", {"sealed": quotes[0]})
    assert changed.status_code == 409
    assert "has changed since you looked" in text(changed)
    assert jobs(ledger_of) == []
    for confirmed in (quotes[1], quotes[1], sealed(changed)):
        assert viewer.post("/page/new/take", {"sealed": confirmed}).status_code == 303
    query = select(Item.uri, Item.fingerprint)
    assert {tuple(row) for row in ledger_of.read(lambda tx: tx.rows(query))} == {
        (f"s3://{bucket}/{key}", etag)
    }
    assert len(jobs(ledger_of)) == 3

    # The same quote, the file of which was replaced after it was taken: its jobs are shown.
    s3.put_object(Bucket=bucket, Key=key, Body=b"C", ContentType="video/mp4")
    assert viewer.post("/page/new/take", {"sealed": quotes[1]}).status_code == 303
    assert len(jobs(ledger_of)) == 3
    another = viewer.post("/page/new/take", {"sealed": sealed(viewer.get(arrived))})
    assert another.status_code == 303
    assert len(jobs(ledger_of)) == 6
