"""The API's page: its curl lines are run against a receiver and a sandbox."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ittybatch.receiver.api.models import JobDetails, ProcessRequest
from ittybatch.settings import CHECKOUT
from tests.docs.pages import Fence, fences, first_cells
from tests.receiver.api_client import TOKEN, Api
from tests.receiver.harness import SECRET
from tests.receiver.test_api_jobs import connected
from tests.sandbox import harness as sandboxes

PAGE = "docs/api.md"
COMMANDS = fences("sh", what="api")


@pytest.fixture(scope="module")
def api(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A receiver on a ledger that all examples share, in their order."""
    folder = tmp_path_factory.mktemp("api-page")
    ledger = folder / "ledger.db"
    ledger.write_bytes(sqlite_template.read_bytes())
    with (
        sandboxes.running(instant=True, webhook_secret=SECRET) as sandbox,
        connected(f"sqlite:///{ledger}", folder, api_url=sandbox.url) as client,
    ):
        yield client


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_curl_line_can_be_used_as_it_stands(api: Api, command: Fence) -> None:
    """With the two variables that the page names."""
    done = subprocess.run(
        ["sh", "-ec", command.text.replace("curl ", "curl --silent --show-error --fail ", 1)],
        env={"PATH": os.environ["PATH"], "RECEIVER": api.up.url, "ITTYBATCH_API_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    shown = shown_answers()["GET" if "/jobs/" in command.text else "POST"]
    assert set(answer) == set(shown)


def shown_answers() -> dict[str, dict[str, object]]:
    """The answers that the page shows: the first of a request, then that of a question."""
    taken, row, _ = (json.loads(each.text) for each in fences("json", what="answer"))
    return {"POST": taken, "GET": row}


def test_the_page_shows_every_form_of_request() -> None:
    """One job, several, a profile, a question, a repeat."""
    assert len(COMMANDS) == 5


def test_the_answers_shown_have_the_fields_of_the_answers() -> None:
    """None is missing, none is invented."""
    shown = shown_answers()
    assert set(shown["GET"]) == set(JobDetails.model_fields)


def test_the_fields_of_a_request_are_explained() -> None:
    """Each in the table, or in a chapter of its own."""
    text = (CHECKOUT / PAGE).read_text()
    explained = first_cells(PAGE, "Make one job")
    for name in ProcessRequest.model_fields:
        assert name in explained or f"`{name}`" in text
