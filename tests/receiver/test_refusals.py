"""What a stranger may send: it is refused, and leaves no trace in the ledger."""

import socket

import pytest

from ittybatch import bodies
from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.signature import HEADER, sign
from ittybatch.ledger import Ledger
from ittybatch.receiver import create_app
from ittybatch.settings import Settings
from tests.receiver.harness import (
    PATH,
    SECRET,
    Running,
    deliveries,
    payload,
    raw,
    running,
    wait_until,
)

BODY = raw(payload("task-1"))
LIMIT = 2000


def answer_of(connection: socket.socket) -> bytes:
    """Everything that the receiver says, until it closes or falls silent."""
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
            if b"\r\n\r\n" in answer:
                break
    except ConnectionResetError:
        pass
    return answer


def head(*lines: str) -> bytes:
    signature = f"{HEADER}: {sign(BODY, SECRET.encode())}"
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: test", signature, *lines, "", ""]).encode()


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "0" * 64,
        "sha256=",
        sign(BODY, b"another secret"),
        sign(BODY + b" ", SECRET.encode()),
        "é" * 64,
        "a" * 100_000,
    ],
    ids=["unsigned", "zeros", "prefix", "other secret", "other bytes", "not hex", "endless"],
)
def test_whatever_is_not_signed_with_our_secret_is_refused(
    receiver: Running, ledger: Ledger, signature: str
) -> None:
    """401, or 431 where the header itself is absurd, and nothing is kept."""
    with receiver.connection() as connection:
        lines = [f"POST {PATH} HTTP/1.1", "Host: test", f"Content-Length: {len(BODY)}"]
        if signature:
            lines.append(f"{HEADER}: {signature}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + BODY)
        assert answer_of(connection)[9:12] in {b"401", b"400", b"431"}
    assert deliveries(ledger) == []


def test_a_changed_body_is_refused(receiver: Running, ledger: Ledger) -> None:
    """The signature is of the very bytes: not even a space more goes through."""
    signature = sign(BODY, SECRET.encode())
    assert receiver.post(BODY, signature=signature).status_code == 200
    assert receiver.post(BODY + b"\n", signature=signature).status_code == 401
    assert [row.times for row in deliveries(ledger)] == [1]
    assert receiver.metric('ittybatch_webhooks_refused_total{status="401"}') == 1


def test_two_signatures_are_none(receiver: Running, ledger: Ledger) -> None:
    """Whoever sends a second one hopes that two parties read the request differently."""
    good = sign(BODY, SECRET.encode())
    with receiver.connection() as connection:
        connection.sendall(head(f"{HEADER}: {good}", f"Content-Length: {len(BODY)}") + BODY)
        assert answer_of(connection).startswith(b"HTTP/1.1 401")
    assert deliveries(ledger) == []


def test_an_announced_oversized_body_is_refused_unread(ledger_url: str, ledger: Ledger) -> None:
    """413 before a byte of it is read, and the connection is closed."""
    with running(ledger_url, max_body_bytes=LIMIT) as up:
        with up.connection() as connection:
            connection.sendall(head(f"Content-Length: {LIMIT + 1}"))
            answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer.lower()
        assert up.metric('ittybatch_webhooks_refused_total{status="413"}') == 1
    assert deliveries(ledger) == []


def test_an_unannounced_oversized_body_is_refused_where_it_passes_the_limit(
    ledger_url: str, ledger: Ledger
) -> None:
    """A chunked body tells no length; it is read up to the limit and no further."""
    piece = b"%x\r\n%s\r\n" % (LIMIT // 4, b"x" * (LIMIT // 4))
    with running(ledger_url, max_body_bytes=LIMIT) as up, up.connection() as connection:
        connection.sendall(head("Transfer-Encoding: chunked"))
        for _ in range(5):
            connection.sendall(piece)
        assert answer_of(connection).startswith(b"HTTP/1.1 413")
    assert deliveries(ledger) == []


def test_a_body_of_just_the_limit_is_taken(ledger_url: str, ledger: Ledger) -> None:
    """The limit is the largest size accepted."""
    body = BODY + b" " * (LIMIT - len(BODY))
    with running(ledger_url, max_body_bytes=LIMIT) as up:
        assert up.post(body).status_code == 200
    assert [row.body for row in deliveries(ledger)] == [body]


def test_a_truncated_body_is_not_kept(receiver: Running, ledger: Ledger) -> None:
    """More is announced than comes before the connection ends."""
    with receiver.connection() as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}") + BODY[:-10])
        connection.shutdown(socket.SHUT_WR)
        assert b" 200 " not in answer_of(connection)
    refused = 'ittybatch_webhooks_refused_total{status="400"}'
    wait_until(lambda: receiver.metric(refused) == 1)
    assert deliveries(ledger) == []


def test_a_body_that_never_ends_is_given_up(
    ledger_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """408, and the connection is closed; others are served meanwhile."""
    monkeypatch.setattr(bodies, "MAX_BODY_S", 0.5)
    with running(ledger_url) as up, up.connection() as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}") + BODY[:10])
        assert up.post(payload("task-2")).status_code == 200
        answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer.lower()
    assert [row.task_id for row in deliveries(ledger)] == ["task-2"]


def test_only_posts_are_webhooks(receiver: Running) -> None:
    """A browser that finds the address learns nothing."""
    answer = receiver.get(PATH)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_it_does_not_start_without_a_secret(sqlite_url: str) -> None:
    """And says which setting is missing, and which one allows it all the same."""
    with pytest.raises(ConfigurationError, match="ITTYBIT_WEBHOOK_SECRET") as refused:
        create_app(Settings(database_url=sqlite_url))
    assert "ITTYBATCH_ALLOW_UNSIGNED_WEBHOOKS" in str(refused.value)


def test_unsigned_webhooks_are_taken_where_that_was_asked_for(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By its own name, and with a warning at every start."""
    with running(sqlite_url, webhook_secret=None, allow_unsigned_webhooks=True) as up:
        assert up.post(payload("task-1"), signature="").status_code == 200
    assert "unsigned" in caplog.text


def test_a_secret_can_be_replaced_without_a_gap(ledger_url: str, ledger: Ledger) -> None:
    """While both are in force, either signs; a third does not."""
    with running(ledger_url, webhook_secret="the new one, the old one") as up:
        for number, secret in enumerate([b"the new one", b"the old one"]):
            body = raw(payload(f"task-{number}"))
            assert up.post(body, signature=sign(body, secret)).status_code == 200
        assert up.post(BODY, signature=sign(BODY, SECRET.encode())).status_code == 401
    assert {row.task_id for row in deliveries(ledger)} == {"task-0", "task-1"}
