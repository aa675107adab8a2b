"""A look at each output: whether it is there, as large as Ittybit said, and of its format.

One request an output, for its first bytes: the answer tells the size of the whole, and the
bytes tell the format. Nothing that goes wrong here stops a report.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urljoin, urlsplit

import httpx
import orjson
from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.engine.reports.signs import LONGEST, fits
from ittybatch.errors import IttybatchError
from ittybatch.ittybit.options import Kind
from ittybatch.ledger.results import Result
from ittybatch.ledger.states import JobState
from ittybatch.sources.s3 import SCHEME, is_loopback, s3_client, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AT_ONCE = 32
_PATIENCE_S = 10.0
_MOST_REDIRECTS = 3
_MOST_PARTS = 8
_TRIES = 2
# A host that has failed to answer so often in a row is not asked again: a million outputs at
# ten seconds each would keep a report waiting for days.
_GIVEN_UP_AFTER = 20
_RANGE = f"bytes=0-{LONGEST - 1}"
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_GONE_CODES = frozenset({"404", "NoSuchKey", "NoSuchBucket"})


class Check(StrEnum):
    """What a look at an output came to."""

    OK = "ok"
    MISSING = "missing"
    WRONG_SIZE = "wrong_size"
    WRONG_FORMAT = "wrong_format"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is there: its size where that was told, and how it begins."""

    size_bytes: int | None
    beginning: bytes


class _Gone(Exception):
    """There is nothing."""


class _Silent(Exception):
    """It cannot be told what is there."""


class OutputChecks:
    """Looks at outputs, some dozens at a time.

    Args:
        at_once: Requests in flight.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="check")
        self._web = httpx.Client(
            timeout=_PATIENCE_S,
            limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once),
            # As stored: a size would otherwise be that of the compressed answer.
            headers={"Accept-Encoding": "identity", "Range": _RANGE},
        )
        self._s3: S3Client | None = None
        self._silent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._web.close()
        if self._s3 is not None:
            self._s3.close()

    def look(self, rows: Sequence[Result]) -> list[Result]:
        """Give the rows back, those that succeeded with what a look at their output came to."""
        return list(self._threads.map(self._checked, rows))

    def _checked(self, row: Result) -> Result:
        if row.state is not JobState.SUCCEEDED:
            return row
        return replace(row, check=self._check(row).value)

    def _check(self, row: Result) -> Check:
        if not row.output_url:
            return Check.UNKNOWN
        try:
            seen = self._look_at(row.output_url)
        except _Gone:
            return Check.MISSING
        except (_Silent, ValueError):  # some addresses cannot even be taken apart
            return Check.UNKNOWN
        return _judge(row, seen)

    def _look_at(self, url: str) -> _Seen:
        host = urlsplit(url).netloc
        for attempt in range(1, _TRIES + 1):
            if self._silent[host] >= _GIVEN_UP_AFTER:
                break
            try:
                seen = self._object(url) if url.startswith(SCHEME) else self._page(url)
            except _Silent:
                if attempt == _TRIES:
                    with self._lock:
                        self._silent[host] += 1
            else:
                self._silent[host] = 0
                return seen
        raise _Silent

    def _page(self, url: str) -> _Seen:
        for _ in range(_MOST_REDIRECTS + 1):
            _refuse_open_http(url)
            try:
                with self._web.stream("GET", url) as answer:
                    if not answer.has_redirect_location:
                        return _seen_in(answer)
                    url = urljoin(url, answer.headers["location"])
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                raise _Silent from error
        raise _Silent

    def _object(self, uri: str) -> _Seen:
        try:
            bucket, key = split_uri(uri)
            answer = self._client().get_object(Bucket=bucket, Key=key, Range=_RANGE)
            with answer["Body"] as body:
                beginning = body.read(LONGEST)
        except ClientError as error:
            code = str(cast("dict[str, Any]", error.response).get("Error", {}).get("Code", ""))
            if code in _GONE_CODES:
                raise _Gone from error
            if code == "InvalidRange":  # there is not even a first byte
                return _Seen(0, b"")
            raise _Silent from error
        except (BotoCoreError, IttybatchError, ValueError, OSError) as error:
            raise _Silent from error
        return _Seen(_whole_size(answer.get("ContentRange"), answer["ContentLength"]), beginning)

    def _client(self) -> "S3Client":
        with self._lock:
            if self._s3 is None:
                self._s3 = s3_client()
            return self._s3


def _judge(row: Result, seen: _Seen) -> Check:
    # A playlist is what is looked at; the size told may be that of all that it lists.
    playlist = row.kind == Kind.ADAPTIVE_VIDEO
    told = None if playlist else row.size_bytes
    if seen.size_bytes == 0 or (told and seen.size_bytes is not None and seen.size_bytes != told):
        return Check.WRONG_SIZE
    wanted = _asked_format(row) or row.format
    if wanted and fits(seen.beginning, wanted) is False:
        return Check.WRONG_FORMAT
    return Check.OK


def _asked_format(row: Result) -> str | None:
    try:
        found = orjson.loads(row.options).get("format")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def _refuse_open_http(url: str) -> None:
    """Go over HTTPS, and over plain HTTP to this machine alone, as the sandbox has it."""
    try:
        parts = urlsplit(url)
        allowed = parts.scheme == "https" or (
            parts.scheme == "http" and is_loopback(parts.hostname)
        )
    except ValueError:
        allowed = False
    if not allowed:
        raise _Silent


def _seen_in(answer: httpx.Response) -> _Seen:
    if answer.status_code in _GONE:
        raise _Gone
    if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _Seen(0, b"")
    if not answer.is_success:
        raise _Silent
    beginning = b""
    # Few parts, so that a server that sends byte by byte holds up nobody.
    for part in islice(answer.iter_raw(), _MOST_PARTS):
        beginning += part
        if len(beginning) >= LONGEST:
            break
    told = answer.headers.get("content-length", "")
    length = int(told) if told.isdecimal() else None
    partial = answer.status_code == HTTPStatus.PARTIAL_CONTENT
    size = _whole_size(answer.headers.get("content-range"), None if partial else length)
    return _Seen(size, beginning[:LONGEST])


def _whole_size(content_range: str | None, length: int | None) -> int | None:
    """The size after the slash of `bytes 0-63/1000`, else the length of the whole."""
    told = content_range.rpartition("/")[2] if content_range else ""
    return int(told) if told.isdecimal() else length
