"""The places a manifest can lie in: a folder, S3, a web server."""

import stat
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import httpx
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
)
from urllib3.exceptions import HTTPError

from ittybatch.sources.errors import SourceError, without_secrets
from ittybatch.sources.patience import BrokenConnectionError, seconds_of_retry_after
from ittybatch.sources.places import require_allowed
from ittybatch.sources.s3 import SCHEME, failure, is_loopback, patient, s3_client, split_uri
from ittybatch.sources.stream import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.response import StreamingBody

_BLOCK_BYTES = 256 * 1024
_MAX_REDIRECTS = 5
_TIMEOUT = httpx.Timeout(60, connect=10)


def origin_of(uri: str) -> Origin:
    """Tell where a manifest lies by its URI."""
    if uri.startswith(SCHEME):
        return S3Origin(uri)
    if uri.startswith(("http://", "https://")):
        return WebOrigin(uri)
    return FileOrigin(Path(uri))


class FileOrigin:
    """A manifest in a folder.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.identity: str | None = None
        self._path = path
        self._file: IO[bytes] | None = None

    def open(self, offset: int) -> None:
        """Open the file at a byte."""
        self.close()
        require_allowed(self._path)
        try:
            self._require_file()
            self._file = self._path.open("rb", buffering=0)
            self._file.seek(offset)
        except OSError as error:
            raise SourceError(
                f"The manifest {self._path} cannot be read: {error.strerror}.",
                remedy="Check the path; it must exist on the machine that runs the batch.",
            ) from error
        self.identity = self._state()

    def read(self) -> bytes:
        """Give the next block."""
        assert self._file is not None  # noqa: S101 - the stream opens before it reads
        block = self._file.read(_BLOCK_BYTES)
        if not block and self._state() != self.identity:
            raise SourceError(
                f"The manifest {self._path} was written to while it was read.",
                remedy="Start a new batch once it is complete; move it into place when it is.",
            )
        return block

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _require_file(self) -> None:
        mode = self._path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            # A pipe without a writer would keep the batch waiting for ever, and none is read twice.
            raise SourceError(
                f"The manifest {self._path} cannot be read: it is a pipe or a device, no file.",
                remedy="Save what it gives as a file, and name that.",
            )

    def _state(self) -> str:
        state = self._path.stat()
        return f"{state.st_size}-{state.st_mtime_ns}"


class S3Origin:
    """A manifest in a bucket.

    Args:
        uri: `s3://bucket/key`.
    """

    def __init__(self, uri: str) -> None:
        self.identity: str | None = None
        self._uri = uri
        self._bucket, self._key = split_uri(uri)
        self._client = s3_client()
        self._body: StreamingBody | None = None

    def open(self, offset: int) -> None:
        """Ask for the object from a byte on."""
        self.close()
        try:
            head = patient(lambda: self._client.head_object(Bucket=self._bucket, Key=self._key))
            self.identity = f"{head['ETag']}-{head['ContentLength']}"
            if offset >= head["ContentLength"]:
                return
            self._body = self._client.get_object(
                Bucket=self._bucket, Key=self._key, Range=f"bytes={offset}-", IfMatch=head["ETag"]
            )["Body"]
        except ClientError as error:
            # HEAD answers have no body to name the reason in.
            if error.response["Error"]["Code"] == "404":
                error.response["Error"] = {"Code": "NoSuchKey", "Message": "no such object"}
            if _is_busy(error):
                raise BrokenConnectionError(str(error)) from error
            raise failure("read", self._uri, error) from error
        except (HTTPClientError, EndpointConnectionError) as error:
            raise BrokenConnectionError(str(error), unreachable=True) from error
        except BotoCoreError as error:
            raise failure("read", self._uri, error) from error

    def read(self) -> bytes:
        """Give the next block."""
        if self._body is None:
            return b""
        try:
            return self._body.read(_BLOCK_BYTES)
        except (BotoCoreError, HTTPError, OSError) as error:
            raise BrokenConnectionError(str(error)) from error

    def close(self) -> None:
        """Give the connection up."""
        if self._body is not None:
            self._body.close()
            self._body = None


def _is_busy(error: ClientError) -> bool:
    """Whether S3 asks to come again later: `SlowDown` and its like."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS


