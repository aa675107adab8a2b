"""The receiver as a service: its pages, its port, its end."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.stack.ports import choose_ports
from tests.ledger import library
from tests.receiver.harness import SECRET, Running, running, told, wait_until

COMMAND = [sys.executable, "-m", "ittybatch", "receiver"]


def test_it_says_that_it_lives_and_is_ready(receiver: Running) -> None:
    """To whoever restarts it, and to whoever sends it traffic."""
    for path, text in (("/healthz", "ok"), ("/readyz", "ready")):
        answer = receiver.get(path)
        assert (answer.status_code, answer.text) == (200, text)


def test_it_is_not_ready_before_its_tables_are_there(tmp_path: Path) -> None:
    """It lives, and says which command is missing; webhooks are to come again."""
    with running(f"sqlite:///{tmp_path / 'empty.db'}") as up:
        assert up.get("/healthz").status_code == 200
        answer = up.get("/readyz")
        assert answer.status_code == 503
        assert "ittybatch db upgrade" in answer.text
        assert up.post(told("task-1")).status_code == 503
        assert up.get("/metrics").status_code == 200


def test_it_tells_its_figures(receiver: Running, ledger: Ledger) -> None:
    """For Prometheus: webhooks by verdict, refusals by status, commits, jobs by state."""
    library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    receiver.post(told("task-0"))
    receiver.post(told("task-0"), signature="forged")
    answer = receiver.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for sample in (
        'ittybatch_deliveries_total{verdict="applied"} 1.0',
        'ittybatch_webhooks_refused_total{status="401"} 1.0',
        "ittybatch_commit_deliveries_count 1.0",
        "ittybatch_commit_seconds_count 1.0",
        'ittybatch_jobs{state="in_flight"} 1.0',
    ):
        assert sample in answer.text


def test_other_addresses_are_not_found(receiver: Running) -> None:
    """There is nothing else to see, not even a server's name."""
    answer = receiver.get("/")
    assert answer.status_code == 404
    assert "server" not in answer.headers


def _environment(**given: str) -> dict[str, str]:
    return {**os.environ, **given}


def test_the_command_listens_on_port_and_ends_when_told(sqlite_url: str, tmp_path: Path) -> None:
    """`PORT` is what hosting services set; SIGTERM is how they end it."""
    port = choose_ports(["receiver"], tmp_path / "ports.json")["receiver"]
    environment = _environment(
        PORT=str(port), ITTYBIT_WEBHOOK_SECRET=SECRET, DATABASE_URL=sqlite_url
    )
    ledger = Ledger(create_ledger_engine(sqlite_url))
    chunk, _ = library.submitted(ledger, library.job("a.mov"))
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(COMMAND, env=environment, stdout=output, stderr=output)
    up = Running(port)

    def healthy() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return up.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(healthy, within_s=60)
        assert up.post(told("task-0")).text == "applied"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert SECRET not in log.read_text()
    with closing(ledger):
        assert library.place(ledger, chunk).succeeded == 1


@pytest.mark.parametrize("secret", ["", " , "])
def test_the_command_refuses_to_run_without_a_secret(sqlite_url: str, secret: str) -> None:
    """Exit status 3: it could not run; and the remedy is told."""
    environment = _environment(ITTYBIT_WEBHOOK_SECRET=secret, DATABASE_URL=sqlite_url, PORT="0")
    done = subprocess.run(
        COMMAND, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "ITTYBIT_WEBHOOK_SECRET" in done.stdout + done.stderr
