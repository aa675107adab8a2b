"""The page of a batch: how far it is, why jobs failed, and every lever, over HTTP."""

import io
import itertools
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from ittybatch.engine import retrying, steering
from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable, RunStatus
from ittybatch.engine.planning import plan_batch
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.batches import finish_planning, read_batch
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.models import Chunk
from ittybatch.ledger.plan import PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.runs import end_runs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState
from ittybatch.ledger.submission import claim_due
from ittybatch.project import PROFILES_DIR as PROFILES
from ittybatch.settings import CHECKOUT
from ittybatch.sources import FailedJobsSource
from tests.conftest import empty_postgres
from tests.ledger import library
from tests.receiver.harness import Running, running

PROFILES_DIR = CHECKOUT / PROFILES
HOSTILE = "<script>alert('x')</script>"


class Page:
    """A viewer of the page, without script."""

    def __init__(self, receiver: Running, user: str = "", password: str = "") -> None:
        self.url = receiver.url
        self.auth = (user, password) if user else None

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:  # noqa: ANN401
        return httpx.request(
            method, f"{self.url}{path}", auth=self.auth, trust_env=False, timeout=20, **given
        )

    def get(self, path: str, status: int = 200) -> str:
        answer = self.request("GET", path)
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, path: str, status: int = 303, **fields: str) -> httpx.Response:
        body = urlencode(fields)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.request("POST", path, content=body, headers=form)
        assert answer.status_code == status, answer.text
        return answer

    def told(self, answer: httpx.Response) -> str:
        """What the page that follows tells of an action."""
        text = self.get(answer.headers["location"])
        found = re.search(r'<div id="outcome".*?</div>', text, re.DOTALL)
        assert found is not None
        return words(found[0])


def words(html: str) -> str:
    """The text of a page, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def ledger_url(
    request: pytest.FixtureRequest, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """One ledger on each database, for all tests: each has batches and names of its own."""
    if request.param == "postgres":
        with empty_postgres(request.getfixturevalue("postgres")) as url:
            yield url
    else:
        path = tmp_path_factory.mktemp("page") / "ledger.db"
        shutil.copy(sqlite_template, path)
        yield f"sqlite:///{path}"


@pytest.fixture(scope="module")
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = Ledger(create_ledger_engine(ledger_url), patience_s=5)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(ledger_url: str) -> Iterator[Page]:
    with running(ledger_url) as receiver:
        yield Page(receiver)


_tests = itertools.count()


def submitted(ledger: Ledger, count: int) -> tuple[str, str]:
    """A batch of jobs at Ittybit; its id, and what the ids of its tasks begin with."""
    mark = f"task{next(_tests)}"
    jobs = [library.job(f"{mark}/{number}.mov") for number in range(count)]
    chunk, submissions = library.claimed(ledger, *jobs)
    library.accept(ledger, submissions, prefix=mark)
    return library.place(ledger, chunk).batch_id, mark


def failing(ledger: Ledger, count: int = 4) -> str:
    """A batch of which one job has succeeded, and the others failed for two reasons."""
    batch, task = submitted(ledger, count)
    ended = [library.remote(f"{task}-0")]
    ended += [
        library.failed(
            f"{task}-{n}", "invalid_input", f"Could not fetch s3://media/{n}.mov: HTTP 404"
        )
        for n in range(1, count - 1)
    ]
    ended += [library.failed(f"{task}-{count - 1}", "invalid_input", f"{HOSTILE} is no film")]
    ledger.write(settle, ended)
    return batch


class Recorder(FlowRuns):
    """Prefect, which keeps what it was asked for; the same key again is the same run."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, Any]] = {}
        self.is_down = False

    def defaults(self, deployment: str) -> dict[str, Any]:
        del deployment
        return {}

    def make(self, deployment: str, **given: Any) -> str:  # noqa: ANN401
        if self.is_down:
            raise PrefectUnavailable("Prefect's API could not be reached.")
        key = given["idempotency_key"]
        self.asked.setdefault(key, {"deployment": deployment, **given})
        return key[-36:]

    def statuses(self, ids: Sequence[str]) -> dict[str, RunStatus]:
        del ids
        return {}

    def probe(self) -> None:
        if self.is_down:
            raise PrefectUnavailable("Prefect's API could not be reached.")

    def url(self, flow_run: str) -> str:
        return f"http://prefect.test/runs/flow-run/{flow_run}"


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """In the place of Prefect, for every lever."""
    recorder = Recorder()

    @contextmanager
    def opened() -> Iterator[Recorder]:
        yield recorder

    monkeypatch.setattr(retrying, "open_flow_runs", opened)
    monkeypatch.setattr(steering, "open_flow_runs", opened)
    return recorder


