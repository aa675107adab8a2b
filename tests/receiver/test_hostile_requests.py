"""A receiver in the open: whatever strangers send, it refuses, forgets, and serves the next one."""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from ittybatch.ittybit.signature import HEADER, sign
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.models import Batch, Delivery
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import Accepted, record_accepted
from tests.ledger import library
from tests.receiver.harness import PATH, SECRET, Running, deliveries, payload, raw, running

BODY = raw(payload("task-1"))
SIGNATURE = f"{HEADER}: {sign(BODY, SECRET.encode())}".encode()
LENGTH = b"Content-Length: %d" % len(BODY)
POST = b"POST %s HTTP/1.1" % PATH.encode()
HOST = b"Host: test"
CHUNKED = b"Transfer-Encoding: chunked"
AS_CHUNK = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
# Every example meets the same receiver: it has to stand all of them.
FUZZ = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def exposed(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Ledger]]:
    """One receiver for all requests that say odd things: each finds it as the last one left it."""
    path = tmp_path_factory.mktemp("exposed") / "ledger.db"
    shutil.copy(sqlite_template, path)
    ledger = Ledger(create_ledger_engine(f"sqlite:///{path}"))
    with running(f"sqlite:///{path}") as receiver:
        yield receiver, ledger
    ledger.close()


@pytest.fixture
def up(ledger_url: str) -> Iterator[Running]:
    """A receiver of the test's own."""
    with running(ledger_url) as receiver:
        yield receiver


def request(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([*lines, b"", b""]) + body


def count(transaction: Transaction) -> int:
    """How many webhooks the inbox holds."""
    return int(transaction.execute(select(func.count()).select_from(Delivery)).scalar_one())


def statuses(up: Running, sent: bytes, *, expected: int = 1) -> list[int]:
    """The status of every answer to these bytes, until as many are there or none comes."""
    answer = b""
    with up.connection() as connection:
        connection.settimeout(0.2 if expected == 1 else 10)
        with contextlib.suppress(OSError):
            connection.sendall(sent)
            while part := connection.recv(65536):
                answer += part
                if answer.count(b"HTTP/1.1 ") == expected:
                    break
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    "sent",
    [
        request(POST, HOST, SIGNATURE, LENGTH, b"Content-Length: 0", body=BODY),
        request(POST, HOST, SIGNATURE, b"Content-Length: -1", body=BODY),
        request(POST, HOST, SIGNATURE, b"Content-Length: +%d" % len(BODY), body=BODY),
        request(POST, HOST, SIGNATURE, b"Content-Length: 0x10", body=BODY),
        request(POST, HOST, SIGNATURE, b"Content-Length: " + b"9" * 5000, body=BODY),
        request(POST, HOST, SIGNATURE, b"Content-Length: %04999d" % len(BODY), body=BODY),
        request(POST, HOST, SIGNATURE, b"Content-Length: 1,%d" % len(BODY), body=BODY),
        request(POST, HOST, SIGNATURE, b"Content-Length: \xb2", body=BODY),
        request(POST, HOST, SIGNATURE, CHUNKED, LENGTH, body=b"0\r\n\r\n" + BODY),
        request(POST, HOST, SIGNATURE, b"Transfer-Encoding: xchunked", LENGTH, body=BODY[:-1]),
        request(POST, HOST, SIGNATURE, CHUNKED, body=b"zz\r\n" + BODY),
        request(POST, HOST, SIGNATURE, CHUNKED, body=b"-1\r\n" + BODY),
        request(POST, HOST, SIGNATURE, CHUNKED, body=b"ffffffffffffffffff\r\n" + BODY),
        request(POST, HOST, SIGNATURE, CHUNKED, body=AS_CHUNK[:-5]),
        request(POST, HOST, SIGNATURE, b"Content-Length : %d" % (len(BODY) - 1), body=BODY),
        request(POST, HOST, SIGNATURE + b"\r\n 0", LENGTH, body=BODY),
        request(POST, HOST, SIGNATURE + b"\0", LENGTH, body=BODY),
        request(POST, HOST, b"X: " + b"a" * 200_000, SIGNATURE, LENGTH, body=BODY),
        request(POST, HOST, *[b"X-%d: 1" % n for n in range(200)], SIGNATURE, LENGTH, body=BODY),
        request(POST, HOST, SIGNATURE, SIGNATURE.lower(), LENGTH, body=BODY),
        request(POST, HOST, SIGNATURE, b"Content-Length: 3", body=BODY),
        request(POST, HOST, SIGNATURE, LENGTH, b"Content-Encoding: gzip", body=BODY[::-1]),
        request(POST, HOST, SIGNATURE, LENGTH, b"Expect: 100-continue"),
        request(b"POST " + PATH.encode(), body=BODY),
        request(b"PATCH %s HTTP/1.1" % PATH.encode(), HOST, SIGNATURE, LENGTH, body=BODY),
        request(b"POST %s HTTP/1.1" % PATH.upper().encode(), HOST, SIGNATURE, LENGTH, body=BODY),
        request(b"POST %s/ HTTP/1.1" % PATH.encode(), HOST, SIGNATURE, LENGTH, body=BODY),
        request(b"POST /..%s HTTP/1.1" % PATH.encode(), HOST, SIGNATURE, LENGTH, body=BODY),
        request(b"POST %s HTTP/9.9" % PATH.encode(), HOST, SIGNATURE, LENGTH, body=BODY),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 10_000,
    ],
)
def test_a_request_that_means_two_things_means_nothing(
    exposed: tuple[Running, Ledger], sent: bytes
) -> None:
    """It is refused or left unanswered, nothing is kept, and the next webhook is served."""
    up, ledger = exposed
    before = ledger.read(count)
    answers = statuses(up, sent)
    assert all(400 <= status < 500 or status == 100 for status in answers), answers
    assert ledger.read(count) == before
    assert up.post(payload(f"task-{before}")).status_code == 200
    assert ledger.read(count) == before + 1


