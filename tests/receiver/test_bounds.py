"""What one connection may cost the receiver: bytes, headers and time, each with a bound."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from ittybatch.ittybit.signature import HEADER, sign
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.receiver import protocol
from tests.receiver.harness import PATH, SECRET, Running, deliveries, payload, raw, running

BODY = raw(payload("task-1"))
POST = b"POST %s HTTP/1.1" % PATH.encode()
HOST = b"Host: test"
SIGNATURE = f"{HEADER}: {sign(BODY, SECRET.encode())}".encode()
LENGTH = b"Content-Length: %d" % len(BODY)
MB = 1_000_000


def request(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([*lines, b"", b""]) + body


WHOLE = request(POST, HOST, SIGNATURE, LENGTH, body=BODY)


@pytest.fixture
def up(sqlite_url: str) -> Iterator[Running]:
    """A receiver with the bounds that it has in production."""
    with running(sqlite_url) as receiver:
        yield receiver


@pytest.fixture
def hasty(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A receiver whose patience is short, so that tests need not wait."""
    monkeypatch.setattr(protocol, "HEAD_WITHIN_S", 1.0)
    monkeypatch.setattr(protocol, "IDLE_S", 1.0)
    monkeypatch.setattr(protocol, "ANSWER_WITHIN_S", 1.0)
    with running(sqlite_url) as receiver:
        yield receiver


@pytest.fixture
def ledger_of(sqlite_url: str) -> Iterator[Ledger]:
    """The ledger behind `up`."""
    opened = Ledger(create_ledger_engine(sqlite_url))
    yield opened
    opened.close()


def rest(connection: socket.socket, *, within_s: float = 20) -> bytes:
    """Everything that comes until the receiver closes the connection."""
    connection.settimeout(within_s)
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            answer += part
    return answer


def taken(connection: socket.socket, piece: bytes, most: int) -> tuple[int, bytes]:
    """Send a piece again and again until the receiver closes; how much it let us send."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
    return sent, rest(connection)


def status(answer: bytes) -> bytes:
    return answer[9:12]


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (request(POST, HOST)[:-2] + b"X: ", b"a" * 65536),
        (request(POST, HOST)[:-2], b"X-Some: header\r\n" * 4096),
        (b"POST /", b"a" * 65536),
        (b"", b"\r\n" * 32768),
        (request(POST, HOST, b"Transfer-Encoding: chunked") + b"0\r\nX: ", b"a" * 65536),
        (request(POST, HOST, b"Transfer-Encoding: chunked") + b"1;x=", b"a" * 65536),
    ],
    ids=["one header", "many headers", "URL", "empty lines", "trailer", "chunk extension"],
)
def test_endless_bytes_that_are_no_body_are_refused_early(
    up: Running, ledger_of: Ledger, begin: bytes, piece: bytes
) -> None:
    """431 after some tens of kilobytes of 200 MB; what is on its way besides fits in buffers."""
    with up.connection() as connection:
        connection.sendall(begin)
        began = time.process_time()
        sent, answer = taken(connection, piece, 200 * MB)
        cpu_s = time.process_time() - began
    assert sent < 20 * MB
    assert answer == b"" or status(answer) == b"431"
    assert cpu_s < 5
    assert up.post(payload("task-2")).status_code == 200
    assert [row.task_id for row in deliveries(ledger_of)] == ["task-2"]


def test_a_head_just_over_the_bound_is_answered(up: Running) -> None:
    """431 reaches a sender that waits for it, and the connection is closed."""
    lines = [b"X-%d: %s" % (n, b"a" * 1000) for n in range(40)]
    with up.connection() as connection:
        connection.sendall(request(POST, HOST, *lines, SIGNATURE, LENGTH))
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in answer


def test_too_many_headers_are_refused(up: Running) -> None:
    """Also where all of them together are small."""
    lines = [b"X-%d: 1" % n for n in range(protocol.MAX_HEADERS + 1)]
    with up.connection() as connection:
        connection.sendall(request(POST, HOST, *lines, SIGNATURE, LENGTH, body=BODY))
        assert status(rest(connection)) == b"431"


def test_what_proxies_add_is_within_the_bounds(up: Running) -> None:
    """Dozens of headers and kilobytes of them are usual behind load balancers."""
    lines = [b"X-%d: %s" % (n, b"a" * 200) for n in range(60)]
    with up.connection() as connection:
        connection.sendall(
            request(POST, HOST, *lines, SIGNATURE, LENGTH, b"Connection: close", body=BODY)
        )
        assert status(rest(connection)) == b"200"


def test_a_connection_that_says_nothing_is_closed(hasty: Running) -> None:
    """Within seconds, without a word."""
    with hasty.connection() as connection:
        assert rest(connection) == b""


@pytest.mark.parametrize("before", [b"", WHOLE], ids=["first request", "second request"])
def test_a_head_that_comes_a_byte_at_a_time_is_given_up(hasty: Running, before: bytes) -> None:
    """Each byte is a sign of life, but the whole has its time, on a used connection, too."""
    began = time.monotonic()
    answer = b""
    with hasty.connection() as connection:
        if before:
            connection.sendall(before)
            answer = connection.recv(65536)
            assert status(answer) == b"200"
        connection.settimeout(0.1)
        closed = False
        for byte in request(POST, HOST, *[b"X-Slow: 1"] * 50):
            with contextlib.suppress(TimeoutError):
                try:
                    connection.sendall(bytes([byte]))
                    closed = connection.recv(65536) == b""
                except ConnectionError:
                    closed = True
            if closed:
                break
    assert closed
    assert time.monotonic() - began < 15


def test_a_used_connection_that_falls_silent_is_closed(hasty: Running) -> None:
    """It is kept for a next webhook, for a while."""
    with hasty.connection() as connection:
        connection.sendall(WHOLE)
        assert status(rest(connection)) == b"200"


def test_a_body_that_nobody_reads_does_not_keep_the_connection(hasty: Running) -> None:
    """A page answers at once; what is announced besides is not waited for."""
    with hasty.connection() as connection:
        connection.sendall(request(b"GET /healthz HTTP/1.1", HOST, b"Content-Length: 1000"))
        assert status(rest(connection)) == b"200"


def test_an_answer_that_is_never_read_does_not_keep_the_connection(hasty: Running) -> None:
    """Many requests on one connection whose answers pile up: it is cut off."""
    ask = request(b"GET /healthz HTTP/1.1", HOST) * 5
    with hasty.connection() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.5)
        deadline = time.monotonic() + 30
        is_open = True
        while is_open:
            assert time.monotonic() < deadline, "the connection is still open"
            try:
                connection.sendall(ask)
            except TimeoutError:
                pass  # its buffers are full
            except ConnectionError:
                is_open = False
    assert hasty.get("/healthz").status_code == 200


def test_pipelined_webhooks_are_answered_in_order(up: Running, ledger_of: Ledger) -> None:
    """A handful may follow one another without waiting; hundreds are cut off."""
    with up.connection() as connection:
        connection.sendall(WHOLE * 5)
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 5:
            answer += connection.recv(65536)
    assert [row.times for row in deliveries(ledger_of)] == [5]
    with up.connection() as connection:
        connection.sendall(request(b"GET /healthz HTTP/1.1", HOST) * 3000)
        assert rest(connection).count(b"HTTP/1.1 200") < 3000


def test_a_full_house_has_room_for_a_webhook(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has been silent the longest makes room; nobody is locked out by idlers."""
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 20)
    with running(sqlite_url) as up, contextlib.ExitStack() as idlers:
        held = [idlers.enter_context(up.connection()) for _ in range(60)]
        assert up.post(payload("task-1")).status_code == 200
        assert rest(held[0]) == b""


