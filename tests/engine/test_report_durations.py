"""Outputs that are shorter than they should be, by the duration of the input."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ittybatch.engine.reporting import write_report
from ittybatch.engine.reports.checks import OutputChecks
from ittybatch.engine.reports.durations import DurationLookup, Durations
from ittybatch.ittybit.job import Output
from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.results import Result, result_pages
from ittybatch.settings import Settings
from tests.engine.reports import output, settled_batch
from tests.sandbox.harness import KEY, make_media, serving
from tests.sandbox.harness import running as run_sandbox


class Api:
    """Answers every request in the same way, and counts them."""

    def __init__(self) -> None:
        self.answer: tuple[int, object] = (200, {})
        self.asked: list[str] = []


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """One database is enough: the ledger is not what is tested."""
    opened = Ledger(create_ledger_engine(sqlite_url))
    yield opened
    opened.close()


@pytest.fixture
def api() -> Api:
    """Ittybit's side."""
    return Api()


@pytest.fixture
def settings(api: Api, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a server that gives the test's answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.asked.append(self.path)
            status, body = api.answer
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    yield Settings(home=tmp_path, api_key=SecretStr("key"), api_url=url)
    server.shutdown()
    thread.join()
    server.server_close()


def job(duration: object = 20.0) -> tuple[int, dict[str, Any]]:
    """A job whose probe found this duration, as https://ittybit.com/api/get-job shows it."""
    probe = {"kind": "probe", "output": {"object": "file", "url": "u", "duration": duration}}
    return 200, {"id": "task-0", "object": "job", "status": "succeeded", "tasks": [probe]}


def check(ledger: Ledger, batch: str, settings: Settings) -> dict[str, int]:
    return dict(write_report(ledger, batch, [], check_outputs=True, settings=settings).tally.checks)


@pytest.mark.parametrize(
    ("options", "result"),
    [
        ({}, "too_short"),
        ({"start": 5}, "too_short"),
        ({"start": 7}, "unknown"),
        ({"start": 7.5, "end": 500}, "unknown"),
        ({"end": 13}, "unknown"),
        ({"start": 2, "end": 14}, "unknown"),
        ({"end": 15}, "too_short"),
    ],
)
def test_an_output_is_compared_with_what_was_asked_of_its_input(
    ledger: Ledger, settings: Settings, api: Api, options: dict[str, float], result: str
) -> None:
    """12.5 seconds of an input of 20. `unknown`: nothing can be fetched in this test."""
    api.answer = job()
    batch = settled_batch(ledger, {"a.mov": output("s3://B/a")}, options=options)
    assert check(ledger, batch, settings) == {result: 1}


@pytest.mark.parametrize(
    "answer",
    [
        (404, {"error": "job_not_found"}),
        (200, {"id": "task-0", "status": "succeeded"}),
        (200, {"id": "task-0", "tasks": ["?", {"kind": "probe"}]}),
        job("long"),
        job(None),
        job(0),
    ],
)
def test_without_a_known_duration_nothing_is_compared(
    ledger: Ledger, settings: Settings, api: Api, answer: tuple[int, object]
) -> None:
    """A failed request does not stop the report either."""
    api.answer = answer
    batch = settled_batch(ledger, {"a.mov": output("s3://B/a")})
    assert check(ledger, batch, settings) == {"unknown": 1}


@pytest.mark.parametrize(
    ("told_s", "result"), [(0.0, "too_short"), (9.0, "too_short"), (20.0, "unknown")]
)
def test_a_webhook_without_the_outputs_duration_is_made_up_for(
    ledger: Ledger, settings: Settings, api: Api, told_s: float, result: str
) -> None:
    """In envelope form it has a URL alone; the job at Ittybit has the duration."""
    status, answer = job()
    api.answer = (status, {**answer, "output": {"url": "s3://B/a", "duration": told_s}})
    alone = Output("s3://B/a", None, None, None, None, None, {})
    assert check(ledger, settled_batch(ledger, {"a.mov": alone}), settings) == {result: 1}
    assert len(api.asked) == 1


def test_an_input_is_asked_for_once(ledger: Ledger, settings: Settings, api: Api) -> None:
    """Pictures have no duration, and are not asked for."""
    api.answer = job()
    batch = settled_batch(ledger, {name: output("s3://B/a") for name in ("a", "b")})
    pictures = settled_batch(ledger, {"c": output("s3://B/c")}, kind=Kind.IMAGE)
    durations = DurationLookup(settings)
    (rows,) = result_pages(ledger, batch)
    assert durations.of([*rows, *rows]).inputs == {"s3://media/a": 20.0, "s3://media/b": 20.0}
    assert len(api.asked) == 2
    (rows,) = result_pages(ledger, pictures)
    assert durations.of(rows) == Durations()
    assert len(api.asked) == 2


def test_a_cut_output_is_found_with_the_sandbox(ledger: Ledger, tmp_path: Path) -> None:
    """Its probe tells the length of a real input: 8 seconds, of which the output has 3."""
    film = ("-f", "lavfi", "-i", "testsrc=duration=8:size=64x48:rate=10", "-pix_fmt", "yuv420p")
    make_media(tmp_path / "a.mp4", *film)

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, _path: str) -> str:
            return str(tmp_path / "a.mp4")

        def log_message(self, *_args: object) -> None:
            return

    batch = settled_batch(ledger, {"a.mp4": output("unused")})
    [[row]] = result_pages(ledger, batch)
    with serving(Handler) as url, run_sandbox() as sandbox:
        settings = Settings(home=tmp_path, api_key=SecretStr(KEY), api_url=sandbox.url)
        cut = sandbox.run(input=f"{url}/a.mp4", options={"end": 3})
        whole = sandbox.run(input=f"{url}/a.mp4")
        with OutputChecks(DurationLookup(settings)) as checks:
            [found_cut] = checks.check([_of_sandbox(row, cut)])
            [found_whole] = checks.check([_of_sandbox(row, whole)])
    assert (found_cut.check, found_whole.check) == ("too_short", "ok")


def _of_sandbox(row: Result, job: dict[str, Any]) -> Result:
    """The row of a job without options, with what this job of the sandbox has made."""
    made = job["tasks"][-1]["output"]
    return replace(
        row,
        task_id=job["id"],
        options="{}",
        output_url=made["url"],
        size_bytes=made["size"],
        duration_s=made["duration"],
    )
