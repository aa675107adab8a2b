"""Downloads inputs to disk, with limits on size and time."""

import asyncio
import string
import threading
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from ittybit_sandbox.config import SandboxConfig
from ittybit_sandbox.errors import JobFailure
from ittybit_sandbox.media.bucket import Bucket, too_large, too_slow
from ittybit_sandbox.vocabulary import ErrorKind

_CHUNK_BYTES: Final = 1_048_576
_MAX_REDIRECTS: Final = 5
_CONNECT_TIMEOUT_S: Final = 10
_SILENCE_TIMEOUT_S: Final = 60
_OK: Final = 200
# A retry may succeed after these.
_TEMPORARY: Final = frozenset({408, 425, 429})
_SERVER_ERRORS: Final = 500


class Fetcher:
    """Downloads inputs over HTTP and from S3.

    Args:
        config: Limits on size and time.
        bucket: Reads from S3.
    """

    def __init__(self, config: SandboxConfig, bucket: Bucket) -> None:
        self._config = config
        self._bucket = bucket

    async def start(self) -> None:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(
                total=self._config.download_timeout_s,
                sock_connect=_CONNECT_TIMEOUT_S,
                sock_read=_SILENCE_TIMEOUT_S,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A signed URL is only valid as written, also in a redirect.
            requote_redirect_url=False,
            headers={"User-Agent": "ittybit-sandbox", "Accept-Encoding": "identity"},
        )

    async def stop(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def fetch(self, url: str, to: Path) -> None:
        """Download an input.

        Raises:
            JobFailure: The input cannot be read, is too large, or takes too long.
        """
        if url[:5].lower() == "s3://":
            await self._fetch_object(url, to)
        else:
            await self._fetch_url(url, to)

    async def _fetch_object(self, url: str, to: Path) -> None:
        cancelled = threading.Event()
        try:
            await asyncio.to_thread(
                self._bucket.download,
                url,
                to,
                max_bytes=self._config.max_input_bytes,
                timeout_s=self._config.download_timeout_s,
                cancelled=cancelled,
            )
        finally:
            cancelled.set()

    async def _fetch_url(self, url: str, to: Path) -> None:
        try:
            async with self._session.get(as_given(url), max_redirects=_MAX_REDIRECTS) as response:
                _check_status(response.status)
                await self._save(response, to)
        except TimeoutError:
            raise too_slow(self._config.download_timeout_s) from None
        except (aiohttp.InvalidURL, aiohttp.TooManyRedirects) as error:
            message = f"could not fetch the input: {type(error).__name__}"
            raise JobFailure(ErrorKind.INVALID_INPUT, message) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f"could not fetch the input: {type(error).__name__}"
            raise JobFailure(ErrorKind.INTERNAL_ERROR, message) from None

    async def _save(self, response: aiohttp.ClientResponse, to: Path) -> None:
        max_bytes = self._config.max_input_bytes
        if (response.content_length or 0) > max_bytes:
            raise too_large(max_bytes)
        received = 0
        with to.open("wb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                received += len(chunk)
                if received > max_bytes:
                    raise too_large(max_bytes)
                await asyncio.to_thread(file.write, chunk)


def as_given(url: str) -> URL:
    """Keep a URL as it is written; escape only characters that no URL can contain, like spaces."""
    return URL(quote(url, safe=string.punctuation), encoded=True)


def _check_status(status: int) -> None:
    if status == _OK:
        return
    temporary = status >= _SERVER_ERRORS or status in _TEMPORARY
    kind = ErrorKind.INTERNAL_ERROR if temporary else ErrorKind.INVALID_INPUT
    raise JobFailure(kind, f"could not fetch the input: the server answered {status}")