def test_a_second_request_cannot_hide_in_the_first(up: Running, ledger: Ledger) -> None:
    """What follows a body is another request, and has to be signed as one."""
    inner = request(POST, HOST, LENGTH, body=BODY)
    sent = request(POST, HOST, SIGNATURE, LENGTH, body=BODY + inner)
    assert statuses(up, sent, expected=2) == [200, 401]
    assert [row.times for row in deliveries(ledger)] == [1]


TEXT = st.text(max_size=60) | st.sampled_from(
    [
        "'; DROP TABLE jobs; --",
        "' OR '1'='1",
        '" OR ""="',
        "1); DELETE FROM deliveries; --",
        "%s %(x)s :name ? $1 {0} {x}",
        "\\'; SELECT pg_sleep(60); --",
        "\0",
        "a\0b",
        "\ud800",
        "../../etc/passwd",
        "=cmd|' /C calc'!A0",
        "${jndi:ldap://evil.test/a}",
        "<script>alert(1)</script>",
        "\x1b]0;owned\x07",
        "a" * 300,
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *("id", "status", "kind", "input", "output", "outputs", "error", "metadata", "data"),
        *("event", "type", "object", "created_at", "completed_at", "duration", "tasks"),
    ]
)
CLAIMS = st.fixed_dictionaries(
    {"batch_id": VALUES, "job_id": VALUES, "attempt": VALUES, "item_id": VALUES}
)
WEBHOOKS = st.dictionaries(NAMES, VALUES | CLAIMS, max_size=8) | st.fixed_dictionaries(
    {"id": TEXT, "status": st.sampled_from(["succeeded", "failed", "x"]), "metadata": CLAIMS},
    optional={"output": VALUES, "error": VALUES, "kind": TEXT, "completed_at": VALUES},
)


def dumped(payload: dict[str, Any]) -> bytes:
    """As JSON, with lone surrogates spelt out as some senders do."""
    try:
        return orjson.dumps(payload, default=str)
    except TypeError:
        return json.dumps(payload).encode()


