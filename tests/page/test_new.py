"""New jobs of an address: what they would make and cost first, and twice is once."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ittybatch.intake.objects import Objects
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import Via, recent_actions, record_action
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.queries import recent_batches
from ittybatch.profiles import Item
from tests.intake.harness import jobs
from tests.page.new_jobs import MORE, PROFILE, Viewer, sealed, serving, text
from tests.receiver.harness import SECRET, wait_until
from tests.sandbox import harness as sandboxes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def sandbox() -> Iterator[sandboxes.Running]:
    """A sandbox that ends each job at once; the keys of another test would be in use in it."""
    with sandboxes.running(instant=True, webhook_secret=SECRET) as up:
        yield up


@pytest.fixture
def viewer(ledger_url: str, tmp_path: Path, sandbox: sandboxes.Running) -> Iterator[Viewer]:
    """Somebody on the receiver's machine."""
    with serving(ledger_url, tmp_path, sandbox, kind_costs={"video": 0.5, "audio": 0.25}) as up:
        yield Viewer(up)


@pytest.fixture
def on_sqlite(sqlite_url: str, tmp_path: Path, sandbox: sandboxes.Running) -> Iterator[Viewer]:
    """The same on SQLite alone, where the database does not matter."""
    with serving(sqlite_url, tmp_path, sandbox) as up:
        yield Viewer(up)


def test_an_address_is_shown_with_its_price_and_made_once_when_it_is_confirmed(
    ledger: Ledger, viewer: Viewer
) -> None:
    """Without the API, and without script."""
    assert 'action="/page/new/address"' in viewer.get("/page/new").text
    first = viewer.preview()
    said = text(first)
    assert first.status_code == 200
    assert "2 jobs" in said
    assert "0.75 in your unit" in said
    assert "small video left out: it asks for at most 1.0 MB (the size of this" in said
    assert jobs(ledger) == [], "nothing is taken before it is confirmed"
    answers = [viewer.post("/page/new/take", {"sealed": sealed(first)}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert [job.rendition for job in jobs(ledger)] == ["hd", "sound"]
    made = viewer.get(answers[0].headers["location"])
    assert made.headers["location"] == f"/page/items/{jobs(ledger)[0].chunk_id}/0"
    wait_until(lambda: all(job.state == "succeeded" for job in jobs(ledger)))
    listed = text(viewer.get(f"{answers[0].headers['location']}&all=1"))
    assert "2 of 2 outputs are there" in listed
    batch = ledger.read(recent_batches)[0]
    assert batch.name.startswith("web requests, ")
    assert f"film.mov in {batch.name}" in listed, "each page calls the batch the same"
    for page in ("", "/chunks", "/rejects", "/cancel"):
        assert batch.name in text(viewer.get(f"/page/batches/{batch.id}{page}"))

    again = viewer.preview()
    assert text(again).count("already made see it") == 2
    assert "0 nothing is sent" in text(again)
    assert "2 jobs To send" not in text(viewer.preview(again="1"))
    assert text(viewer.preview(again="1")).count("is made again the earlier one") == 2
    viewer.post("/page/new/take", {"sealed": sealed(again)})
    assert len(jobs(ledger)) == 2
    recorded = ledger.read(recent_actions)
    assert [(each.action, each.via) for each in recorded] == [("process", Via.PAGE)] * 2
    assert recorded[-1].outcome == "2 jobs were asked for."
    ledger.write(
        record_action, actor="ann", via=Via.PAGE, action="tune", outcome="Done.", batch=batch.id
    )
    assert f"tune {batch.name} Done." in text(viewer.get("/page/actions"))


def test_an_object_is_the_one_that_a_scan_finds(
    ledger: Ledger, viewer: Viewer, s3: "S3Client", bucket: str
) -> None:
    """With its size for the conditions; and after it was overwritten, it is another one."""
    address = f"s3://{bucket}/film.mov"
    s3.put_object(Bucket=bucket, Key="film.mov", Body=b"first")
    first = viewer.preview(url=address)
    assert "3 jobs" in text(first), "the small one, too: it is known to have 5 bytes"
    viewer.post("/page/new/take", {"sealed": sealed(first)})
    assert len(jobs(ledger)) == 3
    assert "0 nothing is sent" in text(viewer.preview(url=address))
    s3.put_object(Bucket=bucket, Key="film.mov", Body=b"second")
    assert "3 jobs" in text(viewer.preview(url=address))


def test_what_was_not_seen_is_not_paid_for(ledger: Ledger, viewer: Viewer, tmp_path: Path) -> None:
    """The profile got another rendition after somebody had looked."""
    seen = viewer.preview()
    (tmp_path / "profiles" / "web.yaml").write_text(PROFILE + MORE)
    wait_until(lambda: "still" in text(viewer.preview()))
    answer = viewer.post("/page/new/take", {"sealed": sealed(seen)})
    assert answer.status_code == 409
    assert "something has changed since you looked" in text(answer)
    assert jobs(ledger) == []
    # As many as before, and others.
    (tmp_path / "profiles" / "web.yaml").write_text(PROFILE + MORE.replace("still", "frame"))
    wait_until(lambda: "frame" in text(viewer.preview()))
    answer = viewer.post("/page/new/take", {"sealed": sealed(answer)})
    assert answer.status_code == 409
    assert jobs(ledger) == []
    assert viewer.post("/page/new/take", {"sealed": sealed(answer)}).status_code == 303
    assert len(jobs(ledger)) == 3


def test_a_store_that_answers_at_last_changes_what_was_seen(
    ledger: Ledger, viewer: Viewer, s3: "S3Client", bucket: str
) -> None:
    """The size was unknown at the preview, and makes another rendition."""
    s3.put_object(Bucket=bucket, Key="film.mov", Body=b"first")

    async def unknown(_self: Objects, item: Item) -> Item:
        return item

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objects, "identified", unknown)
        seen = viewer.preview(url=f"s3://{bucket}/film.mov")
    assert "2 jobs" in text(seen)
    answer = viewer.post("/page/new/take", {"sealed": sealed(seen)})
    assert answer.status_code == 409
    assert "3 jobs" in text(answer)
    assert jobs(ledger) == []
    for _ in range(2):
        assert viewer.post("/page/new/take", {"sealed": sealed(answer)}).status_code == 303
    assert len(jobs(ledger)) == 3


def test_a_form_that_was_taken_leads_to_its_jobs_when_the_store_answers_at_last(
    ledger: Ledger, viewer: Viewer, s3: "S3Client", bucket: str
) -> None:
    """The first answer was lost. The jobs are those of the address alone, and are paid once."""
    s3.put_object(Bucket=bucket, Key="film.mov", Body=b"first")

    async def unknown(_self: Objects, item: Item) -> Item:
        return item

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objects, "identified", unknown)
        seen = viewer.preview(url=f"s3://{bucket}/film.mov")
        taken = viewer.post("/page/new/take", {"sealed": sealed(seen)})
    again = viewer.post("/page/new/take", {"sealed": sealed(seen)})
    assert (again.status_code, again.headers.get("location")) == (303, taken.headers["location"])
    assert len(jobs(ledger)) == 2


