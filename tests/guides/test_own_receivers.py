"""Receivers that were written for Ittybit's webhooks get our results, unchanged."""

import os
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ittybatch_local.ports import choose_ports
from ittybatch_local.process import ProcessSpec
from ittybatch_local.supervisor import Supervisor
from tests.guides.blocks import block
from tests.guides.server import serving
from tests.receiver.harness import wait_until
from tests.sandbox.harness import Running as Sandbox
from tests.sandbox.harness import serving as serving_http
from tests.sinks.test_dynamodb import items

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

SECRET = "a secret of the user's own"
SINK = """
sinks:
  - name: app
    kind: http
    url: ${{RESULTS_URL}}
    secret: ${{RESULTS_SECRET}}
    form: {form}
"""
REQUEST = {
    "url": "https://example.com/uploads/video.mov",
    "metadata": {"source_bucket": "my-media-bucket", "source_key": "uploads/video.mov"},
}


def declared(folder: Path, form: str) -> Path:
    """A results.yaml with one HTTP sink."""
    path = folder / "results.yaml"
    path.write_text(SINK.format(form=form))
    return path


@pytest.fixture
def flask(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The Flask receiver of guide 002 in a process of its own: its URL and what it prints."""
    port = choose_ports(["flask"], tmp_path / "ports.json")["flask"]
    program = f"import os\n{block('002_receive.python.txt')}\napp.run(port={port})\n"
    url, log = f"http://127.0.0.1:{port}/webhooks/ittybit", tmp_path / "flask.log"

    def answers() -> bool:
        try:
            return httpx.post(url, trust_env=False).status_code == 401
        except httpx.HTTPError:
            return False

    spec = ProcessSpec(
        name="flask",
        command=(sys.executable, "-uc", program),
        log=log,
        environment={"PATH": os.environ["PATH"], "ITTYBIT_WEBHOOK_SECRET": SECRET},
        cwd=tmp_path,
        is_ready=answers,
    )
    with Supervisor() as supervisor:
        supervisor.launch(spec)
        supervisor.await_ready("flask")
        yield url, log


def test_the_flask_receiver_gets_our_results(
    sandbox: Sandbox,
    sqlite_url: str,
    tmp_path: Path,
    flask: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guide 002: it verifies our signature, and reads the success and the failure."""
    url, log = flask
    monkeypatch.setenv("RESULTS_URL", url)
    monkeypatch.setenv("RESULTS_SECRET", SECRET)
    error = {"kind": "invalid_input", "message": "could not decode the input"}
    rule = {"match": {"input": "*bad*"}, "action": "fail_always", "error": error}
    sandbox.client.post("/_sandbox/faults", json={"jobs": [rule]}).raise_for_status()
    with serving(sandbox, sqlite_url, tmp_path, results=declared(tmp_path, "flat")) as server:
        good = server.ended(server.taken(REQUEST)["job_id"])
        bad = server.ended(server.taken({"url": "https://example.com/bad.mov"})["job_id"])
        wait_until(lambda: log.read_text().count("Task task_") == 2)
    printed = log.read_text()
    assert f"Task {good['task_id']} completed: {good['output_url']}" in printed
    assert f"Task {bad['task_id']} failed: could not decode the input" in printed


def test_the_webhook_lambda_gets_our_results(
    sandbox: Sandbox,
    sqlite_url: str,
    tmp_path: Path,
    table: "Table",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guide 003: behind its gateway, it writes the item from our envelope."""
    program: dict[str, Any] = {"print": lambda *_: None}
    monkeypatch.setenv("TABLE_NAME", table.name)
    exec("import json, os, boto3\n" + block("003_store.python.txt"), program)

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = program["handler"]({"body": body.decode()}, None)
            self.send_response(answer["statusCode"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            return

    with serving_http(Gateway) as url:
        monkeypatch.setenv("RESULTS_URL", url)
        monkeypatch.setenv("RESULTS_SECRET", SECRET)
        results = declared(tmp_path, "envelope")
        with serving(sandbox, sqlite_url, tmp_path, results=results) as server:
            done = server.ended(server.taken(REQUEST)["job_id"])
            wait_until(lambda: items(table))
    program["table"].meta.client.close()
    [item] = items(table)
    assert (item["pk"], item["sk"]) == ("uploads/video.mov", f"task#{done['task_id']}")
    assert (item["status"], item["output_url"]) == ("completed", done["output_url"])


def test_our_own_sink_writes_the_item_without_a_lambda(
    sandbox: Sandbox, sqlite_url: str, tmp_path: Path, table: "Table"
) -> None:
    """Guide 003's table, filled as jobs end."""
    results = tmp_path / "results.yaml"
    results.write_text(f"sinks:\n  - {{name: items, kind: dynamodb, table: {table.name}}}\n")
    with serving(sandbox, sqlite_url, tmp_path, results=results) as server:
        done = server.ended(server.taken(REQUEST)["job_id"])
        wait_until(lambda: items(table))
    [item] = items(table)
    assert (item["pk"], item["sk"]) == ("uploads/video.mov", f"task#{done['task_id']}")
    assert (item["status"], item["output_url"]) == ("succeeded", done["output_url"])
    assert {"kind", "created_at", "completed_at", "duration_ms"} <= set(item)
