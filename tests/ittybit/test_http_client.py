"""The limits of the HTTP client: where the key goes, how long, how much."""

import asyncio
import logging
import pickle
import socket
import traceback

import httpx
import pytest

from ittybatch.errors import ConfigurationError
from ittybatch.ittybit import http_client
from ittybatch.ittybit.client import DEFAULT_URL, IttybitClient
from ittybatch.ittybit.errors import (
    AuthenticationError,
    IttybitError,
    IttybitTimeout,
    RateLimited,
    UnreadableAnswer,
)
from tests.ittybit.api import DROP, HANG, JOB, KEY, api, pages, reply, submission


@pytest.mark.parametrize(
    "url",
    [
        "https://api.ittybit.com",
        "https://api.ittybit.com/",
        "https://proxy.example/ittybit/",
        "http://localhost:8300",
        "http://127.0.0.1:1",
        "http://127.9.9.9:1",
        "http://[::1]:8300",
    ],
)
def test_an_encrypted_or_local_address_is_taken(url: str) -> None:
    """A path before the API's own is kept."""
    client = IttybitClient(KEY, base_url=url)
    assert url.rstrip("/") in repr(client)
    assert KEY not in repr(client)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.ittybit.com",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://10.0.0.1",
        "ftp://api.ittybit.com",
        "api.ittybit.com",
        "",
        "https://",
        "https://user:secret@api.ittybit.com",
        "https://api.ittybit.com?key=secret",
        "https://api.ittybit.com:port",
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    """The key never travels unencrypted; the message holds no secret."""
    with pytest.raises(ConfigurationError) as refused:
        IttybitClient(KEY, base_url=url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["", " ", "a b", "key\n", "kéy", "key\r\nX-Evil: 1"])
def test_a_key_that_cannot_be_a_header_is_refused(key: str) -> None:
    """And is not shown."""
    with pytest.raises(ConfigurationError, match="ITTYBIT_API_KEY") as refused:
        IttybitClient(key)
    assert "kéy" not in str(refused.value)
    assert "Evil" not in str(refused.value)


def test_the_client_must_be_open() -> None:
    """It says how."""

    async def main() -> None:
        client = IttybitClient(KEY, base_url="http://127.0.0.1:1")
        with pytest.raises(ConfigurationError, match="async with"):
            await client.get_job("job_1")
        async with client:
            pass
        with pytest.raises(ConfigurationError, match="async with"):
            await client.get_job("job_1")

    asyncio.run(main())


def test_a_client_opens_again() -> None:
    """After it was closed, in another event loop of the same process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = IttybitClient(KEY, base_url=f"http://127.0.0.1:{port}", max_connections=1)

    async def main() -> None:
        async with api(reply(200, JOB), port=port), client:
            jobs = await asyncio.gather(client.get_job("job_1"), client.get_job("job_2"))
            assert {job.id for job in jobs} == {"job_abc123"}

    for _ in range(2):
        asyncio.run(main())


@pytest.mark.parametrize(
    "fault",
    [
        DROP,
        HANG,
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        reply(401, {"kind": "token_invalid", "message": f"The key {KEY} is not known"}),
        reply(400, f"Authorization: Bearer {KEY}".encode()),
        reply(400, {"message": "https://b.s3.aws/k?X-Amz-Signature=topsecret is gone"}),
    ],
)
def test_the_key_is_in_no_error(fault: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Not in its text, its traceback, its pickle, nor in any log, echoed or not."""

    async def main() -> IttybitError:
        async with api(fault) as answering:
            async with answering.client(attempts=2, timeout_s=0.3) as ittybit:
                with pytest.raises(IttybitError) as failed:
                    await ittybit.create_job(**submission())
            return failed.value

    with caplog.at_level(logging.DEBUG):
        error = asyncio.run(main())
    shown = [
        str(error),
        repr(error),
        error.body,
        "".join(traceback.format_exception(error)),
        repr(vars(error)),
        str(pickle.dumps(error)),
        caplog.text,
    ]
    for text in shown:
        assert KEY not in text
        assert "topsecret" not in text


