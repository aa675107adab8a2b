"""The guides' requests to Ittybit, sent to the sandbox; webhooks go to our receiver."""

import json
from pathlib import Path
from typing import Any

import pytest

from ittybatch.ledger import Ledger
from tests.guides.blocks import ITTYBIT, run_javascript, run_python, run_shell
from tests.receiver.harness import PATH, deliveries, wait_until
from tests.receiver.harness import Running as Receiver
from tests.sandbox.harness import KEY
from tests.sandbox.harness import Running as Sandbox

RAILWAY = "https://your-app.up.railway.app/webhooks/ittybit"
CLIPPABLE = "https://clippable-app.com/webhooks/ittybit"
LAMBDA = "https://xyz.lambda-url.us-east-1.on.aws/webhook"
EVENT = {"detail": {"bucket": {"name": "my-media-bucket"}, "object": {"key": "uploads/video.mov"}}}
IMPORTS = "import json, os, urllib.request\n"


def received(ledger: Ledger, count: int) -> list[str]:
    """The task ids of the webhooks that the receiver has kept, once there are so many."""
    wait_until(lambda: len(deliveries(ledger)) >= count)
    return [str(each.task_id) for each in deliveries(ledger)]


@pytest.mark.parametrize("name", ["000_create.sh", "004_dispatch.sh"])
def test_a_curl_line_creates_a_job(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    """Guides 000 and 004 print it; the answer has an id and says `pending`."""
    [job] = run_shell(name, {ITTYBIT: sandbox.url}, tmp_path, ITTYBIT_API_KEY=KEY)
    assert job["id"].startswith("task_")
    assert job["status"] == "pending"
    assert sandbox.ended(job["id"])["status"] == "succeeded"


@pytest.mark.parametrize("name", ["000_create.js", "000_action.js"])
def test_a_server_action_creates_a_job(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    """Guide 000, with and without metadata."""
    [job] = run_javascript(name, {ITTYBIT: sandbox.url}, tmp_path, ITTYBIT_API_KEY=KEY)
    assert job["status"] == "pending"
    metadata = {"media_id": "ckx0"} if name == "000_action.js" else {}
    assert sandbox.ended(job["id"])["metadata"] == metadata


def test_three_curl_lines_for_one_upload_give_three_webhooks(
    sandbox: Sandbox, receiver: Receiver, ledger: Ledger, tmp_path: Path
) -> None:
    """Guide 001: each task completes by itself and fires its own webhook."""
    replaced = {ITTYBIT: sandbox.url, RAILWAY: f"{receiver.url}{PATH}"}
    jobs = run_shell("001_tasks.sh", replaced, tmp_path, ITTYBIT_API_KEY=KEY)
    assert len(jobs) == 3
    assert sorted(received(ledger, 3)) == sorted(job["id"] for job in jobs)


def test_three_tasks_sent_together_give_three_webhooks(
    sandbox: Sandbox, receiver: Receiver, ledger: Ledger, tmp_path: Path
) -> None:
    """Guide 001, as JavaScript."""
    replaced = {
        ITTYBIT: sandbox.url,
        "your-app.up.railway.app": receiver.url.removeprefix("http://"),
        "https://${": "http://${",
    }
    [jobs] = run_javascript("001_tasks.js", replaced, tmp_path, ITTYBIT_API_KEY=KEY)
    assert sorted(received(ledger, 3)) == sorted(job["id"] for job in jobs)


@pytest.mark.parametrize("language", ["sh", "js", "python.txt"])
def test_a_job_with_a_webhook_url_reports_to_the_receiver(
    sandbox: Sandbox, receiver: Receiver, ledger: Ledger, tmp_path: Path, language: str
) -> None:
    """Guide 002, in each of its languages."""
    name = f"002_job.{language}"
    replaced = {ITTYBIT: sandbox.url, CLIPPABLE: f"{receiver.url}{PATH}"}
    match language:
        case "sh":
            [job] = run_shell(name, replaced, tmp_path, ITTYBIT_API_KEY=KEY)
        case "js":
            [job] = run_javascript(name, replaced, tmp_path, ITTYBIT_API_KEY=KEY)
        case _:
            before = f"import json\napi_key = {KEY!r}"
            [job] = run_python(
                name, replaced, tmp_path, before=before, after="print(json.dumps(data))"
            )
    assert received(ledger, 1) == [job["id"]]


def test_the_manual_test_of_the_lambda_runs(
    sandbox: Sandbox, receiver: Receiver, ledger: Ledger, tmp_path: Path
) -> None:
    """Guide 003: an object of a connected bucket, with the metadata of its source."""
    replaced = {ITTYBIT: sandbox.url, LAMBDA: f"{receiver.url}{PATH}"}
    [job] = run_shell("003_dispatch.sh", replaced, tmp_path, ITTYBIT_API_KEY=KEY)
    assert received(ledger, 1) == [job["id"]]
    assert sandbox.job(job["id"])["options"]["connection_id"] == "conn_abc123"
    assert sandbox.job(job["id"])["metadata"]["source_key"] == "uploads/video.mov"


def test_the_dispatch_lambda_runs(
    sandbox: Sandbox, receiver: Receiver, ledger: Ledger, tmp_path: Path
) -> None:
    """Guide 003, as Python."""
    call = f"print = lambda *_: None\ndata = handler({EVENT!r}, None)"
    [job] = run_python(
        "003_dispatch.python.txt",
        {ITTYBIT: sandbox.url},
        tmp_path,
        before=IMPORTS,
        after=f"{call}\nimport sys\nsys.stdout.write(json.dumps(data))",
        **lambda_environment(receiver),
    )
    assert received(ledger, 1) == [job["id"]]


def test_several_kinds_for_one_object_give_a_webhook_each(
    sandbox: Sandbox, receiver: Receiver, ledger: Ledger, tmp_path: Path
) -> None:
    """Guide 003: video, thumbnail and sound from the same dispatch."""
    environment = lambda_environment(receiver) | {"EVENT": json.dumps(EVENT)}
    run_javascript("003_tasks.js", {ITTYBIT: sandbox.url}, tmp_path, **environment)
    received(ledger, 3)
    rows: list[dict[str, Any]] = sandbox.client.get("/jobs").json()
    assert {row["kind"] for row in rows} == {"video", "image", "audio"}


def test_a_registered_endpoint_gets_what_names_no_webhook_url(
    sandbox: Sandbox, receiver: Receiver, ledger: Ledger, tmp_path: Path
) -> None:
    """Guide 004: the registration, then the task, both by curl."""
    ours = {"https://your-project.supabase.co/functions/v1/ittybit-callback": receiver.url + PATH}
    registration = {ITTYBIT: sandbox.url, **ours}
    [endpoint] = run_shell("004_register.sh", registration, tmp_path, ITTYBIT_API_KEY=KEY)
    assert endpoint["events"] == ["job.succeeded", "job.failed"]
    dispatch = {ITTYBIT: sandbox.url, "your-uuid-here": "9e107d9d-372b-4f3e-9d6b-0a1b2c3d4e5f"}
    [job] = run_shell("004_dispatch.sh", dispatch, tmp_path, ITTYBIT_API_KEY=KEY)
    assert received(ledger, 1) == [job["id"]]


def lambda_environment(receiver: Receiver) -> dict[str, str]:
    """The variables of guide 003's dispatch function."""
    return {
        "ITTYBIT_API_KEY": KEY,
        "WEBHOOK_URL": f"{receiver.url}{PATH}",
        "ITTYBIT_CONNECTION_ID": "conn_abc123",
    }