def test_what_cannot_be_taken_is_said_beside_the_field(on_sqlite: Viewer) -> None:
    for fields, why in (
        ({"url": "http://10.0.0.7/a.mov"}, "private network"),
        ({"url": "http://localhost/a.mov"}, "private network"),
        ({"url": "ftp://example.com/a.mov"}, "is not the URL of a file"),
        ({"url": "https://ann:secret@example.com/a.mov"}, "a user name or a password"),
        ({"url": "https://example.com/notes.txt"}, "makes nothing of"),
        ({"url": "s3://bucket/"}, "is not an object"),
        ({"make": "profile:none"}, "There is no profile 'none'"),
        ({"make": ""}, "What to make is not chosen"),
        ({"make": "kind:video", "options": "{width"}, "The options are not JSON"),
        ({"make": "kind:video", "options": '{"a":' * 900 + "1" + "}" * 900}, "nested too deeply"),
        ({"make": "kind:video", "options": "[1]"}, "not a JSON object"),
        ({"make": "kind:video", "options": '{"colour": 1}'}, "colour"),
        ({"make": "kind:film"}, "film"),
    ):
        answer = on_sqlite.preview(**fields)
        assert answer.status_code == 422, fields
        assert why in text(answer), fields
    assert "secret" not in on_sqlite.preview(url="https://ann:secret@example.com/a.mov").text


def test_no_price_is_guessed_no_signature_shown_and_no_name_runs(on_sqlite: Viewer) -> None:
    url = "https://example.com/<script>alert(1)</script>.mov?X-Amz-Signature=abcdef123456"
    answer = on_sqlite.preview(url=url, make="kind:video")
    assert "unknown no price is set for video (ITTYBATCH_KIND_COSTS)" in text(answer)
    assert "abcdef123456" not in answer.text
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text
    changed = re.sub(r"[A-Y]", "Z", sealed(answer), count=3)
    refused = on_sqlite.post("/page/new/take", {"sealed": changed})
    assert refused.status_code == 410
    assert "older than 6 hours, or is not of this page" in text(refused)