def test_signed_rubbish_is_kept_as_it_is_and_touches_no_job(up: Running, ledger: Ledger) -> None:
    """Text of any sort in any place: no statement is changed by it, no job but its own settled."""
    chunk, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(record_accepted, [Accepted(sent.job_id, sent.attempt, "task-real")])

    client = httpx.Client(base_url=up.url, timeout=20)

    @FUZZ
    @given(WEBHOOKS.map(dumped) | st.binary(max_size=300))
    def rubbish(body: bytes) -> None:
        signed = {HEADER: sign(body, SECRET.encode())}
        answer = client.post(PATH, content=body, headers=signed)
        assert answer.status_code == 200, body
        assert answer.text in {"unknown", "malformed", "progress"}, body
        assert answer.elapsed.total_seconds() < 5

    with client:
        rubbish()
    assert ledger.read(count) >= 20
    [job] = library.rows(ledger, sent.batch_id)
    assert (job.state, job.task_id) == (JobState.SUBMITTED, "task-real")
    assert library.place(ledger, chunk).in_flight == 1
    assert up.post(payload("task-real")).text == "applied"
    assert len(ledger.read(lambda tx: tx.rows(select(Batch.id)))) == 1


def test_unsigned_rubbish_leaves_no_trace(up: Running, ledger: Ledger) -> None:
    """Whatever is sent with whatever signature: 401, or 400 where it is not even a header."""

    @FUZZ
    @given(
        st.binary(max_size=300) | WEBHOOKS.map(dumped),
        st.binary(max_size=100).filter(lambda value: b"\r" not in value and b"\n" not in value),
    )
    def rubbish(body: bytes, signature: bytes) -> None:
        lines = [POST, HOST, f"{HEADER}: ".encode() + signature, b"Content-Length: %d" % len(body)]
        assert set(statuses(up, request(*lines, b"Connection: close", body=body))) <= {400, 401}

    rubbish()
    assert deliveries(ledger) == []


@pytest.mark.parametrize("depth", [200, 260, 900, 5000, 200_000])
def test_a_success_is_not_lost_for_what_hangs_on_it(
    up: Running, ledger: Ledger, depth: int
) -> None:
    """Metadata as deep as JSON is read settles its job; deeper ones are kept as they are."""
    _, [sent] = library.claimed(ledger, library.job("a.mov"))
    ledger.write(record_accepted, [Accepted(sent.job_id, sent.attempt, "task-deep")])
    whole = orjson.dumps(payload("task-deep")).replace(
        b'"metadata":{}', b'"metadata":{"a":' + b"[" * depth + b"]" * depth + b"}"
    )
    verdict = up.post(whole).text
    [job] = library.rows(ledger, sent.batch_id)
    if depth < 1000:
        assert (verdict, job.state) == ("applied", JobState.SUCCEEDED)
    else:
        assert (verdict, job.state) == ("malformed", JobState.SUBMITTED)


def test_the_largest_body_takes_no_time(up: Running) -> None:
    """A mebibyte of the worst: many outputs, many tasks, one endless text."""
    parts: list[Any] = [
        {"outputs": [{"url": f"https://a/{n}", "size": "9" * 30} for n in range(15_000)]},
        {"tasks": [{"error": {"message": "x" * 30}} for _ in range(18_000)], "status": "failed"},
        {"error": {"message": "https://" * 120_000}, "status": "failed"},
        {"error": {"message": "https://a" + "?" * 1_000_000}, "status": "failed"},
        {"metadata": {f"{n}": n for n in range(60_000)}},
        {"data": {"data": {"data": {"data": {"id": "x" * 1_000_000}}}}},
    ]
    for part in parts:
        body = orjson.dumps({**payload("task-1"), **part})
        assert len(body) < 1_048_576
        began = time.monotonic()
        assert up.post(body).status_code == 200
        assert time.monotonic() - began < 3, body[:60]
