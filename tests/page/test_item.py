"""The page of an item, over HTTP: what was asked, what came, why it failed, and its addresses."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import delete, select

from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.batches import finish_planning
from ittybatch.ledger.models import Delivery
from ittybatch.ledger.pending import mark, pending_page
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.sinks import DeclaredSink, sync_sinks
from ittybatch.ledger.submission import claim_due
from ittybatch.page import retries_under_way
from tests.ledger import library, orders
from tests.page.seen import item_with
from tests.page.steering import Page, Recorder, words
from tests.receiver.harness import SECRET, Running, payload, running

BUCKET = "item-page"
SOURCE = f"s3://{BUCKET}/in/film.mov"


@pytest.fixture
def ledger_url(sqlite_url: str) -> str:
    """On SQLite alone: tests/ledger reads items on both databases."""
    return sqlite_url


def test_it_tells_what_was_asked_what_came_and_when(ledger: Ledger, receiver: Running) -> None:
    """A job that failed once and then succeeded, and its delivery to a sink that refused it."""
    ledger.write(sync_sinks, [DeclaredSink("table", "sql")])
    scene = item_with(ledger, SOURCE, [("small", Kind.VIDEO)], attempts=3)
    receiver.post(
        scene.webhook("small", "failed", error={"kind": "internal_error", "message": "x"})
    )
    library.accept(ledger, ledger.write(claim_due, scene.chunk, 10), prefix="again")
    made = {"url": "https://cdn.test/small.mp4", "format": "mp4", "width": 854, "height": 480}
    done = {"id": "again-0", "status": "succeeded", "output": {**made, "size": 400_000}}
    receiver.post(done)
    receiver.post(done)
    [row] = ledger.read(pending_page, "table", 10).rows
    ledger.write(mark, "table", [], [(row.id, "value too long for type character varying(10)")])
    page = Page(receiver)
    html = page.get(scene.path)
    text = words(html)
    assert "small video succeeded" in text
    assert "Pixels 854 \u00d7 480" in text
    assert "400.0 kB 60% smaller (600.0 kB)" in text
    assert "Options height 480" in text.replace("What was asked", "Options")
    assert "show pilot" in text
    assert "in the last of 2 attempts" in text
    for moment in (
        "Planned with its chunk",
        "Attempt 1",
        "Sent to Ittybit",
        "Webhook: failed",
        "Recorded as failed",
        "Kind of error: internal_error",
        "Attempt 2 of 3",
        "Webhook: succeeded",
        "The same bytes came 2 times",
        "Recorded as succeeded",
        "table refused the job's end",
        "value too long for type",
        "ittybatch sinks retry table",
    ):
        assert moment in text, moment
    assert "small video succeeded" in words(page.get(scene.path.replace("page/", "page/regions/")))
    [form] = re.findall(r'<form[^>]+action="(/page/health/sinks/retry)".*?</form>', html, re.DOTALL)
    assert "Deliver again what table refused" in text
    assert "1 result will be delivered to table again." in page.told(page.post(form, sink="table"))
    assert [each.id for each in ledger.read(pending_page, "table", 10).rows] == [row.id]
    assert ledger.read(recent_actions)[0].details == {"sink": "table"}
    assert "Deliver again what" not in page.get(scene.path)


ERROR = {"kind": "invalid_input", "message": "no video stream"}


def test_a_retry_asks_first_and_says_what_another_attempt_costs(
    ledger_url: str, ledger: Ledger
) -> None:
    """Nothing is spent at one click, and what would fail again is not what is suggested."""
    scene = item_with(ledger, SOURCE, [("small", Kind.VIDEO), ("other", Kind.VIDEO)])
    failed, path = scene.job("small"), f"{scene.path}/retry"
    with running(ledger_url, kind_costs={"video": 0.004}) as receiver:
        receiver.post(scene.webhook("small", "failed", error=ERROR))
        receiver.post(scene.webhook("other", "failed", error={"kind": "timeout", "message": "x"}))
        page = Page(receiver)
        html = page.get(scene.path)
        text = words(html)
        assert "small video failed held back" in text
        assert "no video stream" in text
        assert "It would fail again, and be billed again." in text
        for job, tone in ((failed, ""), (scene.job("other"), " primary")):
            link = f'<a class="button{tone}" href="{path}?job={job}">Retry this job (about 0.004)'
            assert link in html
        assert f'action="{path}"' not in html
        question = page.get(f"{path}?job={failed}")
        asked = words(question)
        assert "Retry 1 job (about 0.004)?" in asked
        assert "Reason no video stream Cost 0.004 in your unit" in asked
        assert "It would fail again, and be billed again." in asked
        assert f'action="{path}"' in question
        assert f'href="{scene.path}#job-{failed}">Back</a>' in question
        page.get(f"{path}?job=999999", 404)


def test_a_retry_is_shown_from_its_click_until_its_batch_has_planned_it(
    ledger_url: str,
    ledger: Ledger,
    prefect: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the button tells why it did nothing, if it did nothing."""
    scene = item_with(ledger, SOURCE, [("small", Kind.VIDEO)])
    job, path = str(scene.job("small")), f"{scene.path}/retry"
    with running(ledger_url) as receiver:
        page = Page(receiver)
        assert page.request("GET", f"{path}?job={job}").status_code == 303, "it has not failed"
        receiver.post(scene.webhook("small", "failed", error=ERROR))
        [before] = re.findall(r'name="before" value="([^"]+)"', page.get(f"{path}?job={job}"))
        prefect.is_down = True
        assert "Not done: Prefect" in page.told(page.post(path, job=job, before=before))
        prefect.is_down = False
        for _ in range(2):  # a double click
            told = page.told(page.post(path, job=job, before=before))
            assert "Done: Asked for 1 job to be made again" in told
        [run] = prefect.asked.values()
        assert run["deployment"] == "run-batch/retry-failed"
        assert run["parameters"]["source"]["jobs"] == [int(job)]
        asked = page.get(scene.path)
        assert "for it to be made again. Its batch begins when" in words(asked)
        assert f'href="/page/new/started/{run["idempotency_key"][-36:]}"' in asked
        assert "Retry this job" not in words(asked)
        with monkeypatch.context() as later:
            later.setattr(
                retries_under_way, "_BEGINS_WITHIN", timedelta()
            )  # its flow run may be dead
            assert "Retry this job" in words(page.get(scene.path))
        retried = library.new_batch(ledger, flow_run_id=run["idempotency_key"][-36:])
        assert "Retry this job" not in words(page.get(scene.path)), "its batch will plan it"
        ledger.write(finish_planning, retried.id)
        assert "Retry this job" in words(page.get(scene.path)), "its batch has left it out"
        assert "There is nothing to retry" in page.told(
            page.post(path, job=job, before="2001-01-01T00:00:00Z")
        )
        assert "a time that cannot be read" in page.told(page.post(path, job=job, before="soon"))
        page.post(path, 404, job="999999")
        told = page.told(page.post("/page/held/release", job=job, expected="1"))
        assert "Released 1 job" in told
        assert "held back" not in words(page.get(scene.path))
        done = ledger.read(recent_actions)
        assert [each.action for each in done].count("retry") == 5
        assert (done[0].action, done[0].details["job"]) == ("release", job)