def test_an_error_survives_another_process() -> None:
    """Prefect pickles what a task raises."""
    error = RateLimited("Slow down.", remedy="Wait.", status=429, kind="x", retry_after_s=3)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is RateLimited
    assert str(copy) == "Slow down. Wait."
    assert (copy.status, copy.kind, copy.retry_after_s) == (429, "x", 3)


def test_a_dripping_answer_is_cut_off() -> None:
    """The limit is for the whole answer, not for each of its pieces."""
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        finally:
            writer.close()
            gone.set()

    async def main() -> None:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with IttybitClient(KEY, base_url=url, timeout_s=0.4, attempts=1) as client:
            with pytest.raises(IttybitTimeout, match=r"0\.4 s"):
                await client.get_job("job_1")
            await asyncio.wait_for(gone.wait(), 5)
        server.close()

    asyncio.run(main())


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is limited."""
    monkeypatch.setattr(http_client, "_MAX_ANSWER_BYTES", 100_000)

    async def main(status: int) -> IttybitError:
        async with api(reply(status, b" " * 1_000_000)) as answering:
            async with answering.client(attempts=1) as client:
                with pytest.raises(IttybitError) as failed:
                    await client.get_job("job_1")
            return failed.value

    assert isinstance(asyncio.run(main(200)), UnreadableAnswer)
    refused = asyncio.run(main(401))
    assert isinstance(refused, AuthenticationError)
    assert len(refused.body) <= 2000


def test_a_key_that_is_echoed_across_a_cut_leaves_no_half() -> None:
    """Wherever it is in the body, and whatever it looks like."""
    key = "opaque" * 6

    async def main(before: int) -> IttybitError:
        async with api(reply(400, {"message": "x" * before + key})) as answering:
            async with IttybitClient(key, base_url=answering.url, attempts=1) as client:
                with pytest.raises(IttybitError) as failed:
                    await client.get_job("job_1")
            return failed.value

    for before in (0, 490, 1980, 8180):
        error = asyncio.run(main(before))
        assert "opaque" not in str(error)
        assert "opaque" not in error.body


def test_waiting_for_a_connection_is_no_timeout() -> None:
    """What was never sent cannot have been accepted, and is not repeated."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(0.1)
                writer.write(reply(200, JOB))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(slow, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = IttybitClient(KEY, base_url=url, timeout_s=0.5, max_connections=1, attempts=1)
        async with client:
            jobs = await asyncio.gather(*[client.get_job("job_1") for _ in range(8)])
        assert len(jobs) == 8
        server.close()

    asyncio.run(main())


def test_no_compressed_answer_is_asked_for() -> None:
    """A small one could be endless in memory."""

    async def main() -> None:
        async with api(reply(200, JOB)) as answering, answering.client() as ittybit:
            await ittybit.get_job("job_1")
            assert answering.seen[0].headers["accept-encoding"] == "identity"

    asyncio.run(main())


def test_no_cookie_is_kept() -> None:
    """Requests do not depend on each other."""

    async def main() -> None:
        cookie = reply(200, JOB, {"Set-Cookie": "session=1"})
        async with api(cookie) as answering, answering.client() as ittybit:
            await ittybit.get_job("job_1")
            await ittybit.get_job("job_1")
            assert "cookie" not in answering.seen[1].headers

    asyncio.run(main())


def test_no_query_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The address of an input can be a signed one, which grants access to whoever reads it."""

    async def main() -> None:
        async with api(*pages([])) as answering, answering.client() as ittybit:
            assert [job async for job in ittybit.list_jobs(input="https://b/k?sig=topsecret")] == []

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
    assert "topsecret" not in caplog.text


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """For other machines, except those in `no_proxy`."""
    for name in ("all_proxy", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    proxy = http_client.proxy_for(httpx.URL(DEFAULT_URL))
    assert proxy is not None
    assert str(proxy.url) == "http://127.0.0.1:3128"
    assert http_client.proxy_for(httpx.URL("https://localhost:1")) is None
    monkeypatch.setenv("no_proxy", "ittybit.com")
    assert http_client.proxy_for(httpx.URL(DEFAULT_URL)) is None