def test_who_may_only_look_changes_nothing(
    sqlite_url: str, tmp_path: Path, sandbox: sandboxes.Running
) -> None:
    """By the page, which has no form for them, and by hand-made requests."""
    accounts = {"page_auth": "ann:long enough", "page_viewer_auth": "bob:long enough too"}
    with serving(sqlite_url, tmp_path, sandbox, **accounts) as up:
        ann, bob = Viewer(up, ("ann", "long enough")), Viewer(up, ("bob", "long enough too"))
        assert Viewer(up).get("/page/new").status_code == 401
        page = bob.get("/page/new")
        assert "bob may only look" in text(page)
        assert "<form" not in page.text
        confirmation = {"sealed": sealed(ann.preview())}
        for path in (
            "address", "take", "files", "file", "library", "uploads/begin", "uploads/more",
            "uploads/complete", "uploads/abort",
        ):  # fmt: skip
            assert bob.post(f"/page/new/{path}", confirmation).status_code == 403, path
        elsewhere = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert ann.post("/page/new/take", confirmation, **elsewhere).status_code == 403
        assert "Nobody has asked for anything" in text(ann.get("/page/actions"))
        assert ann.post("/page/new/take", confirmation).status_code == 303
        assert "ann this page process" in text(bob.get("/page/actions"))


def test_a_bucket_is_planned_by_a_run_and_mistakes_are_told_before(
    on_sqlite: Viewer,
) -> None:
    """Here there is no Prefect: that is told and recorded, and nothing is lost but a click."""
    key = re.search(r'name="key" value="([0-9a-f]+)"', on_sqlite.get("/page/new").text)
    assert key
    form = {"key": key[1], "source": "s3://media/library/", "make": "profile:web"}
    for fields, why in (
        ({"source": "/etc/passwd"}, "It is not the address of a bucket or a manifest"),
        ({"source": "sql:DATABASE_URL"}, "It is not the address of a bucket or a manifest"),
        ({"source": "http://127.0.0.1/list.csv"}, "private network"),
        ({"make": "profile:../../secret"}, "is not the name of a profile"),
        ({"min_size": "many"}, "min_size"),
        ({"max_cost": "5"}, "max_cost needs cost_per_job"),
        ({"canary_items": "-1"}, "canary_items"),
        ({"cost_per_job": "cheap"}, "(cost_per_job): Write a number, for example 0.5."),
        ({"key": "x"}, "The form is not of this page"),
    ):
        answer = on_sqlite.post("/page/new/library", {**form, **fields})
        assert answer.status_code >= 400, fields
        assert why in text(answer), fields
    answer = on_sqlite.post("/page/new/library", form)
    assert "PREFECT_API_URL is not set" in text(answer)
    # The run may have been started all the same: pressing again does not start another.
    assert f'name="key" value="{key[1]}"' in answer.text
    assert "refused" in text(on_sqlite.get("/page/actions?via=page"))


def test_the_page_of_what_was_made_reads_only_ids_and_a_bounded_number(on_sqlite: Viewer) -> None:
    assert "The ledger has none of these jobs" in text(
        on_sqlite.get("/page/new/made?jobs=1-999999999999,5")
    )
    for wrong in ("", "x", "1-", "-1", "1;2", "²", "9" * 30):
        assert on_sqlite.get(f"/page/new/made?jobs={wrong}").status_code == 404, wrong


def test_what_was_done_is_filtered_and_paged(sqlite_url: str, on_sqlite: Viewer) -> None:
    """By address, so that a link says it."""
    ledger = Ledger(create_ledger_engine(sqlite_url))
    for number in range(60):
        name, via = ("ann@studio", Via.CLI) if number % 2 else ("<b>bob</b>", Via.PREFECT)
        ledger.write(
            record_action,
            actor=name,
            via=via,
            action="tune",
            outcome=f"Outcome {number}.",
            batch=f"b{number % 3}",
            details={"priority": "high"},
            refused=number == 59,
        )
    first = on_sqlite.get("/page/actions")
    assert text(first).count("asked for priority") == 50
    assert "refused Outcome 59. What was asked for priority high" in text(first)
    assert "<b>bob" not in first.text
    older = re.search(r'href="(/page/actions\?before=[0-9]+)"', first.text)
    assert older
    assert text(on_sqlite.get(older[1])).count("asked for priority") == 10
    assert (
        text(on_sqlite.get("/page/actions?batch=b1&via=cli&actor=ANN")).count("asked for priority")
        == 10
    )
    assert "Nothing fits" in text(on_sqlite.get("/page/actions?actor=nobody"))
    assert text(on_sqlite.get("/page/regions/actions?batch=b2")).count("asked for priority") == 20
    ledger.close()
