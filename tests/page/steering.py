"""A viewer of the page without script, Prefect as far as levers need it, and batches to steer."""

import itertools
import re
import threading
from collections.abc import Sequence
from html import unescape
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx

from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable
from ittybatch.engine.planning import plan_batch
from ittybatch.engine.run_status import RunStatus
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning, read_batch
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState
from ittybatch.project import PROFILES_DIR as PROFILES
from ittybatch.settings import CHECKOUT
from ittybatch.sources import FailedJobsSource
from tests.ledger import library
from tests.receiver.harness import Running

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

    def post(self, path: str, status: int = 303, /, **fields: str) -> httpx.Response:
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


class Recorder(FlowRuns):
    """Prefect, which keeps what it was asked for; the same key again is the same run."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, Any]] = {}
        self.runs: dict[UUID, RunStatus] = {}
        self.is_down = False
        # While it is not set, Prefect accepts connections and does not answer.
        self.answers = threading.Event()
        self.answers.set()
        self.waiting = 0

    def _answer(self) -> None:
        self.waiting += 1
        assert self.answers.wait(30)
        if self.is_down:
            raise PrefectUnavailable("Prefect's API could not be reached.")

    def defaults(self, deployment: str) -> dict[str, Any]:
        del deployment
        return {}

    def make(self, deployment: str, **given: Any) -> str:  # noqa: ANN401
        self._answer()
        key = given["idempotency_key"]
        self.asked.setdefault(key, {"deployment": deployment, **given})
        return str(key)[-36:]

    def statuses(self, ids: Sequence[str]) -> dict[str, RunStatus]:
        del ids
        self._answer()
        return {}

    def batch_run(self, flow_run: UUID) -> RunStatus | None:
        self._answer()
        return self.runs.get(flow_run)

    def probe(self) -> None:
        self._answer()

    def url(self, flow_run: str) -> str:
        return f"http://prefect.test/runs/flow-run/{flow_run}"


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


def state_of(ledger: Ledger, batch: str) -> BatchState:
    return ledger.read(read_batch, batch).state


def waiting(ledger: Ledger, **options: Any) -> str:  # noqa: ANN401
    """A batch of two jobs that waits for approval."""
    batch = library.new_batch(ledger, options=options).id
    planned = library.page(*(library.job(f"{batch}/{name}.mov") for name in "ab"))
    ledger.write(plan_page, batch, planned, after=None, chunk_size=10)
    ledger.write(
        finish_planning, batch, "2 jobs are planned. Nothing is sent before you approve it."
    )
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


def plan_retry(ledger: Ledger, batch: str, source: FailedJobsSource | None = None) -> str:
    """Plan a retry as its flow run does."""
    source = source or FailedJobsSource(batch=batch, skip_retried=True)
    made = library.new_batch(ledger, source=source.model_dump(mode="json"))
    plan_batch(ledger, made, source, PROFILES_DIR, chunk_size=10)
    return made.id