def test_a_job_that_runs_says_since_when(ledger: Ledger, receiver: Running) -> None:
    """And when it is given up."""
    scene = item_with(ledger, SOURCE, [("small", Kind.VIDEO)])
    text = words(Page(receiver).get(scene.path))
    assert "Ittybit is making it, since" in text
    assert "Given up if there is no result until then" in text


def test_an_uploaded_file_has_its_own_name(ledger: Ledger, receiver: Running) -> None:
    """What makes its key unique is in the address below it, and on no list of jobs or reasons."""
    unique = "0123456789abcdef" * 2
    scene = item_with(ledger, f"s3://{BUCKET}/web/{unique}-my-film.mov", [("small", Kind.VIDEO)])
    receiver.post(scene.webhook("small", "failed", error=ERROR))
    page = Page(receiver)
    html = page.get(scene.path)
    assert re.findall(r"<h1>(.*?)</h1>\s*<p[^>]*>(.*?)</p>", html) == [
        (
            '<span class="name">my-film.mov</span>',
            f'<span class="name">web/{unique}-my-film.mov</span>',
        )
    ]
    for path in (f"/page/batches/{scene.batch}", "/page/jobs", "/page/held"):
        text = words(page.get(path).partition("<main")[2])
        assert "my-film.mov" in text, path
        assert unique not in text, path


