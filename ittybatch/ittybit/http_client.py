"""HTTP to Ittybit: adds the API key and bounds the time and size of every answer."""

import asyncio
import ipaddress
import re
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

from ittybatch import __version__
from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.addresses import has_host
from ittybatch.ittybit.answer import Answer
from ittybatch.ittybit.errors import IttybitConnectionError, IttybitError, IttybitTimeout
from ittybatch.ittybit.redaction import redacted

_MAX_ANSWER_BYTES = 16 * 1024 * 1024
_MAX_CONNECT_S = 10.0
_KEY = re.compile(r"[\x21-\x7e]+")


class HttpClient:
    """The connections to one API, open inside `async with`.

    Args:
        api_key: Sent as a bearer token; never shown.
        base_url: The API's address; https, or http on a loopback address.
        timeout_s: Seconds for one request, up to the last byte of its answer.
        max_connections: Requests that run at once; further requests wait.

    Raises:
        ConfigurationError: The key or the address is unusable.
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str,
        timeout_s: float,
        max_connections: int,
    ) -> None:
        self._key = _checked_key(api_key)
        self._base = checked_url(base_url)
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None
        self._proxy: httpx.Proxy | None = None
        self._proxy_auth: aiohttp.BasicAuth | None = None

    def __repr__(self) -> str:
        return f"<HttpClient for {self._base}>"

    @property
    def base_url(self) -> str:
        """The API's address."""
        return str(self._base)

    async def __aenter__(self) -> Self:
        # Created here because they belong to the event loop that opens the client.
        self._free = asyncio.Semaphore(self._max_connections)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._max_connections, ssl=httpx.create_ssl_context()
            ),
            headers={
                "Authorization": f"Bearer {self._key}",
                "Accept": "application/json",
                # A compressed answer could be small on the network and huge in memory.
                "Accept-Encoding": "identity",
                "User-Agent": f"ittybatch/{__version__}",
            },
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Everything after connecting falls under the one limit for the whole request.
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=min(self._timeout_s, _MAX_CONNECT_S)
            ),
        )
        self._proxy = proxy_for(self._base)
        login = self._proxy.auth if self._proxy else None
        self._proxy_auth = aiohttp.BasicAuth(*login) if login else None
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, path: str, content: bytes, idempotency_key: str) -> Answer:
        """Send a JSON body.

        Raises:
            IttybitError: The API refused the request or did not answer it.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        return await self._request("POST", path, content=content, headers=headers)

    async def get(self, path: str, query: dict[str, str] | None = None) -> Answer:
        """Request a resource.

        Raises:
            IttybitError: The API refused the request or did not answer it.
        """
        return await self._request("GET", path, query=query)

    async def delete(self, path: str) -> Answer:
        """Delete a resource.

        Raises:
            IttybitError: The API refused the request or did not answer it.
        """
        return await self._request("DELETE", path)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> Answer:
        if self._session is None:
            raise ConfigurationError(
                "The connection to Ittybit is not open.",
                remedy="Use the client inside `async with`.",
            )
        what = f"{method} {path}"
        search = f"?{urlencode(query, quote_via=quote)}" if query else ""
        # Encoded already: the path has the id of a job, whatever it contains.
        url = URL(f"{self._base}{path}{search}", encoded=True)
        try:
            # The time limit does not include the wait for a free connection.
            async with (
                self._free,
                asyncio.timeout(self._timeout_s),
                self._session.request(
                    method,
                    url,
                    data=content,
                    headers=headers,
                    allow_redirects=False,
                    proxy=str(self._proxy.url) if self._proxy else None,
                    proxy_auth=self._proxy_auth,
                ) as response,
            ):
                answer = await _read(response, what)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failure = self._failure(what, error)
        else:
            if answer.accepted:
                return answer
            failure = answer.refusal(self._key)
        # Raised outside of `except`: no traceback may lead to a request and its Authorization.
        raise failure

    def _failure(self, what: str, error: Exception) -> IttybitError:
        if isinstance(error, TimeoutError):
            return IttybitTimeout(
                f"Ittybit did not answer {what} within {self._timeout_s:g} s.",
                remedy="Ittybit may have accepted the request all the same.",
            )
        reason = redacted(str(error), self._key).strip() or "no reason given"
        return IttybitConnectionError(
            f"The connection to {self._base.host} failed during {what}: "
            f"{type(error).__name__}: {reason[:300].rstrip('.')}.",
            remedy="Check the network and ITTYBIT_API_URL.",
        )


async def _read(response: aiohttp.ClientResponse, what: str) -> Answer:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            break
    answer = Answer(what, response.status, response.headers, bytes(body))
    if answer.accepted and len(body) > _MAX_ANSWER_BYTES:
        raise answer.unreadable(f"its body is larger than {_MAX_ANSWER_BYTES} bytes")
    return answer


def checked_url(base_url: str) -> httpx.URL:
    """The API's address, without a trailing slash.

    Raises:
        ConfigurationError: It is not a plain http(s) address, or it is http on another machine.
    """
    remedy = "Set ITTYBIT_API_URL to an address like https://api.ittybit.com."
    try:
        url = httpx.URL(base_url.rstrip("/"))
    except (httpx.InvalidURL, TypeError):
        raise ConfigurationError("The API's address is not a URL.", remedy=remedy) from None
    if url.scheme not in {"http", "https"} or not has_host(base_url):
        raise ConfigurationError("The API's address is not an http(s) URL.", remedy=remedy)
    if url.userinfo or url.query or url.fragment:
        raise ConfigurationError(
            "The API's address contains more than a host and a path.", remedy=remedy
        )
    if url.scheme == "http" and not is_loopback(url.host):
        raise ConfigurationError(
            f"The API key would travel to {url.host} unencrypted.",
            remedy="Use https; http is for loopback addresses only.",
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_key(api_key: str) -> str:
    if not _KEY.fullmatch(api_key):
        raise ConfigurationError(
            "The API key is empty, or contains spaces or characters that no key has.",
            remedy="Set ITTYBIT_API_KEY to a key of your Ittybit project.",
        )
    return api_key


def proxy_for(base: httpx.URL) -> httpx.Proxy | None:
    """The proxy that the environment sets for an address; none for loopback addresses."""
    if is_loopback(base.host) or proxy_bypass(base.host):
        return None
    proxies = getproxies()
    proxy = proxies.get(base.scheme) or proxies.get("all")
    return httpx.Proxy(proxy) if proxy else None
