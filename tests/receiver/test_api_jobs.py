"""Requests end to end: a client, the receiver, a ledger, a sandbox and its webhooks."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ittybatch_local.ports import choose_ports
from tests.receiver.api_client import TOKEN, URL, Api
from tests.receiver.harness import PATH, SECRET, running, wait_until
from tests.sandbox import harness as sandboxes

PROFILE = """
renditions:
  - {name: hd, kind: video, options: {width: 1280}}
  - {name: sound, kind: audio, options: {format: mp3}, when: {media: [video, audio]}}
  - {name: still, kind: image, options: {width: 640}, when: {suffix: [.png]}}
"""
VIDEO = {"url": URL, "kind": "video", "options": {"width": 1280, "format": "mp4"}}


@contextmanager
def connected(
    ledger_url: str,
    folder: Path,
    *,
    api_url: str,
    **changes: Any,  # noqa: ANN401
) -> Iterator[Api]:
    """A receiver whose API is on, and that Ittybit's webhooks reach."""
    profiles = folder / "profiles"
    profiles.mkdir(exist_ok=True)
    (profiles / "web.yaml").write_text(PROFILE)
    port = choose_ports(["receiver"], folder / "ports.json")["receiver"]
    given: dict[str, Any] = {
        "api_token": TOKEN,
        "api_key": sandboxes.KEY,
        "api_url": api_url,
        "webhook_url": f"http://127.0.0.1:{port}{PATH}",
        "profiles_dir": profiles,
        "home": folder / "home",
        **changes,
    }
    with running(ledger_url, port=port, **given) as up:
        yield Api(up)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[sandboxes.Running]:
    """A sandbox that ends each job at once."""
    with sandboxes.running(instant=True, webhook_secret=SECRET) as up:
        yield up


@pytest.fixture
def api(ledger_url: str, tmp_path: Path, sandbox: sandboxes.Running) -> Iterator[Api]:
    """The API, on each database in turn, in front of that sandbox."""
    with connected(ledger_url, tmp_path, api_url=sandbox.url) as client:
        yield client


@pytest.fixture
def sqlite_api(sqlite_url: str, tmp_path: Path, sandbox: sandboxes.Running) -> Iterator[Api]:
    """The same on SQLite alone, where the database does not matter."""
    with connected(sqlite_url, tmp_path, api_url=sandbox.url) as client:
        yield client


def unique(test: str) -> str:
    """An upload that no other test has."""
    return f"https://example.com/uploads/{test}-{time.monotonic_ns()}.mov"


def jobs_of(sandbox: sandboxes.Running, url: str) -> list[dict[str, Any]]:
    return [each for each in sandbox.all_jobs() if each["input"] == url]


def ended(api: Api, job: str) -> dict[str, Any]:
    """The row of a job once it has ended."""
    wait_until(lambda: api.get(f"/jobs/{job}").json()["status"] != "processing")
    row: dict[str, Any] = api.get(f"/jobs/{job}").json()
    return row


def test_a_request_becomes_a_job_and_its_webhook_a_result(
    api: Api, sandbox: sandboxes.Running
) -> None:
    """The guide's two questions, by Ittybit's id and by ours."""
    url = unique("one")
    answer = api.post({**VIDEO, "url": url, "metadata": {"media_id": 7}})
    assert answer.status_code == 202
    taken = answer.json()
    (made,) = jobs_of(sandbox, url)
    assert taken["task_id"] == made["id"]
    row = ended(api, taken["task_id"])
    assert row["status"] == "succeeded"
    assert row["input_url"] == url
    assert row["output_url"].startswith("http")
    assert row["metadata"] == {"media_id": 7}
    assert row["error"] is None
    assert row["created_at"] <= row["completed_at"]
    assert row["created_at"].endswith("Z")
    assert api.get(f"/jobs/{taken['job_id']}").json() == row
    assert set(row) == {
        "job_id", "task_id", "input_url", "kind", "rendition", "status", "output_url", "error",
        "metadata", "batch_id", "created_at", "completed_at",
    }  # fmt: skip