def test_a_request_has_no_time_of_a_plan(ledger: Ledger, receiver: Running) -> None:
    """It came hours after the batch of the day began, and was sent at once."""
    job = library.job("asked.mov")
    receipt = orders.taken(ledger, orders.order(job, spec=orders.spec(digest="asked")))
    orders.accept(ledger, receipt)
    page = Page(receiver)
    path = page.request("GET", f"/page/jobs/{receipt.submissions[0].job_id}").headers["location"]
    text = words(page.get(path.partition("#")[0]))
    assert "Planned with its chunk" not in text
    assert "Timeline Attempt 1" in text


def test_a_webhook_is_shown_without_its_secrets_until_it_is_tidied(
    ledger: Ledger, receiver: Running
) -> None:
    """The page says why there is nothing any more."""
    scene = item_with(ledger, SOURCE, [("small", Kind.VIDEO)])
    receiver.post(scene.made("small", "https://cdn.test/a.mp4?X-Amz-Signature=abc"))
    page = Page(receiver)
    html = page.get(scene.path)
    assert "abc" not in html
    found = next(part for part in html.split('"') if part.startswith("/page/webhook?"))
    shown = words(page.get(found.replace("&amp;", "&")))
    assert '"url": "https://cdn.test/a.mp4?[redacted]"' in shown
    ledger.write(lambda transaction: transaction.execute(delete(Delivery)))
    gone = words(page.get(found.replace("&amp;", "&"), 404))
    assert "no longer kept" in gone
    assert "db tidy" in gone


def test_no_secret_of_an_error_or_of_this_receiver_is_shown(
    ledger: Ledger, ledger_url: str
) -> None:
    """Keys and tokens that an error repeats; every secret of webhooks while they are replaced."""
    scene = item_with(ledger, SOURCE, [("small", Kind.VIDEO), ("large", Kind.VIDEO)])
    said = "Bearer geheimwort and sk_live_geheimnis were refused"
    for number, kind in enumerate(("invalid_input", "internal_error")):
        ledger.write(settle, [library.failed(f"task-{number}", kind, said)])
    with running(ledger_url, webhook_secret=f"{SECRET},another secret") as up:
        page = Page(up)
        held = urlencode({"state": "failed", "alike": said})
        for path in (scene.path, "/page/held", f"/page/held?{held}", f"/page/held/release?{held}"):
            text = words(page.get(path).partition("<main")[2])
            assert "Bearer [redacted]" in text, path
            assert "geheim" not in text, path
        up.post(payload("who", note=f"{SECRET} and another secret"))
        digest = ledger.read(lambda tx: tx.execute(select(Delivery.digest)).scalar_one())
        text = words(page.get(f"/page/webhook?{urlencode({'task': 'who', 'digest': digest})}"))
        assert '"note": "[redacted] and [redacted]"' in text


def test_an_end_that_was_polled_shows_the_answer(ledger: Ledger, receiver: Running) -> None:
    """There is no webhook then."""
    scene = item_with(ledger, SOURCE, [("small", Kind.VIDEO)])
    ledger.write(settle, [library.remote("task-0")])
    page = Page(receiver)
    assert "when it was asked, not by a webhook" in words(page.get(scene.path))
    assert '"id": "task-0"' in words(page.get(f"/page/jobs/{scene.job('small')}/answer"))


def test_who_may_only_look_gets_no_buttons_and_changes_nothing(
    ledger_url: str, ledger: Ledger
) -> None:
    """Not by the page, and not by a request made by hand."""
    scene = item_with(ledger, SOURCE, [("small", Kind.VIDEO)])
    accounts: dict[str, Any] = {
        "page_auth": "boss:a-long-password",
        "page_viewer_auth": "guest:another-one",
    }
    with running(ledger_url, **accounts) as receiver:
        receiver.post(scene.webhook("small", "failed", error="no video stream"))
        guest = Page(receiver, "guest", "another-one")
        html = guest.get(scene.path)
        assert "<form" not in html.partition("<main")[2]
        job = str(scene.job("small"))
        guest.post(f"{scene.path}/retry", 403, job=job)
        guest.post("/page/held/release", 403, job=job)
        Page(receiver).get(scene.path, 401)
        assert Page(receiver).request("GET", f"/page/media/{job}/source").status_code == 401
        assert "Retry this job" in Page(receiver, "boss", "a-long-password").get(scene.path)


def test_there_may_be_no_such_item(receiver: Running) -> None:
    """Whatever the address says."""
    for path in ("0/0", "1/-1", "1/99999999999999", "x/1", f"{'9' * 30}/1"):
        Page(receiver).get(f"/page/items/{path}", 404)