def state_of(ledger: Ledger, batch: str) -> BatchState:
    return ledger.read(read_batch, batch).state


def waiting(ledger: Ledger, **options: Any) -> str:  # noqa: ANN401
    """A batch of two jobs that waits for approval."""
    batch = library.new_batch(ledger, options=options).id
    planned = library.page(*(library.job(f"{batch}/{name}.mov") for name in "ab"))
    ledger.write(plan_page, batch, planned, after=None, chunk_size=10)
    ledger.write(finish_planning, batch, "2 jobs are to be submitted, more than 0.")
    return batch


def retry_link(html: str, which: str) -> str:
    """The address of the page that confirms a retry, of the button with this text."""
    [found] = re.findall(rf'href="([^"]+/retry[^"]*)">[^<]*{which}', html)
    return unescape(found)


def fields_of(html: str) -> dict[str, str]:
    """The hidden fields of the form that retries."""
    [form] = re.findall(r'<form method="post" action="[^"]+/retry">.*?</form>', html, re.DOTALL)
    found = re.findall(r'name="([^"]+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in found}


def test_a_batch_shows_what_it_does_and_why_jobs_failed(ledger: Ledger, page: Page) -> None:
    """Failures are grouped by reason, each with examples and the price of a retry."""
    batch = failing(ledger, 5)
    html = page.get(f"/page/batches/{batch}")
    text = words(html)
    assert "1 of 5 jobs" in text
    assert "3 jobs failed invalid_input Retry these 3 (cost unknown)… Could not fetch …" in text
    assert "would fail again, and be billed again" in text
    of_batch = select(Chunk.id).where(Chunk.batch_id == batch)
    chunk = ledger.read(lambda tx: tx.execute(of_batch).scalar_one())
    assert f'href="/page/items/{chunk}/3#job-' in html
    assert re.search(r"sd 1 done, 4 failed of 5 20% 1 4 0 0", text)
    assert "<script>alert" not in html
    assert "<script>alert('x')" in text
    for region in ("now", "failures", "renditions", "chunks", "done"):
        part = page.get(f"/page/regions/batches/{batch}/{region}")
        assert words(part)
        assert "<html" not in part
    page.get(f"/page/regions/batches/{batch}/other", 404)
    page.get("/page/batches/nobody", 404)
    page.get("/page/batches/%00", 404)


@pytest.mark.usefixtures("prefect")
def test_a_plan_is_approved_once(ledger: Ledger, page: Page) -> None:
    """Its price and time are beside the button; a second click is told that it came too late."""
    batch = waiting(ledger, cost_per_job=0.25)
    text = words(page.get(f"/page/batches/{batch}"))
    assert "2 jobs planned; cost: 0.50 in your unit, if each job is made once" in text
    assert "Approve: send 2 jobs" in text
    assert "Resume" not in text
    told = page.told(page.post(f"/page/batches/{batch}/approve"))
    assert told == f"Done: Batch {batch} is running."
    assert state_of(ledger, batch) is BatchState.RUNNING
    told = page.told(page.post(f"/page/batches/{batch}/approve"))
    assert told == f"Not done: Batch {batch} does not wait for approval; it is running."
    assert "Approve" not in words(page.get(f"/page/batches/{batch}"))
    actions = ledger.read(recent_actions, batch=batch)
    assert [(each.action, each.via, each.refused) for each in actions] == [
        ("approve", "page", True),
        ("approve", "page", False),
    ]


def test_an_approval_stands_although_prefect_is_down(
    ledger: Ledger, page: Page, prefect: Recorder
) -> None:
    """What is done and what is not yet is told, and is in the record."""
    batch = waiting(ledger)
    ledger.write(end_runs, batch)
    prefect.is_down = True
    told = page.told(page.post(f"/page/batches/{batch}/approve"))
    assert f"Batch {batch} is running" in told
    assert "do not exist yet" in told
    assert state_of(ledger, batch) is BatchState.RUNNING


@pytest.mark.usefixtures("prefect")
def test_a_batch_is_paused_resumed_and_cancelled(ledger: Ledger, page: Page) -> None:
    """Impatient clicks and a second tab change nothing, and say how it is."""
    batch, _ = submitted(ledger, 1)
    at = f"/page/batches/{batch}"
    for _ in range(2):
        assert f"Done: Batch {batch} is held." in page.told(page.post(f"{at}/pause"))
    assert "Paused by someone on this machine" in words(page.get(at))
    assert f"Done: Batch {batch} is running." in page.told(page.post(f"{at}/resume"))
    assert "is not held; it is running" in page.told(page.post(f"{at}/resume"))
    asked = words(page.get(f"{at}/cancel"))
    assert "1 job at Ittybit already: Ittybit cannot stop what has started" in asked
    assert "may still run, and be billed" in asked
    for _ in range(2):
        told = page.told(page.post(f"{at}/cancel"))
        assert f"Batch {batch} is cancelled. 1 are at Ittybit already" in told
    assert "Not done: " in page.told(page.post(f"{at}/pause"))
    assert "has ended" in words(page.get(f"{at}/cancel"))
    assert state_of(ledger, batch) is BatchState.CANCELLED


def test_tuning_shows_an_error_beside_its_field(ledger: Ledger, page: Page) -> None:
    """What is wrong is shown there, and nothing is changed."""
    batch = waiting(ledger)
    answer = page.post(
        f"/page/batches/{batch}/tune",
        422,
        max_active_chunks="0",
        was_max_active_chunks="4",
        submit_per_s="fast",
        was_submit_per_s="",
        priority="normal",
        was_priority="normal",
    )
    errors = re.findall(r'id="tune-(\w+)-hint"><strong class="error">([^<]+)', answer.text)
    assert dict(errors).keys() == {"max_active_chunks", "submit_per_s"}
    assert 'value="fast"' in answer.text
    assert ledger.read(read_batch, batch).options == {}


def test_tuning_changes_only_what_the_user_has_changed(ledger: Ledger, page: Page) -> None:
    """An old form undoes nothing; two who change the same are told."""
    batch = waiting(ledger)
    at = f"/page/batches/{batch}/tune"
    old = {"was_max_active_chunks": "4", "was_submit_per_s": "", "was_priority": "normal"}
    first = {"max_active_chunks": "8", "submit_per_s": "", "priority": "normal", **old}
    told = page.told(page.post(at, **first))
    assert "It now runs with max_active_chunks: 8." in told
    # The form of a second tab, which still shows 4.
    second = {**first, "max_active_chunks": "4", "submit_per_s": "2.5"}
    assert "submit_per_s: 2.5" in page.told(page.post(at, **second))
    assert ledger.read(read_batch, batch).options == {"max_active_chunks": 8, "submit_per_s": 2.5}
    conflict = page.post(at, 422, **{**first, "max_active_chunks": "2"})
    assert "Somebody else has changed it meanwhile, to 8." in words(conflict.text)
    assert "No field was changed" in page.told(page.post(at, **first))


def test_a_group_is_retried_once_for_each_confirmation(
    ledger: Ledger, page: Page, prefect: Recorder
) -> None:
    """The number and the price are repeated, the filter is frozen, and a double click is one."""
    batch = failing(ledger, 5)
    link = retry_link(page.get(f"/page/batches/{batch}"), "Retry these 3")
    asked = page.get(link)
    assert "Retry 3 jobs (cost unknown)?" in words(asked)
    assert "no rate for video (ITTYBATCH_KIND_COSTS)" in words(asked)
    fields = fields_of(asked)
    answers = [page.post(f"/page/batches/{batch}/retry", **fields) for _ in range(2)]
    [request] = prefect.asked.values()
    assert request["deployment"] == "run-batch/retry-failed"
    source = request["parameters"]["source"]
    assert source["batch"] == batch
    assert source["alike"] == "Could not fetch …: HTTP 404"
    assert source["states"] == ["failed"]
    assert source["skip_retried"] is True
    assert datetime.fromisoformat(source["ended_before"]) <= datetime.now(UTC)
    run = request["idempotency_key"][-36:]
    assert f"Asked for 3 jobs to be made again, by flow run {run}" in page.told(answers[0])
    text = words(page.get(f"/page/batches/{batch}"))
    assert "retry by someone on this machine (page)" in text
    assert "Its batch begins when a worker starts the flow run." in text
    made = library.new_batch(ledger, flow_run_id=run).id
    assert f"Its batch {made}" in words(page.get(f"/page/batches/{batch}"))


def test_what_a_later_batch_has_taken_up_is_not_offered(
    ledger: Ledger, page: Page, prefect: Recorder
) -> None:
    """A second tab that still shows the button is told, and nothing is started."""
    batch = failing(ledger, 4)
    html = page.get(f"/page/batches/{batch}")
    everything = retry_link(html, "Retry all that failed")
    assert "Retry 3 jobs" in words(page.get(everything))
    fields = fields_of(page.get(everything))
    plan_retry(ledger, batch)
    text = words(page.get(f"/page/batches/{batch}"))
    assert "Taken up by a later batch" in text
    assert "Retry" not in text
    assert "There is nothing to retry" in words(page.get(everything))
    told = page.told(page.post(f"/page/batches/{batch}/retry", **fields))
    assert "Not done: There is nothing to retry" in told
    assert prefect.asked == {}
    page.post(f"/page/batches/{batch}/retry", 400, state="succeeded")
    page.post(f"/page/batches/{batch}/retry", 400, before="yesterday evening")


def test_the_same_retry_planned_twice_pays_once(ledger: Ledger) -> None:
    """Also after the first has failed again in a way that would free its claims."""
    batch = failing(ledger, 4)
    first = plan_retry(ledger, batch)
    assert len(library.rows(ledger, first)) == 3
    assert library.rows(ledger, plan_retry(ledger, batch)) == []
    chunk = library.released_chunk(ledger, first)
    library.accept(ledger, ledger.write(claim_due, chunk, 10), prefix=first)
    ledger.write(settle, [library.failed(f"{first}-{n}", "x", "no such file") for n in range(3)])
    assert library.rows(ledger, plan_retry(ledger, batch)) == []


def plan_retry(ledger: Ledger, batch: str) -> str:
    """Plan a retry as its flow run does."""
    source = FailedJobsSource(batch=batch, skip_retried=True)
    made = library.new_batch(ledger, source=source.model_dump(mode="json"))
    plan_batch(ledger, made, source, PROFILES_DIR, chunk_size=10)
    return made.id


def test_reports_are_downloads(ledger: Ledger, page: Page) -> None:
    """Each form is whole, whoever named the batch; only failures if asked for."""
    batch = failing(ledger, 5)
    at = f"/page/batches/{batch}/report"
    found = page.request("GET", f"{at}.json")
    assert found.headers["content-disposition"] == f'attachment; filename="{batch}.json"'
    assert len(found.json()["jobs"]) == 5
    assert page.get(f"{at}.csv").count("s3://media/") >= 5
    assert page.get(f"{at}.csv?failures=1").count("\r\n") == 1 + 4
    table = pq.read_table(io.BytesIO(page.request("GET", f"{at}.parquet").content))
    assert table.num_rows == 5
    assert page.request("GET", f"{at}.html").headers["x-content-type-options"] == "nosniff"
    page.get(f"{at}.exe", 404)


def test_chunks_and_rejects_come_in_pages(ledger: Ledger, page: Page) -> None:
    """Each chunk says what it waits for."""
    batch = library.new_batch(ledger).id
    rejects = [PlannedReject(n, "url", f"{HOSTILE} {n}", "row") for n in range(70)]
    planned = library.page(*(library.job(f"{batch}/{n}.mov") for n in range(60)), rejects=rejects)
    ledger.write(plan_page, batch, planned, after=None, chunk_size=1)
    ledger.write(finish_planning, batch)
    library.released_chunk(ledger, batch)
    text = words(page.get(f"/page/batches/{batch}"))
    assert "0 of 60 chunks done" in text
    assert "1 released none yet of 1 0 of 1 a worker to start its flow run none" in text
    assert "its turn: 4 chunks at a time" in text
    assert "70 rows and items that could not be used: which, and why" in text
    for name, marked in (("chunks", "0 of 1"), ("rejects", HOSTILE)):
        first = page.get(f"/page/batches/{batch}/{name}")
        [more] = re.findall(r'href="([^"]+)">Next page', first)
        assert words(first).count(marked) == 50
        rest = page.get(unescape(more))
        assert words(rest).count(marked) == (10 if name == "chunks" else 20)
        assert HOSTILE not in rest
        assert "Next page" not in rest
    assert words(page.get(f"/page/batches/{batch}/chunks?state=released")).count("0 of 1") == 1


def test_who_may_only_look_changes_nothing(ledger: Ledger, ledger_url: str) -> None:
    """No form is shown, and a request made by hand is refused."""
    batch = failing(ledger, 4)
    asking = waiting(ledger)
    with running(ledger_url, page_auth="anna:secret 1", page_viewer_auth="bob:secret 2") as up:
        bob = Page(up, "bob", "secret 2")
        for each in (batch, asking):
            html = bob.get(f"/page/batches/{each}")
            assert 'method="post"' not in html
            assert "Retry these" not in words(html)
        assert "Could not fetch" in bob.get(f"/page/batches/{batch}")
        for lever in ("approve", "pause", "resume", "cancel", "tune", "retry"):
            bob.post(f"/page/batches/{asking}/{lever}", 403, max_active_chunks="9")
        assert state_of(ledger, asking) is BatchState.UNAPPROVED
        assert ledger.read(recent_actions, batch=asking) == []
        anna = Page(up, "anna", "secret 1")
        anna.post(f"/page/batches/{asking}/pause")
        [done] = ledger.read(recent_actions, batch=asking)
        assert (done.actor, done.action) == ("anna", "pause")
        assert Page(up).request("GET", f"/page/batches/{batch}").status_code == 401
