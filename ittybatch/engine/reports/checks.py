"""Check whether each output exists and has the right size, format and duration.

One request for an output's first bytes shows its size and format. The duration that Ittybit
reported is compared with the duration of the input. A failed check never stops a report.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urljoin, urlsplit

import httpx
import orjson
from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.engine.reports.durations import DurationLookup, Durations, is_too_short
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
_MAX_REDIRECTS = 3
_MAX_PARTS = 8
_TRIES = 2
# After this many failures in a row, send no more requests to a host: a million outputs at ten
# seconds each would delay a report for days.
_MAX_FAILURES = 20
_RANGE = f"bytes=0-{LONGEST - 1}"
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_GONE_CODES = frozenset({"404", "NoSuchKey", "NoSuchBucket"})


class Check(StrEnum):
    """The result of checking an output."""

    OK = "ok"
    MISSING = "missing"
    WRONG_SIZE = "wrong_size"
    WRONG_FORMAT = "wrong_format"
    TOO_SHORT = "too_short"
    UNKNOWN = "unknown"


CHECK_TEXTS = {
    Check.OK.value: "as expected",
    Check.MISSING.value: "missing",
    Check.WRONG_SIZE.value: "wrong size",
    Check.WRONG_FORMAT.value: "wrong format",
    Check.TOO_SHORT.value: "shorter than requested: the input may be truncated",
    Check.UNKNOWN.value: "could not be checked",
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """An existing output: its size, if known, and its first bytes."""

    size_bytes: int | None
    beginning: bytes


class _Gone(Exception):
    """The output does not exist."""


class _NoAnswer(Exception):
    """The server did not say whether the output exists."""


class OutputChecks:
    """Checks outputs concurrently.

    Args:
        durations: Looks up durations; None for no comparison.
        at_once: Maximum number of requests in flight.
    """

    def __init__(self, durations: DurationLookup | None = None, at_once: int = AT_ONCE) -> None:
        self._durations = durations
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="check")
        self._web = httpx.Client(
            timeout=_PATIENCE_S,
            limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once),
            # Request no compression, or else the size would be that of the compressed response.
            headers={"Accept-Encoding": "identity", "Range": _RANGE},
        )
        self._s3: S3Client | None = None
        self._failures: Counter[str] = Counter()
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

    def check(self, rows: Sequence[Result]) -> list[Result]:
        """Return the rows, with `check` set on jobs that succeeded."""
        durations = self._durations.of(rows) if self._durations else Durations()
        return list(self._threads.map(partial(self._checked, durations), rows))

    def _checked(self, durations: Durations, row: Result) -> Result:
        if row.state is not JobState.SUCCEEDED:
            return row
        check = self._check(row)
        if check in {Check.OK, Check.UNKNOWN} and is_too_short(row, durations):
            check = Check.TOO_SHORT
        return replace(row, check=check.value)

    def _check(self, row: Result) -> Check:
        if not row.output_url:
            return Check.UNKNOWN
        try:
            seen = self._fetch(row.output_url)
        except _Gone:
            return Check.MISSING
        except (_NoAnswer, ValueError):  # ValueError: the URL cannot be parsed
            return Check.UNKNOWN
        return _judge(row, seen)

    def _fetch(self, url: str) -> _Seen:
        host = urlsplit(url).netloc
        for attempt in range(1, _TRIES + 1):
            if self._failures[host] >= _MAX_FAILURES:
                break
            try:
                seen = self._object(url) if url.startswith(SCHEME) else self._page(url)
            except _NoAnswer:
                if attempt == _TRIES:
                    with self._lock:
                        self._failures[host] += 1
            else:
                self._failures[host] = 0
                return seen
        raise _NoAnswer

    def _page(self, url: str) -> _Seen:
        for _ in range(_MAX_REDIRECTS + 1):
            _refuse_open_http(url)
            try:
                with self._web.stream("GET", url) as answer:
                    if not answer.has_redirect_location:
                        return _seen_in(answer)
                    url = urljoin(url, answer.headers["location"])
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                raise _NoAnswer from error
        raise _NoAnswer

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
            if code == "InvalidRange":  # the object is empty
                return _Seen(0, b"")
            raise _NoAnswer from error
        except (BotoCoreError, IttybatchError, ValueError, OSError) as error:
            raise _NoAnswer from error
        return _Seen(_whole_size(answer.get("ContentRange"), answer["ContentLength"]), beginning)

    def _client(self) -> "S3Client":
        with self._lock:
            if self._s3 is None:
                self._s3 = s3_client()
            return self._s3


def _judge(row: Result, seen: _Seen) -> Check:
    # For adaptive video, only the playlist is fetched; the reported size may cover all files.
    playlist = row.kind == Kind.ADAPTIVE_VIDEO
    size = None if playlist else row.size_bytes
    if seen.size_bytes == 0 or (size and seen.size_bytes is not None and seen.size_bytes != size):
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
    """Refuse plain HTTP, except to this machine, for the sandbox."""
    try:
        parts = urlsplit(url)
        allowed = parts.scheme == "https" or (
            parts.scheme == "http" and is_loopback(parts.hostname)
        )
    except ValueError:
        allowed = False
    if not allowed:
        raise _NoAnswer


def _seen_in(answer: httpx.Response) -> _Seen:
    if answer.status_code in _GONE:
        raise _Gone
    if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _Seen(0, b"")
    if not answer.is_success:
        raise _NoAnswer
    beginning = b""
    # Read few parts, because a server may send byte by byte.
    for part in islice(answer.iter_raw(), _MAX_PARTS):
        beginning += part
        if len(beginning) >= LONGEST:
            break
    header = answer.headers.get("content-length", "")
    length = int(header) if header.isdecimal() else None
    partial = answer.status_code == HTTPStatus.PARTIAL_CONTENT
    size = _whole_size(answer.headers.get("content-range"), None if partial else length)
    return _Seen(size, beginning[:LONGEST])


def _whole_size(content_range: str | None, length: int | None) -> int | None:
    """Return the size after the slash in `bytes 0-63/1000`, or else the length."""
    size = content_range.rpartition("/")[2] if content_range else ""
    return int(size) if size.isdecimal() else length
