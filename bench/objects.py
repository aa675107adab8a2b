"""A bucket that is listed and nothing else: its answers are made before anybody asks.

It speaks as much of ListObjectsV2 as a listing takes: `start-after`, `continuation-token` and
`max-keys`, over keys that are numbers. A real server of S3 takes longer to make an answer than
anybody takes to read it, and so would hide what is measured.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

PREFIX = "uploads/2026/"
PAGE = 1000
_NUMBER = re.compile(r"(\d+)")
# Where answers have their place in the listing; no key holds it.
_PLACE = b"@@@@"


def key_of(number: int) -> str:
    """The key of an object."""
    return f"{PREFIX}{number:08}.mov"


class ListedBucket:
    """The bucket as an ASGI app.

    Args:
        objects: How many there are; a multiple of a thousand.
        changed: Number of an object whose content is not what it was; None for none.
    """

    def __init__(self, objects: int, changed: int | None = None) -> None:
        if objects % PAGE:
            raise ValueError(f"{objects} objects are no whole number of pages of {PAGE}.")
        self._objects = objects
        self._changed = changed
        self._page = "".join(map(_entry, range(PAGE))).encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        del receive
        if scope["type"] != "http":
            return
        body = b""
        if scope["method"] == "GET":
            asked = parse_qs(scope["query_string"].decode())
            body = self._answer({name: values[0] for name, values in asked.items()})
        headers = [
            (b"content-type", b"application/xml"),
            (b"content-length", str(len(body)).encode()),
            (b"x-amz-bucket-region", b"us-east-1"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, asked: dict[str, str]) -> bytes:
        if "delimiter" in asked:
            # Of folders there is only the one that everything lies in.
            inside = "" if asked.get("prefix", "").endswith(PREFIX) else PREFIX
            folders = f"<CommonPrefixes><Prefix>{inside}</Prefix></CommonPrefixes>"
            return _result(0, folders.encode() if inside else b"", None)
        start = 0
        if "continuation-token" in asked:
            start = int(asked["continuation-token"])
        elif found := _NUMBER.search(asked.get("start-after", "").removeprefix(PREFIX)):
            start = int(found[1]) + 1
        if start % PAGE or int(asked.get("max-keys", PAGE)) != PAGE:
            raise ValueError(f"{asked} does not ask for a whole page.")
        if start >= self._objects:
            return _result(0, b"", None)
        page = self._page.replace(_PLACE, b"%05d" % (start // PAGE))
        if self._changed is not None and start <= self._changed < start + PAGE:
            page = page.replace(b"%032x" % (self._changed % PAGE), b"f" * 32)
        after = start + PAGE
        return _result(PAGE, page, after if after < self._objects else None)


def _entry(number: int) -> str:
    return (
        f"<Contents><Key>{PREFIX}{_PLACE.decode()}{number:03}.mov</Key>"
        "<LastModified>2026-01-02T03:04:05.000Z</LastModified>"
        f"<ETag>&quot;{number:032x}&quot;</ETag>"
        "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        "<ChecksumType>FULL_OBJECT</ChecksumType>"
        f"<Size>{48_000_000 + number}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _result(count: int, content: bytes, after: int | None) -> bytes:
    more = after is not None
    token = f"<NextContinuationToken>{after}</NextContinuationToken>" if more else ""
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>library</Name><Prefix>{PREFIX}</Prefix>{token}<KeyCount>{count}</KeyCount>"
        f"<MaxKeys>{PAGE}</MaxKeys><EncodingType>url</EncodingType>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    )
    return head.encode() + content + b"</ListBucketResult>"


def bucket_of(environment: Mapping[str, str]) -> ListedBucket:
    """The bucket that `BENCH_OBJECTS` and `BENCH_CHANGED` tell of."""
    changed = environment.get("BENCH_CHANGED")
    return ListedBucket(int(environment["BENCH_OBJECTS"]), int(changed) if changed else None)
