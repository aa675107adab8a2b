"""Answers of a user's address that break off, or have headers that cannot be read."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ittybatch.sinks.base import SinkUnavailable
from tests.sinks.conftest import SECRET, OpenHttp
from tests.sinks.results import errors, succeeded


@contextmanager
def answering(answer: bytes, *, hangs: bool = False) -> Iterator[str]:
    """Serve an address that answers each request with these bytes, and closes or hangs."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            received = b""
            while b"\r\n\r\n" not in received or not received.endswith(b"}"):
                if not (more := connection.recv(65_536)):
                    return
                received += more
            connection.sendall(answer)
            if hangs:
                over.wait(20)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
        over.set()
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def deliver(
    open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[int, str | None]]:
    """Deliver five results to such an address."""
    monkeypatch.setenv("RESULTS_SECRET", SECRET)

    def deliver_to(answer: bytes, *, hangs: bool = False) -> dict[int, str | None]:
        with answering(answer, hangs=hangs) as url:
            sink = open_http(url, timeout_s=5)
            return errors(sink.deliver([succeeded(number) for number in range(5)]))

    return deliver_to


@pytest.mark.parametrize("hangs", [False, True])
def test_a_status_counts_though_its_body_breaks_off(
    deliver: Callable[..., dict[int, str | None]], *, hangs: bool
) -> None:
    """The app has taken the result, and would get it again without end."""
    taken = deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", hangs=hangs)
    assert taken == dict.fromkeys(range(5))
    refused = deliver(b"HTTP/1.1 422 No\r\nContent-Length: 200\r\n\r\nno su", hangs=hangs)
    assert set(refused.values()) <= {"HTTP 422", "HTTP 422: no su"}
    assert len(refused) == 5


@pytest.mark.parametrize(
    "asked",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2027 00:00:00 +9999999",
        "1e999",
    ],
)
def test_a_time_to_wait_that_cannot_be_read_is_none(
    deliver: Callable[..., dict[int, str | None]], asked: str
) -> None:
    """The sink is unavailable because of the status, and for no other reason."""
    head = f"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: {asked}\r\n\r\n"
    with pytest.raises(SinkUnavailable, match="HTTP 503"):
        deliver(head.encode())
