"""Posts to a user's own address: several at once, within bounds of time and size."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
import httpx
import yarl

from ittybatch import __version__
from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.http_client import proxy_for
from ittybatch.ittybit.redaction import redacted
from ittybatch.sinks.base import GROUP_S, SinkUnavailable
from ittybatch.sources.s3 import parse_retry_after

_MAX_ANSWER_BYTES: Final = 2048
_SHOWN_CHARS: Final = 200
_CONNECT_S: Final = 5.0
# Busy, or not ready: the same request may be answered otherwise later.
_LATER = frozenset({408, 425, 429})
# About the address or its secret: an edge answers so while the app behind it is deployed or paused
# (402 on some hosts), a proxy without a password (407), an edge with another app's certificate
# (421), and the app after a secret was changed on one side only.
_NOT_THERE = frozenset({401, 402, 403, 404, 405, 407, 410, 421})
_SERVER_ERROR: Final = 500
# How many of these answers end a group. They may concern one request: an object that the app does
# not know, a bug, or a request that kills or blocks its worker, with or without a proxy in between.
# Others end it at once.
_MAY_CONCERN_ONE: Final[Mapping[int | None, int]] = {
    None: 2,
    **dict.fromkeys((*_NOT_THERE, _SERVER_ERROR), 20),
    502: 2,
    504: 2,
}


@dataclass(frozen=True, slots=True)
class Posted:
    """An address's answer to one request.

    Args:
        status: HTTP status; None if there was no answer.
        detail: The beginning of the answer's body, or why there is none.
    """

    status: int | None
    detail: str

    @property
    def delivered(self) -> bool:
        """Whether the request was accepted."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004

    @property
    def refused(self) -> bool:
        """Whether this request would be refused again, and others might not."""
        if self.status is None or not 400 <= self.status < 500:  # noqa: PLR2004
            return False
        return self.status not in _LATER and not self.not_there

    @property
    def not_there(self) -> bool:
        """Whether the answer is about the address or its secret, not about the request."""
        return self.status in _NOT_THERE

    @property
    def may_concern_one(self) -> bool:
        """Whether the server failed in a way that may concern this request alone."""
        return self.status in _MAY_CONCERN_ONE

    def describe(self) -> str:
        """Say what the answer was, for an error."""
        if self.status is None:
            return self.detail
        what = f"HTTP {self.status}"
        if 300 <= self.status < 400:  # noqa: PLR2004
            what += ", and redirects are not followed"
        return f"{what}: {self.detail}" if self.detail else what


def check_address(url: str) -> None:
    """Check that a URL can be posted to.

    Raises:
        ValueError: It cannot; the message does not repeat it.
    """
    try:
        parsed = httpx.URL(url)
        is_address = bool(parsed.host) and yarl.URL(url).port is not None
    except (httpx.InvalidURL, ValueError):
        raise ValueError("its host or its port cannot be read") from None
    if parsed.scheme not in {"http", "https"} or not is_address:
        raise ValueError("it is not an address that begins with http:// or https://")


class Poster:
    """Connections to one address, kept between groups.

    Args:
        url: The address; a secret if `hidden`.
        headers: Headers of each request.
        timeout_s: Seconds for one request.
        concurrency: Requests at once.
        hidden: Texts that no message may contain.

    Raises:
        ConfigurationError: The proxy that the environment sets cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        concurrency: int,
        hidden: Sequence[str] = (),
    ) -> None:
        self._url = url
        self._headers = {
            "Content-Type": "application/json",
            # A compressed answer could be small on the network and huge in memory.
            "Accept-Encoding": "identity",
            "User-Agent": f"ittybatch/{__version__}",
            **headers,
        }
        self._timeout_s = timeout_s
        self._concurrency = concurrency
        self._hidden = hidden
        self._runner = asyncio.Runner()
        self._session: aiohttp.ClientSession | None = None
        self._not_before = 0.0
        self._failures: Counter[int | None] = Counter()
        # As for Ittybit's own address: HTTPS_PROXY and NO_PROXY count.
        try:
            proxy = proxy_for(httpx.URL(url))
        except (httpx.InvalidURL, ValueError):
            raise ConfigurationError(
                "The proxy of the environment cannot be used: its address cannot be read.",
                remedy="Correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or set NO_PROXY. The results "
                "wait in the ledger.",
            ) from None
        self._proxy = None if proxy is None else str(proxy.url)
        auth = None if proxy is None else proxy.auth
        self._proxy_auth = None if auth is None else aiohttp.BasicAuth(*auth)

    def require_ready(self) -> None:
        """Check that the address has not asked to wait.

        Raises:
            SinkUnavailable: It has, and the time is not over.
        """
        left_s = self._not_before - time.monotonic()
        if left_s > 0:
            raise SinkUnavailable(f"The address asked to wait for another {left_s:.0f} s.")

    def run(self, chains: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Run coroutines that call `post`, some of them at once.

        Chains that have not begun are left out when the group's time is over, or once the
        address asks to wait, or does not answer several times.
        """
        self._failures.clear()
        self._runner.run(self._run(chains))

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Send one request. Inside of `run` only."""
        session = self._opened()
        try:
            async with session.post(
                self._url,
                data=body,
                headers={**self._headers, **headers},
                allow_redirects=False,
                proxy=self._proxy,
                proxy_auth=self._proxy_auth,
            ) as response:
                answer = await _beginning(response)
                asked_s = parse_retry_after(response.headers.get("Retry-After"))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._failures[None] += 1
            return Posted(None, self._describe(error))
        posted = Posted(response.status, self._shown(answer))
        if asked_s and (response.status >= _SERVER_ERROR or response.status in _LATER):
            self._not_before = max(self._not_before, time.monotonic() + asked_s)
        if not (posted.delivered or posted.refused):
            self._failures[response.status] += 1
        return posted

    def close(self) -> None:
        """Close the connections. It may be used again afterwards."""
        session, self._session = self._session, None
        if session is not None:
            self._runner.run(session.close())
        self._runner.close()
        self._runner = asyncio.Runner()

    async def _run(self, chains: Sequence[Callable[[], Awaitable[None]]]) -> None:
        ends_at = time.monotonic() + GROUP_S
        waiting = iter(chains)

        async def work() -> None:
            for chain in waiting:
                if self._stopped or time.monotonic() > ends_at:
                    return
                await chain()

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrency, len(chains))):
                group.create_task(work())

    @property
    def _stopped(self) -> bool:
        return any(
            count >= _MAY_CONCERN_ONE.get(status, 1) for status, count in self._failures.items()
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=_CONNECT_S),
                connector=aiohttp.TCPConnector(limit=self._concurrency),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    def _describe(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_s:g} s"
        return f"{type(error).__name__}: {redacted(str(error), *self._hidden)[:_SHOWN_CHARS]}"

    def _shown(self, answer: bytes) -> str:
        text = " ".join(answer.decode("utf-8", "replace").split())
        return redacted(text, *self._hidden)[:_SHOWN_CHARS]


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of an answer's body, which is for messages only; empty if it breaks off.

    The status has said what became of the request: without it, a result that was taken would be
    posted again without end.
    """
    try:
        return await response.content.read(_MAX_ANSWER_BYTES)
    except (TimeoutError, aiohttp.ClientError, OSError):
        return b""
