"""Where a manifest can be: a folder of this machine, a bucket, or a web server."""

import stat
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin, urlsplit

import httpx
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
)
from urllib3.exceptions import HTTPError

from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.addresses import has_host
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.settings import Settings
from ittybatch.sources.page import SourceError
from ittybatch.sources.s3 import (
    SCHEME,
    failure,
    is_loopback,
    parse_retry_after,
    request_payer_parameters,
    s3_client,
    split_uri,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.response import StreamingBody

_BLOCK_BYTES = 256 * 1024
_MAX_REDIRECTS = 5
_TIMEOUT = httpx.Timeout(60, connect=10)


class BrokenConnectionError(Exception):
    """A transfer failed or ended early. It can continue at the byte where it broke.

    Args:
        reason: What happened.
        retry_after_s: Seconds that the server asked to wait.
        unreachable: Whether no server answered at all.
    """

    def __init__(
        self, reason: str, *, retry_after_s: float | None = None, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.unreachable = unreachable


class Origin(Protocol):
    """A place that holds a manifest.

    `identity` changes when the manifest does. It is None before `open`, and empty if the place
    reports nothing to compare.
    """

    identity: str | None

    def open(self, offset: int) -> None:
        """Prepare to read from a byte on.

        Raises:
            SourceError: The manifest is missing or may not be read.
            BrokenConnectionError: The place could not be reached this time.
        """

    def read(self) -> bytes:
        """Return the next block; empty at the end.

        Raises:
            BrokenConnectionError: The transfer ended early.
        """

    def close(self) -> None:
        """Close the connection or the file."""


def origin_of(uri: str, *, request_payer: bool = False) -> Origin:
    """Return the origin that a URI names; arguments as for `S3Origin`."""
    if uri.startswith(SCHEME):
        return S3Origin(uri, request_payer=request_payer)
    if uri.startswith(("http://", "https://")):
        return WebOrigin(uri)
    return FileOrigin(Path(uri))


def require_allowed(path: Path) -> None:
    """Refuse a file outside of the folders that `ITTYBATCH_FILE_DIRS` lists.

    Whoever starts a run names the files to read. In a Prefect with several users, some of them
    must not see every file of the worker. Symbolic links are followed first.

    Raises:
        ConfigurationError: The file is outside of these folders.
    """
    folders = Settings().file_dirs
    resolved = path.expanduser().resolve()
    if not folders or any(resolved.is_relative_to(folder) for folder in folders):
        return
    raise ConfigurationError(
        f"{path} is outside of the folders that batches may use on this machine.",
        remedy="Put the file into one of the folders of ITTYBATCH_FILE_DIRS, or ask the worker's "
        f"operator to add {resolved.parent} to it.",
    )


class FileOrigin:
    """A manifest in a folder of this machine.

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
        """Return the next block."""
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
            # A pipe without a writer blocks forever, and a pipe cannot be read twice.
            raise SourceError(
                f"The manifest {self._path} cannot be read: it is a pipe or a device, not a file.",
                remedy="Save its content as a file, and name that file.",
            )

    def _state(self) -> str:
        state = self._path.stat()
        return f"{state.st_size}-{state.st_mtime_ns}"


class S3Origin:
    """A manifest in a bucket.

    Args:
        uri: `s3://bucket/key`.
        request_payer: Whether the requester agrees to pay.
    """

    def __init__(self, uri: str, *, request_payer: bool = False) -> None:
        self.identity: str | None = None
        self._uri = uri
        self._bucket, self._key = split_uri(uri)
        self._payer = request_payer_parameters(request_payer)
        self._client = s3_client()
        self._body: StreamingBody | None = None

    def open(self, offset: int) -> None:
        """Request the object from a byte on."""
        self.close()
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=self._key, **self._payer)
            self.identity = f"{head['ETag']}-{head['ContentLength']}"
            if offset >= head["ContentLength"]:
                return
            self._body = self._client.get_object(
                Bucket=self._bucket,
                Key=self._key,
                Range=f"bytes={offset}-",
                IfMatch=head["ETag"],
                **self._payer,
            )["Body"]
        except ClientError as error:
            # The answer to HEAD has no body that could name the reason.
            if error.response["Error"]["Code"] == "404":
                error.response["Error"] = {"Code": "NoSuchKey", "Message": "no such object"}
            metadata = error.response["ResponseMetadata"]
            if _is_busy(metadata["HTTPStatusCode"]):
                wait_s = parse_retry_after(metadata["HTTPHeaders"].get("retry-after"))
                raise BrokenConnectionError(str(error), retry_after_s=wait_s) from error
            raise failure("read", self._uri, error) from error
        except (HTTPClientError, EndpointConnectionError) as error:
            raise BrokenConnectionError(str(error), unreachable=True) from error
        except BotoCoreError as error:
            raise failure("read", self._uri, error) from error

    def read(self) -> bytes:
        """Return the next block."""
        if self._body is None:
            return b""
        try:
            return self._body.read(_BLOCK_BYTES)
        except (BotoCoreError, HTTPError, OSError) as error:
            raise BrokenConnectionError(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        if self._body is not None:
            self._body.close()
            self._body = None


def _is_busy(status: int) -> bool:
    """Say whether a request may succeed later, as after S3's `SlowDown`."""
    return httpx.codes.is_server_error(status) or status == httpx.codes.TOO_MANY_REQUESTS


class WebOrigin:
    """A manifest on a web server. Plain HTTP is for this machine only.

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
        """Request the file from a byte on; skip to that byte if the server ignores ranges."""
        self.close()
        client = self._open.enter_context(httpx.Client(timeout=_TIMEOUT))
        try:
            response = self._answer(client, offset)
            total = _total_bytes(response)
            tags = (response.headers.get("etag", ""), response.headers.get("last-modified", ""))
            self.identity = f"{'|'.join(tags)}|{total}"
            self._tag = tags[0]
            # Do not set a chunk size: a partly filled chunk is lost when the connection breaks.
            self._blocks = response.iter_raw()
            partial = response.status_code == httpx.codes.PARTIAL_CONTENT
            self._skip(min(offset, 1) if partial else offset)
        except (httpx.InvalidURL, ValueError) as error:
            raise self._refused("it was redirected to what is no URL") from error
        except httpx.HTTPError as error:
            unreachable = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise BrokenConnectionError(str(error), unreachable=unreachable) from error

    def read(self) -> bytes:
        """Return the next block."""
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
        # Offsets count uncompressed bytes.
        headers = {"Accept": "text/csv, */*", "Accept-Encoding": "identity"}
        if offset:
            # Begin one byte early: servers refuse a range that begins at the end.
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
        if _is_busy(status):
            raise BrokenConnectionError(
                f"the server answered {status} {response.reason_phrase}",
                retry_after_s=parse_retry_after(response.headers.get("retry-after")),
            )
        if status == httpx.codes.PRECONDITION_FAILED:
            raise self._refused("it has changed since this batch began to read it")
        if status not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
            raise self._refused(f"the server answered {status} {response.reason_phrase}")
        encodings = response.headers.get("content-encoding", "").lower().replace(" ", "").split(",")
        # The first bytes identify gzip and zstd, but not these two.
        if unknown := {"br", "deflate"}.intersection(encodings):
            raise self._refused(
                f"the server sent it as {unknown.pop()}, which cannot be unpacked here; make it "
                "send gzip, zstd or neither"
            )
        return response

    def _skip(self, count: int) -> None:
        while count > 0 and (block := next(self._blocks, b"")):
            if len(block) > count:
                self._blocks = chain([block[count:]], self._blocks)
            count -= len(block)

    def _refused(self, why: str) -> SourceError:
        self.close()
        return SourceError(
            f"The manifest {without_secrets(self._url)} cannot be read: {why}.",
            remedy="Check the URL. If it is signed, check that its signature has not expired.",
        )


def _total_bytes(response: httpx.Response) -> str:
    headers: Any = response.headers
    if "content-range" in headers:
        return str(headers["content-range"].rpartition("/")[2])
    return str(headers.get("content-length", ""))


def _require_private(url: str) -> None:
    if not has_host(url):
        raise SourceError(
            f"The manifest {without_secrets(url)} cannot be read: its URL names no host.",
            remedy="Check the URL: a host is names of 1 to 63 characters with dots between them.",
        )
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname)):
        return
    raise SourceError(
        f"The manifest {without_secrets(url)} cannot be read: it is not on HTTPS.",
        remedy="Use an https:// URL; http:// is for this machine only.",
    )
