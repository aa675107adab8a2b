"""Downloads of reports: as long as somebody reads them, few at a time, with what things cost."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

import pytest

from ittybatch.ledger import Ledger
from ittybatch.page import batch_reports, pipe
from ittybatch.receiver import protocol
from tests.page.steering import Page, failing, words
from tests.receiver.harness import running, wait_until

PART = b"x" * 100_000
Writes = Callable[[IO[bytes]], object]


@pytest.fixture
def ledger_url(sqlite_url: str) -> str:
    """Nothing here depends on the database."""
    return sqlite_url


@pytest.fixture
def page(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page whose server cuts an answer after a second."""
    monkeypatch.setattr(protocol, "ANSWER_WITHIN_S", 1.0)
    monkeypatch.setattr(protocol, "_CHECK_EVERY_S", 0.1)
    monkeypatch.setattr(protocol, "_CLOSE_WITHIN_S", 0.5)
    monkeypatch.setattr(pipe, "_LOOK_EVERY_S", 0.2)
    with running(ledger_url, kind_costs={"video": 0.25}) as receiver:
        yield Page(receiver)


@pytest.fixture
def report(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Callable[[Writes], str]:
    """The address of a report that is written as a test wants it."""

    def written(write: Writes) -> str:
        def instead(stream: IO[bytes], **_: Any) -> None:  # noqa: ANN401
            write(stream)

        monkeypatch.setattr(batch_reports, "_write", instead)
        return f"/page/batches/{failing(ledger, 1)}/report.csv"

    return written


def test_a_download_that_is_read_may_take_longer_than_any_other_answer(
    page: Page, report: Callable[[Writes], str]
) -> None:
    """Also one that is not begun at once: totals need all jobs first."""

    def write(stream: IO[bytes]) -> None:
        time.sleep(1.5)
        for _ in range(6):
            stream.write(PART)
            time.sleep(0.3)

    began = time.monotonic()
    assert page.get(report(write)).encode() == PART * 6
    assert time.monotonic() - began > 3


def test_a_download_that_nobody_reads_is_cut(page: Page, report: Callable[[Writes], str]) -> None:
    """Its thread and its place are free again."""
    ended = threading.Event()

    def write(stream: IO[bytes]) -> None:
        try:
            while True:
                stream.write(PART)
        finally:
            ended.set()

    path = report(write)
    host, _, port = page.url.removeprefix("http://").partition(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        assert ended.wait(10)
    assert page.get(report(lambda stream: stream.write(b"all"))) == "all"


def test_a_third_download_at_once_is_told_to_wait(
    page: Page, report: Callable[[Writes], str]
) -> None:
    """Each takes a thread and a connection that webhooks may need."""
    go_on = threading.Event()
    begun = []

    def write(stream: IO[bytes]) -> None:
        begun.append(1)
        assert go_on.wait(10)
        stream.write(b"all")

    path = report(write)
    found: list[str] = []
    others = [threading.Thread(target=lambda: found.append(page.get(path))) for _ in range(2)]
    for each in others:
        each.start()
    wait_until(lambda: len(begun) == 2)
    refused = page.get(path, 503)
    assert "2 reports are being downloaded already" in refused
    assert "-o report.csv" in refused
    go_on.set()
    for each in others:
        each.join(10)
    assert found == ["all", "all"]
    assert page.get(path) == "all"


def test_a_report_has_costs_and_a_workbook_is_left_to_the_command(
    page: Page, ledger: Ledger
) -> None:
    """A large workbook takes memory and CPU that webhooks need."""
    batch = failing(ledger, 3)
    at = f"/page/batches/{batch}"
    assert "0.75" in words(page.get(f"{at}/report.html"))
    page.get(f"{at}/report.xlsx", 404)
    shown = page.get(at)
    assert "report.xlsx" not in "".join(part for part in shown.split('"') if part.startswith("/"))
    why = "As an Excel workbook, which takes too much memory for this server:"
    assert f"{why} ittybatch report {batch} -o report.xlsx" in words(shown)
