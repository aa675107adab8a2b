"""The receiver on two ports: webhooks for the internet, everything else for the inside."""

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.signature import HEADER, sign
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.receiver.serving import listen, parse_address
from ittybatch_local.ports import choose_ports
from tests.command_line import typed
from tests.receiver.api_client import AUTHORIZED, TOKEN
from tests.receiver.harness import (
    PATH,
    SECRET,
    Running,
    deliveries,
    payload,
    raw,
    wait_until,
)
from tests.receiver.test_serving import COMMAND, _environment

INSIDE = ("/readyz", "/metrics", "/jobs/1", "/openapi.json", "/page/", "/page/changes?x", "/")


class Two:
    """A receiver with two ports, as the command runs it."""

    def __init__(self, process: subprocess.Popen[bytes], public: int, private: int) -> None:
        self.process = process
        self.public = Running(public)
        self.private = Running(private)

    def is_up(self, log: Path) -> bool:
        assert self.process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return all(up.get("/healthz").status_code == 200 for up in (self.public, self.private))
        return False


@pytest.fixture(scope="module")
def two(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """A running receiver for the tests that leave it running."""
    folder = tmp_path_factory.mktemp("two")
    with _started(f"sqlite:///{shutil.copy(sqlite_template, folder)}", folder) as up:
        yield up


@pytest.fixture
def mortal(sqlite_url: str, tmp_path: Path) -> Iterator[Two]:
    """A running receiver for a test that ends it."""
    with _started(sqlite_url, tmp_path) as up:
        yield up


@contextlib.contextmanager
def _started(sqlite_url: str, tmp_path: Path) -> Iterator[Two]:
    ports = choose_ports(["public", "private"], tmp_path / "ports.json")
    environment = _environment(
        PORT=str(ports["public"]),
        ITTYBIT_WEBHOOK_SECRET=SECRET,
        ITTYBATCH_API_TOKEN=TOKEN,
        ITTYBATCH_HOME=str(tmp_path / "home"),
        DATABASE_URL=sqlite_url,
    )
    log = tmp_path / "log"
    command = [*COMMAND, "--private", f"127.0.0.1:{ports['private']}"]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    up = Two(process, ports["public"], ports["private"])
    try:
        wait_until(lambda: up.is_up(log), within_s=60)
        yield up
    finally:
        process.terminate()
        process.wait(30)


def test_the_public_port_has_webhooks_and_healthz_only(two: Two) -> None:
    """A token does not help there: what is not served cannot be attacked."""
    assert two.public.post(payload("task-1")).status_code == 200
    assert two.public.get("/healthz").text == "ok"
    for path in INSIDE:
        answer = two.public.get(path, AUTHORIZED)
        assert (answer.status_code, answer.text) == (404, "Not Found")


def test_the_private_port_has_everything_else(two: Two) -> None:
    """Probes, metrics and the API; no webhooks, which nobody sends there."""
    for path, status in zip(INSIDE, (200, 200, 404, 200, 200, 200, 303), strict=True):
        # One of them is a stream, which does not end.
        with httpx.stream(
            "GET", f"{two.private.url}{path}", headers=AUTHORIZED, timeout=20, trust_env=False
        ) as answer:
            assert answer.status_code == status, path
    assert two.private.get("/").headers["location"] == "page/"
    assert two.private.get("/jobs/1").status_code == 401
    assert two.private.get("/healthz").text == "ok"
    assert two.private.post(payload("task-1")).status_code == 404


def test_a_header_does_not_open_the_private_side(two: Two) -> None:
    """The socket's address decides, not what a client says of it."""
    host = f"127.0.0.1:{two.private.port}"
    for headers in ({"Host": host}, {"Host": host, "X-Forwarded-Port": str(two.private.port)}):
        assert two.public.get("/metrics", {**AUTHORIZED, **headers}).status_code == 404


def test_both_count_in_the_same_metrics(two: Two) -> None:
    """One process, one ledger, one set of figures."""
    sample = 'ittybatch_deliveries_total{verdict="unknown"}'
    before = two.private.metric(sample)
    two.public.post(payload("a task of nobody"))
    assert two.private.metric(sample) == before + 1


def test_one_signal_ends_both_with_every_answered_webhook_stored(
    mortal: Two, sqlite_url: str
) -> None:
    """Under load, within two seconds, with connections that stay open on both ports."""
    answered: list[str] = []
    stopping = threading.Event()

    def send(worker: int) -> None:
        with httpx.Client(timeout=5, trust_env=False) as client:
            for number in range(10_000):
                task = f"task-{worker}-{number}"
                try:
                    if mortal.public.post(payload(task)).status_code == 200:
                        answered.append(task)
                    client.get(f"{mortal.private.url}/healthz")
                except httpx.TransportError:
                    return
                if stopping.is_set():
                    return

    threads = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
    with mortal.public.connection(), mortal.private.connection():  # idle ones
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answered) > 20)
        started = time.monotonic()
        mortal.process.send_signal(signal.SIGTERM)
        mortal.process.wait(10)
        took_s = time.monotonic() - started
        stopping.set()
        for thread in threads:
            thread.join(10)
    assert took_s < 2
    ledger = Ledger(create_ledger_engine(sqlite_url))
    with contextlib.closing(ledger):
        assert set(answered) <= {row.task_id for row in deliveries(ledger)}


def test_requests_under_way_are_answered_and_stored_after_the_signal(
    mortal: Two, sqlite_url: str
) -> None:
    """Their bodies come when nobody new is let in any more."""
    tasks = ("task-1", "task-2", "task-3")
    with contextlib.ExitStack() as stack:
        begun = [(stack.enter_context(mortal.public.connection()), raw(payload(t))) for t in tasks]
        for connection, body in begun:
            signature = sign(body, SECRET.encode())
            head = (
                f"POST {PATH} HTTP/1.1\r\nHost: receiver\r\nExpect: 100-continue\r\n"
                f"{HEADER}: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        mortal.process.send_signal(signal.SIGTERM)
        wait_until(lambda: all(_refuses(up.port) for up in (mortal.public, mortal.private)))
        for connection, body in begun:
            connection.sendall(body)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert mortal.process.wait(10) in {0, -signal.SIGTERM}
    with contextlib.closing(Ledger(create_ledger_engine(sqlite_url))) as ledger:
        assert {row.task_id for row in deliveries(ledger)} == {*tasks}


def _refuses(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8301", ("127.0.0.1", 8301)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("localhost:8301", ("localhost", 8301)),
        ("[::1]:8301", ("::1", 8301)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    """IPv6 in brackets, as in URLs."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "8301", ":8301", "host", "host:", "host:x", "host:65536", "::1:8301"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """With an example; a host has to be named, so that nobody opens more than they mean to."""
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        parse_address(text)


def test_a_port_that_is_taken_is_named() -> None:
    """Instead of a stack trace."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)):
            listen("127.0.0.1", port)


def test_a_name_is_listened_on_at_each_of_its_addresses() -> None:
    """A name that has none is refused."""
    bound = listen("localhost", 0)
    assert bound
    for each in bound:
        each.close()
    with pytest.raises(ConfigurationError, match="nowhere"):
        listen("nowhere.invalid", 0)


def test_the_ports_have_to_differ(sqlite_url: str, tmp_path: Path) -> None:
    """One port cannot be both."""
    environment = _environment(PORT="8300", ITTYBIT_WEBHOOK_SECRET=SECRET, DATABASE_URL=sqlite_url)
    done = typed("receiver", "--private", "127.0.0.1:8300", environment=environment, cwd=tmp_path)
    assert done.returncode == 3
    assert "another port" in done.stdout + done.stderr
