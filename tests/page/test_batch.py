"""The page of a batch: how far it is, why jobs failed, and every lever, over HTTP."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from ittybatch.ittybit.job import JobError, JobStatus
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.batches import finish_planning, read_batch
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState
from tests.ledger import library
from tests.receiver.harness import Running, running

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


@pytest.fixture
def page(receiver: Running) -> Page:
    return Page(receiver)


def failing(ledger: Ledger, count: int = 4) -> str:
    """A batch of which one job has succeeded, and the others failed for two reasons."""
    jobs = [library.job(f"{number}.mov") for number in range(count)]
    chunk, _ = library.submitted(ledger, *jobs)
    ended = [library.remote("task-0")]
    ended += [
        library.failed(
            f"task-{n}", "invalid_input", f"Could not fetch s3://media/{n}.mov: HTTP 404"
        )
        for n in range(1, count - 1)
    ]
    ended += [library.failed(f"task-{count - 1}", "invalid_input", f"{HOSTILE} is no film")]
    ledger.write(settle, ended)
    return library.place(ledger, chunk).batch_id


def test_a_batch_shows_what_it_does_and_why_jobs_failed(ledger: Ledger, page: Page) -> None:
    """Failures are grouped by reason; hostile text is text."""
    batch = failing(ledger)
    html = page.get(f"/page/batches/{batch}")
    text = words(html)
    assert "Could not fetch …: HTTP 404" in text
    print(text)
    assert HOSTILE not in html
