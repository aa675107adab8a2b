"""One HTTP exchange with Ittybit: bounded in time and size, with the API key on it.

The transport is used without httpx's client around it. Cookies, redirects, and logging each
request are not wanted here, and they would take as long again as the exchange itself.
"""

import asyncio
import ipaddress
import re
from types import TracebackType
from typing import Any, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from ittybatch import __version__
from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.answer import Answer
from ittybatch.ittybit.deadline import Deadline
from ittybatch.ittybit.errors import IttybitConnectionError, IttybitError, IttybitTimeout
from ittybatch.ittybit.redaction import redacted

_LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
_LONGEST_CONNECT_S = 10.0
_KEEPALIVE_S = 30.0
_DNS_CACHE_S = 60
_KEY = re.compile(r"[\x21-\x7e]+")
_OPEN_FIRST = "Use the client inside `async with`."


class _Request(httpx.Request):
    """A request that is complete as given; httpx's own builds its headers three times over."""

    def __init__(
        self,
        method: str,
        url: httpx.URL,
        headers: list[tuple[bytes, bytes]],
        content: bytes,
        extensions: dict[str, Any],
    ) -> None:
        self.method = method
        self.url = url
        # Named, or httpx works out the encoding again for each header that is read.
        self.headers = httpx.Headers(headers, encoding="ascii")
        self.extensions = extensions
        self.stream = httpx.ByteStream(content)
        self._body = content

    @property
    def content(self) -> bytes:
        """The body."""
        return self._body


class Wire:
    """The connections to one API, opened by `async with`.

    Args:
        api_key: Sent as a bearer token; never shown.
        base_url: Of the API; https, but for loopback addresses.
        timeout_s: Seconds for a whole exchange, until the last byte of its answer.
        max_connections: How many exchanges run at once; more wait for one of them.
        transport: In place of real connections.

    Raises:
        ConfigurationError: The key or the address cannot be used.
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str,
        timeout_s: float,
        max_connections: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._key = _checked_key(api_key)
        self._base = checked_url(base_url)
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._given_transport = transport
        self._transport: httpx.AsyncBaseTransport | None = None
        # The rest is within the one limit for the whole exchange; more timers only cost time.
        self._extensions = {"timeout": {"connect": min(timeout_s, _LONGEST_CONNECT_S)}}
        self._headers = [
            (b"authorization", f"Bearer {self._key}".encode()),
            (b"accept", b"application/json"),
            # A compressed answer could be small on the wire and endless in memory.
            (b"accept-encoding", b"identity"),
            (b"user-agent", f"ittybatch/{__version__}".encode()),
        ]
        self._urls: dict[str, httpx.URL] = {}

    def __repr__(self) -> str:
        return f"<Wire to {self._base}>"

    @property
    def address(self) -> str:
        """The API's address."""
        return str(self._base)

    async def __aenter__(self) -> Self:
        # Made here, because they belong to the event loop that the client is opened in.
        self._deadline = Deadline(self._timeout_s)
        self._free = asyncio.Semaphore(self._max_connections)
        self._transport = self._given_transport or _transport(self._base, self._max_connections)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            self._deadline.close()
            await transport.aclose()

    async def post(self, path: str, content: bytes, idempotency_key: str) -> Answer:
        """Send a JSON body. Raises `IttybitError`: the status's, or for want of an answer."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = self._url(path)
        headers = [
            *self._headers,
            (b"content-type", b"application/json"),
            (b"idempotency-key", idempotency_key.encode()),
        ]
        return await self._exchange(f"POST {path}", "POST", url, headers, content)

    async def get(self, path: str, query: dict[str, str] | None = None) -> Answer:
        """Ask for a resource. Raises `IttybitError`: the status's, or for want of an answer."""
        url = self._url(path)
        if query:
            url = url.copy_merge_params(query)
        return await self._exchange(f"GET {path}", "GET", url, self._headers, b"")

    def _url(self, path: str) -> httpx.URL:
        return httpx.URL(f"{self._base}{path}")

    async def _exchange(
        self,
        what: str,
        method: str,
        url: httpx.URL,
        headers: list[tuple[bytes, bytes]],
        content: bytes,
    ) -> Answer:
        if self._transport is None:
            raise ConfigurationError("The connection to Ittybit is not open.", remedy=_OPEN_FIRST)
        request = _Request(method, url, headers, content, self._extensions)
        try:
            # The clock starts with the exchange, not with the wait for a free connection.
            async with self._free:
                answer = await self._deadline.run(_answer(self._transport, request, what))
        except (TimeoutError, httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            failure = self._failure(what, error)
        else:
            if answer.accepted:
                return answer
            failure = answer.refusal(self._key)
        # Raised out here, so that no traceback leads to a request and its Authorization.
        raise failure

    def _failure(self, what: str, error: Exception) -> IttybitError:
        # The transport reports broken connections as timeouts too; what it caught tells.
        cause = error.__cause__ if isinstance(error, httpx.HTTPError) else None
        cause = cause or error
        if isinstance(cause, TimeoutError | httpx.TimeoutException):
            return IttybitTimeout(
                f"Ittybit did not answer {what} within {self._timeout_s:g} s.",
                remedy="The request may have been accepted all the same.",
            )
        said = redacted(str(cause), self._key).strip() or "no reason given"
        return IttybitConnectionError(
            f"The connection to {self._base.host} failed during {what}: "
            f"{type(cause).__name__}: {said[:300].rstrip('.')}.",
            remedy="Check the network and ITTYBIT_API_URL.",
        )


async def _answer(transport: httpx.AsyncBaseTransport, request: httpx.Request, what: str) -> Answer:
    response = await transport.handle_async_request(request)
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):  # pragma: no cover - of a sync transport
        raise TypeError("Ittybit's client needs an asynchronous transport.")
    body = bytearray()
    try:
        async for chunk in stream:
            body += chunk
            if len(body) > _LARGEST_ANSWER_BYTES:
                break
    finally:
        await stream.aclose()
    answer = Answer(what, response.status_code, response.headers, bytes(body))
    if answer.accepted and len(body) > _LARGEST_ANSWER_BYTES:
        raise answer.unreadable(f"its body is larger than {_LARGEST_ANSWER_BYTES} bytes")
    return answer