def test_of_connections_of_one_moment_the_first_makes_room(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop's clock may stand still while it accepts: a webhook's connection is not the one."""

    def expire_in(connection: protocol.BoundedProtocol, seconds: float) -> None:
        connection.deadline = round(connection.loop.time(), -1) + seconds

    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 20)
    monkeypatch.setattr(protocol.BoundedProtocol, "_expire_in", expire_in)
    with running(sqlite_url) as up, contextlib.ExitStack() as idlers:
        for number in range(100):
            for _ in range(20 if number == 0 else 1):
                idlers.enter_context(up.connection())
            assert up.post(payload(f"task-{number}")).status_code == 200


@pytest.mark.parametrize(
    "wish",
    [b"h2c", b"websocket", b"TLS/1.0"],
)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_a_wish_for_another_protocol_is_passed_over(
    up: Running, ledger_of: Ledger, wish: bytes, chunked: bool
) -> None:
    """A signed webhook is kept whatever protocol its sender would like better."""
    framing = b"Transfer-Encoding: chunked" if chunked else LENGTH
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY) if chunked else BODY
    upgrade = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + wish, b"HTTP2-Settings: AAM")
    sent = request(POST, HOST, SIGNATURE, *upgrade, framing, body=body)
    for pieces in ([sent], [sent[:-100], sent[-100:]], [bytes([byte]) for byte in sent]):
        with up.connection() as connection:
            for piece in pieces:
                connection.sendall(piece)
            assert status(connection.recv(65536)) == b"200"
            connection.sendall(WHOLE)  # and the connection is good for the next one
            assert status(connection.recv(65536)) == b"200"
    assert [row.times for row in deliveries(ledger_of)] == [6]


def test_a_tunnel_is_refused(up: Running) -> None:
    """CONNECT asks for another protocol by itself."""
    with up.connection() as connection:
        connection.sendall(request(b"CONNECT example.com:443 HTTP/1.1", HOST))
        assert status(rest(connection)) in {b"400", b"405"}


@pytest.mark.parametrize(
    "lines",
    [
        (b"Transfer-Encoding: chunked", LENGTH),
        (LENGTH, b"Transfer-Encoding: chunked"),
        (LENGTH, b"Transfer-Encoding: identity, chunked"),
        (LENGTH, b"Transfer-Encoding : chunked"),
        (LENGTH, b"Transfer-Encoding:\x0bchunked"),
    ],
)
@pytest.mark.parametrize("upgrade", [False, True])
def test_a_request_of_two_lengths_is_refused(
    up: Running, ledger_of: Ledger, lines: tuple[bytes, ...], upgrade: bool
) -> None:
    """A proxy before us might believe the one, and we the other: 400, and closed."""
    wish = (b"Connection: Upgrade", b"Upgrade: h2c") if upgrade else ()
    hidden = WHOLE
    with up.connection() as connection:
        connection.sendall(
            request(POST, HOST, SIGNATURE, *wish, *lines, body=b"0\r\n\r\n" + hidden)
        )
        answer = rest(connection)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert status(answer) == b"400"
    assert deliveries(ledger_of) == []