class WebOrigin:
    """A manifest on a web server; plain HTTP only on this machine.

    Args:
        url: http(s) URL.
    """

    def __init__(self, url: str) -> None:
        self.identity: str | None = None
        self._url = url
        self._tag = ""
        self._open = ExitStack()
        self._blocks: Iterator[bytes] = iter(())

    def open(self, offset: int) -> None:
        """Ask for the file from a byte on, and skip to it where the server cannot."""
        self.close()
        client = self._open.enter_context(httpx.Client(timeout=_TIMEOUT))
        try:
            response = self._answer(client, offset)
            total = _total_bytes(response)
            tags = (response.headers.get("etag", ""), response.headers.get("last-modified", ""))
            self.identity = f"{'|'.join(tags)}|{total}"
            self._tag = tags[0]
            # As they come: gathered into larger ones, those before a break would be lost.
            self._blocks = response.iter_raw()
            partial = response.status_code == httpx.codes.PARTIAL_CONTENT
            self._skip(min(offset, 1) if partial else offset)
        except httpx.HTTPError as error:
            unreachable = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise BrokenConnectionError(str(error), unreachable=unreachable) from error

    def read(self) -> bytes:
        """Give the next block."""
        try:
            return next(self._blocks, b"")
        except httpx.HTTPError as error:
            raise BrokenConnectionError(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._open.close()
        self._open = ExitStack()

    def _answer(self, client: httpx.Client, offset: int) -> httpx.Response:
        url = self._url
        # Compressed bytes could not be counted.
        headers = {"Accept": "text/csv, */*", "Accept-Encoding": "identity"}
        if offset:
            # One byte more than needed: a range that begins at the end would be refused.
            headers["Range"] = f"bytes={offset - 1}-"
            if self._tag and not self._tag.startswith("W/"):
                headers["If-Match"] = self._tag
        for _ in range(_MAX_REDIRECTS + 1):
            _require_private(url)
            response = self._open.enter_context(client.stream("GET", url, headers=headers))
            if not response.has_redirect_location:
                return self._checked(response)
            url = urljoin(url, response.headers["location"])
        raise self._refused(f"it was redirected more than {_MAX_REDIRECTS} times")

    def _checked(self, response: httpx.Response) -> httpx.Response:
        status = response.status_code
        if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise self._refused("it has become shorter since this batch began to read it")
        if response.is_server_error or status == httpx.codes.TOO_MANY_REQUESTS:
            asked_s = seconds_of_retry_after(response.headers.get("retry-after"))
            raise BrokenConnectionError(
                f"the server answered {status} {response.reason_phrase}", retry_after_s=asked_s
            )
        if status == httpx.codes.PRECONDITION_FAILED:
            raise self._refused("it has changed since this batch began to read it")
        if status not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
            raise self._refused(f"the server answered {status} {response.reason_phrase}")
        encodings = response.headers.get("content-encoding", "").lower().replace(" ", "").split(",")
        # Packed or not, the first bytes tell; of these two they do not.
        if strange := {"br", "deflate"}.intersection(encodings):
            raise self._refused(
                f"the server sent it as {strange.pop()}, which cannot be unpacked here; let it "
                "send gzip, zstd or neither"
            )
        return response

    def _skip(self, count: int) -> None:
        first = b""
        while count > 0:
            block = next(self._blocks, b"")
            if not block:
                return
            first, count = block[count:], count - len(block)
        if first:
            rest = self._blocks
            self._blocks = _after(first, rest)

    def _refused(self, why: str) -> SourceError:
        self.close()
        return SourceError(
            f"The manifest {without_secrets(self._url)} cannot be read: {why}.",
            remedy="Check the URL, and that its signature, if it has one, has not run out.",
        )


def _after(first: bytes, rest: "Iterator[bytes]") -> "Iterator[bytes]":
    yield first
    yield from rest


def _total_bytes(response: httpx.Response) -> str:
    headers: Any = response.headers
    if "content-range" in headers:
        return str(headers["content-range"].rpartition("/")[2])
    return str(headers.get("content-length", ""))


def _require_private(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname)):
        return
    raise SourceError(
        f"The manifest {without_secrets(url)} cannot be read: it is not on HTTPS.",
        remedy="Use an https:// URL; http:// is for this machine alone.",
    )