def test_several_tasks_of_one_upload_are_several_jobs(
    sqlite_api: Api, sandbox: sandboxes.Running
) -> None:
    """The guide's pipeline of three, in one request."""
    url = unique("several")
    tasks = [
        {"kind": "video", "options": {"width": 1920, "format": "mp4", "quality": "high"}},
        {"kind": "image", "options": {"width": 640, "format": "webp", "start": 2}},
        {"kind": "video", "options": {"width": 480, "format": "mp4", "quality": "low"}},
    ]
    taken = sqlite_api.post({"url": url, "tasks": tasks}).json()
    assert [each["kind"] for each in taken["jobs"]] == ["video", "image", "video"]
    assert {each["task_id"] for each in taken["jobs"]} == {
        each["id"] for each in jobs_of(sandbox, url)
    }
    for each in taken["jobs"]:
        assert ended(sqlite_api, each["job_id"])["status"] == "succeeded"


def test_a_profile_makes_its_renditions_and_keeps_its_conditions(
    sqlite_api: Api, sandbox: sandboxes.Running
) -> None:
    """The still of a picture is not made of a film."""
    url = unique("profile")
    taken = sqlite_api.post({"url": url, "profile": "web"}).json()
    assert [each["rendition"] for each in taken["jobs"]] == ["hd", "sound"]
    assert len(jobs_of(sandbox, url)) == 2


def test_the_same_key_gets_the_same_jobs(api: Api, sandbox: sandboxes.Running) -> None:
    """Also if both arrive at once; another body under it is refused."""
    url = unique("key")
    headers = {"Idempotency-Key": url[-30:]}
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: api.post({**VIDEO, "url": url}, headers=headers), range(8))
        )
    assert {each.status_code for each in answers} == {202}
    assert len({each.json()["job_id"] for each in answers}) == 1
    assert len(jobs_of(sandbox, url)) == 1
    other = api.post({**VIDEO, "url": unique("other")}, headers=headers)
    assert (other.status_code, other.json()["field"]) == (409, "Idempotency-Key")


def test_what_was_made_is_not_paid_for_again(api: Api, sandbox: sandboxes.Running) -> None:
    """Without a key, too: the answer has the output. Only `again` makes it again."""
    url = unique("again")
    first = api.post({**VIDEO, "url": url}).json()
    output = ended(api, first["job_id"])["output_url"]
    second = api.post({**VIDEO, "url": url}).json()
    assert (second["job_id"], second["status"]) == (first["job_id"], "succeeded")
    assert second["output_url"] == second["jobs"][0]["output_url"] == output
    assert len(jobs_of(sandbox, url)) == 1
    third = api.post({**VIDEO, "url": url, "again": True}).json()
    assert third["job_id"] != first["job_id"]
    assert len(jobs_of(sandbox, url)) == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"profile": "tv", "kind": None, "options": None}, "profile"),
        ({"kind": "movie", "options": {}}, "kind"),
        ({"options": {"width": "wide"}}, "options.width"),
        ({"options": {"witdh": 1280}}, "options.witdh"),
        ({"metadata": {"a b": 1}}, "metadata"),
        ({"url": "ftp://example.com/a.mov"}, "url"),
        ({"url": "video.mov"}, "url"),
        ({"url": "s3://bucket/"}, "url"),
        ({"url": "https://user:hunter2@example.com/a.mov"}, "url"),
        ({"url": "https://example.com/a\u0085b.mov"}, "url"),
        ({"url": "http://127.0.0.1/a.mov"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "http://[::ffff:10.0.0.1]/a.mov"}, "url"),
        ({"url": "http://2130706433/a.mov"}, "url"),
        ({"url": "http://minio:9000/bucket/a.mov"}, "url"),
        ({"url": "http://metadata.google.internal/"}, "url"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(next(iter(value.values()))),
)
def test_a_request_that_cannot_be_met_says_which_field(
    sqlite_api: Api, sandbox: sandboxes.Running, change: dict[str, Any], field: str
) -> None:
    """422 with a remedy; Ittybit hears nothing of it, and no password is repeated."""
    before = len(sandbox.all_jobs())
    given = {**VIDEO, **change}
    answer = sqlite_api.post({name: value for name, value in given.items() if value is not None})
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert answer.json()["error"]
    assert answer.json()["remedy"]
    assert "hunter2" not in answer.text
    assert len(sandbox.all_jobs()) == before


