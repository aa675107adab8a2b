"""A sandbox that dies and comes back has forgotten nothing."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ittybit_sandbox import SandboxConfig, create_app
from ittybit_sandbox.errors import ConfigurationError
from tests.sandbox.harness import Running, Sink, running, wait_for

PROGRAM = """
import sys
from ittybit_sandbox import SandboxConfig, serve
serve(SandboxConfig.model_validate_json(sys.argv[1]))
"""


@contextmanager
def started(**settings: object) -> Iterator[tuple["subprocess.Popen[str]", Running]]:
    """Run a sandbox in a process of its own, which is gone when the block ends."""
    raw = json.dumps({"port": 0} | settings, default=str)
    command = [sys.executable, "-c", PROGRAM, raw]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"Sandbox listening on (http://127\.0\.0\.1:\d+)\n", line)
            assert found, line
            sandbox = Running(found[1])
            yield process, sandbox
            sandbox.client.close()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """The exit status is 0, and no encoder is left behind."""
    with started(state_dir=tmp_path) as (process, sandbox):
        assert sandbox.client.get("/healthz").json() == {"status": "ok"}
        process.send_signal(number)
        assert process.wait(15) == 0


def test_a_killed_sandbox_goes_on_where_it_was(tmp_path: Path, media_url: str, sink: Sink) -> None:
    """Jobs, keys, endpoints and outputs are there; what was running is run again."""
    with started(state_dir=tmp_path, max_encodes=1) as (process, sandbox):
        sandbox.post({"url": f"{sink.url}/all"}, path="/webhooks")
        body = {"input": f"{media_url}/tone.wav", "kind": "audio", "metadata": {"n": 1}}
        done = sandbox.create(key="done", **body)
        before = sandbox.ended(done)
        wait_for(lambda: len(sink.received) == 1)
        wait_for(lambda: sandbox.summary()["deliveries_pending"] == 0)
        pending = [
            sandbox.create(key=f"pending{n}", **body | {"options": {"start": n / 10}})
            for n in range(1, 6)
        ]
        process.kill()
        process.wait(15)
    with (tmp_path / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"what":"job","id":"torn')

    with running(state_dir=tmp_path) as again:
        after = again.job(done)
        assert after == before
        assert again.post(body, key="done").status_code == 200
        for job_id in pending:
            assert again.ended(job_id)["status"] == "succeeded"
        wait_for(lambda: {one.body["id"] for one in sink.received} == {done, *pending})
        wait_for(lambda: again.summary()["deliveries_pending"] == 0)
        assert again.summary()["jobs_known"] == 6
        assert (tmp_path / "files" / done / "tone.mp3").is_file()
    times = [one.body["id"] for one in sink.received]
    assert times.count(done) == 1

    with running(state_dir=tmp_path) as third:
        assert third.summary()["jobs_by_status"] == {"succeeded": 6}
        assert third.summary()["deliveries"]["sent"] == 0


def test_a_webhook_that_was_not_acknowledged_is_sent_after_a_restart(
    tmp_path: Path, sink: Sink
) -> None:
    """The job had ended, its webhook had not arrived."""
    sink.answers = [503]
    with running(instant=True, state_dir=tmp_path, webhook_base_delay_s=60) as sandbox:
        job_id = sandbox.create(webhook_url=sink.url)
        wait_for(lambda: sink.received)
    with running(instant=True, state_dir=tmp_path):
        wait_for(lambda: len(sink.received) == 2)
    assert {received.body["id"] for received in sink.received} == {job_id}


def test_fail_once_is_remembered(tmp_path: Path) -> None:
    """The second attempt after a restart is still the second."""
    settings = {"instant": True, "state_dir": tmp_path}
    faults = {"jobs": [{"action": "fail_once"}]}
    with running(**settings, faults=faults) as sandbox:
        assert sandbox.run()["status"] == "failed"
    with running(**settings, faults=faults) as sandbox:
        assert sandbox.run()["status"] == "succeeded"


def test_a_deleted_endpoint_stays_deleted(tmp_path: Path) -> None:
    """So does one that was kept."""
    with running(instant=True, state_dir=tmp_path) as sandbox:
        kept, dropped = (
            sandbox.post({"url": f"https://example.com/{n}"}, path="/webhooks").json()
            for n in range(2)
        )
        sandbox.client.delete(f"/webhooks/{dropped['id']}").raise_for_status()
    with running(instant=True, state_dir=tmp_path) as sandbox:
        assert sandbox.client.get("/webhooks").json() == [kept]


def test_a_folder_belongs_to_one_sandbox_at_a_time(tmp_path: Path) -> None:
    """The second one raises an error."""
    with (
        running(instant=True, state_dir=tmp_path),
        pytest.raises(ConfigurationError, match="Another sandbox"),
    ):
        create_app(SandboxConfig(instant=True, state_dir=tmp_path))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file"):
        create_app(SandboxConfig(instant=True, state_dir=tmp_path / "file"))


def test_shutdown_kills_running_encoders(tmp_path: Path, media_url: str) -> None:
    """A long encode does not hold a shutdown up, and is not taken for a failure."""
    settings = {"state_dir": tmp_path, "max_encodes": 1}
    with running(**settings) as sandbox:
        job_id = sandbox.create(
            input=f"{media_url}/clip.mp4",
            options={"width": 7680, "codec": "av1", "fps": 60, "quality": "very_high"},
        )
        wait_for(lambda: sandbox.job(job_id)["tasks"][2]["status"] == "processing")
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert list((tmp_path / "work").iterdir()) == []
    assert b'"what":"end"' not in (tmp_path / "journal.jsonl").read_bytes()