def checked_url(base_url: str) -> httpx.URL:
    """The API's address, without a trailing slash.

    Raises:
        ConfigurationError: It is no plain http(s) address, or http beyond this machine.
    """
    remedy = "Set ITTYBIT_API_URL to an address such as https://api.ittybit.com."
    try:
        url = httpx.URL(base_url.rstrip("/"))
    except (httpx.InvalidURL, TypeError):
        raise ConfigurationError("The API's address is not a URL.", remedy=remedy) from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError("The API's address is not an http(s) URL.", remedy=remedy)
    if url.userinfo or url.query or url.fragment:
        raise ConfigurationError(
            "The API's address holds more than a host and a path.", remedy=remedy
        )
    if url.scheme == "http" and not is_loopback(url.host):
        raise ConfigurationError(
            f"The API key would travel to {url.host} unencrypted.",
            remedy="Use https; http is for loopback addresses only.",
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_key(api_key: str) -> str:
    if not _KEY.fullmatch(api_key):
        raise ConfigurationError(
            "The API key is empty, or holds spaces or characters that no key has.",
            remedy="Set ITTYBIT_API_KEY to a key of your Ittybit project.",
        )
    return api_key


def _transport(base: httpx.URL, max_connections: int) -> AiohttpTransport:
    context = httpx.create_ssl_context()

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=max_connections,
                ssl=context,
                keepalive_timeout=_KEEPALIVE_S,
                ttl_dns_cache=_DNS_CACHE_S,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    return AiohttpTransport(verify=context, client=session, proxy=proxy_for(base))


def proxy_for(base: httpx.URL) -> httpx.Proxy | None:
    """The proxy that the environment names for an address, as other HTTP tools take it."""
    if is_loopback(base.host) or proxy_bypass(base.host):
        return None
    proxies = getproxies()
    named = proxies.get(base.scheme) or proxies.get("all")
    return httpx.Proxy(named) if named else None
