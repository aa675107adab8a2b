"""The receiver as a service: its pages, its port, its end."""

import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.migrate import upgrade
from ittybatch_local.ports import choose_ports
from tests.command_line import typed
from tests.ledger import library
from tests.receiver.harness import SECRET, Running, payload, running, wait_until

COMMAND = [sys.executable, "-m", "ittybatch", "receiver"]


def test_it_says_that_it_lives_and_is_ready(receiver: Running) -> None:
    """To whoever restarts it, and to whoever sends it traffic."""
    for path, said in (("/healthz", "ok"), ("/readyz", "ready")):
        answer = receiver.get(path)
        assert (answer.status_code, answer.text) == (200, said)


def test_it_stays_ready_when_the_ledger_is_upgraded_before_it(
    receiver: Running, ledger: Ledger
) -> None:
    """Receivers are restarted last, and newer tables serve them."""
    for revision, status in (("0001", 503), ("9999", 200)):
        change = text(f"UPDATE alembic_version SET version_num = '{revision}'")
        ledger.write(lambda tx, change=change: tx.execute(change))  # type: ignore[misc]
        wait_until(lambda status=status: receiver.get("/readyz").status_code == status)  # type: ignore[misc]


def test_it_is_not_ready_before_its_tables_are_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It lives; its log says once which command is missing, and strangers learn nothing."""
    caplog.set_level(logging.INFO)
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    with running(url) as up:
        assert up.get("/healthz").status_code == 200
        for _ in range(5):
            answer = up.get("/readyz")
            assert (answer.status_code, answer.text) == (503, "not ready")
        assert up.post(payload("task-1")).status_code == 503
        assert up.get("/metrics").status_code == 200
        ledger = Ledger(create_ledger_engine(url))
        upgrade(ledger)
        ledger.close()
        wait_until(lambda: up.get("/readyz").text == "ready")
    said = [each.getMessage() for each in caplog.records if each.name == "ittybatch.receiver.pages"]
    assert len(said) == 2
    assert "ittybatch db upgrade" in said[0]
    assert said[1] == "Ready again."


def test_a_database_that_is_away_is_not_described_to_strangers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its host, its user and what it said stand in the log alone."""
    port = choose_ports(["nobody"], tmp_path / "ports.json")["nobody"]
    url = f"postgresql://someone:password@127.0.0.1:{port}/ledger"
    with running(url) as up:
        answers = [up.get("/readyz"), up.post(payload("task-1")), up.get("/metrics")]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    for answer in answers:
        assert not {"someone", str(port), "127.0.0.1"} & set(answer.text.split())
        assert "onnection refused" not in answer.text
        assert "someone" not in answer.text
    assert "someone" in caplog.text
    assert "password@" not in caplog.text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_the_figures_are_not_for_those_whom_a_proxy_lets_in(receiver: Running, header: str) -> None:
    """It sits on this machine, its clients do not."""
    answer = receiver.get("/metrics", {header: "203.0.113.9"})
    assert answer.status_code == 403
    assert "ITTYBATCH_METRICS_TOKEN" in answer.text
    assert "ittybatch_" not in answer.text


def test_the_figures_are_for_this_machine_alone(sqlite_url: str) -> None:
    """Whoever comes from another address needs the token that is set for it."""
    with running(sqlite_url, host="0.0.0.0") as up:
        assert up.get("/metrics").status_code == 200
        elsewhere = replace_host(up, own_address())
        assert elsewhere.get("/healthz").status_code == 200
        assert elsewhere.get("/metrics").status_code == 403


def test_a_token_opens_the_figures(sqlite_url: str) -> None:
    """From anywhere; without it they are closed, to this machine as well."""
    with running(sqlite_url, metrics_token="open sesame") as up:
        answer = up.get("/metrics")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        for wrong in ("Bearer open", "Bearer", "open sesame", "Basic open sesame"):
            assert up.get("/metrics", {"Authorization": wrong}).status_code == 401
        token = {"Authorization": "Bearer open sesame", "X-Forwarded-For": "203.0.113.9"}
        assert up.get("/metrics", token).status_code == 200
        assert up.get("/readyz").status_code == 200


def own_address() -> str:
    """An address of this machine that is not its loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing, only finds the way out
        return str(probe.getsockname()[0])


def replace_host(up: Running, host: str) -> Running:
    other = Running(up.port)
    other.url = f"http://{host}:{up.port}"
    return other


def test_it_tells_its_figures(receiver: Running, ledger: Ledger) -> None:
    """For Prometheus: webhooks by verdict, refusals by status, commits, jobs by state."""
    library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    receiver.post(payload("task-0"))
    receiver.post(payload("task-0"), signature="forged")
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
    answer = receiver.get("/nothing")
    assert answer.status_code == 404
    assert "server" not in answer.headers
    page = receiver.get("/")
    assert (page.status_code, page.headers["location"]) == (303, "page/")


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
        assert up.post(payload("task-0")).text == "applied"
        before = log.read_text()
        for _ in range(3):
            assert up.get("/readyz").text == "ready"
        assert log.read_text() == before
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert SECRET not in log.read_text()
    with closing(ledger):
        assert library.place(ledger, chunk).succeeded == 1


@pytest.mark.parametrize("secret", ["", " , "])
def test_the_command_refuses_to_run_without_a_secret(
    sqlite_url: str, tmp_path: Path, secret: str
) -> None:
    """Exit status 3: it could not run; the message names the remedy."""
    environment = _environment(ITTYBIT_WEBHOOK_SECRET=secret, DATABASE_URL=sqlite_url, PORT="0")
    done = typed("receiver", environment=environment, cwd=tmp_path)
    assert done.returncode == 3
    assert "ITTYBIT_WEBHOOK_SECRET" in done.stdout + done.stderr