def test_private_addresses_are_taken_where_a_setting_allows_them(
    sqlite_url: str, tmp_path: Path, sandbox: sandboxes.Running
) -> None:
    """For a local Ittybit and a local bucket."""
    with connected(sqlite_url, tmp_path, api_url=sandbox.url, allow_private_urls=True) as api:
        answer = api.post({**VIDEO, "url": "http://127.0.0.1:9/a.mov"})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "job", ["task_abc123", "0", "7", "9" * 30, "x" * 1000, "-1", "1%00", "%2e"]
)
def test_an_unknown_job_is_not_found(api: Api, job: str) -> None:
    """As the guide answers."""
    answer = api.get(f"/jobs/{job}")
    assert (answer.status_code, answer.json()) == (404, {"error": "not found"})


def test_a_failure_is_told_with_its_reason(sqlite_url: str, tmp_path: Path) -> None:
    """The column that the Supabase guide shows."""
    with (
        sandboxes.running(webhook_secret=SECRET) as real,  # it tries to read the file
        connected(sqlite_url, tmp_path, api_url=real.url, allow_private_urls=True) as api,
    ):
        taken = api.post({**VIDEO, "url": f"{real.url}/nothing.mov"}).json()
        row = ended(api, taken["job_id"])
    assert row["status"] == "failed"
    assert row["error"]
    assert row["output_url"] is None


def test_a_signature_is_not_shown(sqlite_api: Api) -> None:
    """A signed URL opens the file to anyone who has it; other queries are the user's own."""
    signed = sqlite_api.post({**VIDEO, "url": unique("signed") + "?accessToken=0123abcd"})
    row = sqlite_api.get(f"/jobs/{signed.json()['job_id']}")
    assert "0123abcd" not in row.text
    plain = unique("plain") + "?version=3"
    taken = sqlite_api.post({**VIDEO, "url": plain}).json()
    assert sqlite_api.get(f"/jobs/{taken['job_id']}").json()["input_url"] == plain


def test_while_ittybit_is_away_requests_are_taken(sqlite_url: str, tmp_path: Path) -> None:
    """Within a second, without its id; the job goes on by itself."""
    nobody = choose_ports(["nobody"], tmp_path / "other.json")["nobody"]
    with connected(sqlite_url, tmp_path, api_url=f"http://127.0.0.1:{nobody}") as api:
        api.get("/jobs/1")  # the first request of a process pays for its imports
        started = time.monotonic()
        answer = api.post(VIDEO)
        assert time.monotonic() - started < 1.5
        assert answer.status_code == 202
        assert (answer.json()["task_id"], answer.json()["status"]) == (None, "processing")
        row = api.get(f"/jobs/{answer.json()['job_id']}").json()
        assert (row["task_id"], row["status"], row["completed_at"]) == (None, "processing", None)


def test_a_ledger_that_is_away_takes_nothing(tmp_path: Path, sandbox: sandboxes.Running) -> None:
    """503 with a time to repeat, for requests and for questions."""
    nobody = choose_ports(["postgres"], tmp_path / "other.json")["postgres"]
    url = f"postgresql://someone:password@127.0.0.1:{nobody}/ledger"
    with connected(url, tmp_path, api_url=sandbox.url) as api:
        answers = [api.post(VIDEO), api.get("/jobs/1")]
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "someone" not in answer.text
