"""Answers to ListObjectsV2 read without an XML parser, which would be most of a listing's time.

Patterns find the four values of each object. Where their numbers do not agree with each other
and with the answer's own count, the answer is left to boto3.
"""

import html
import re
from datetime import datetime

from botocore.compat import unquote_str

from ittybatch.sources.entry import Entry

_KEYS = re.compile(rb"<Key>([^<]*)</Key>")
_TIMES = re.compile(rb"<LastModified>([^<]*)</LastModified>")
_ETAGS = re.compile(rb"<ETag>([^<]*)</ETag>")
_SIZES = re.compile(rb"<Size>([0-9]+)</Size>")
_COUNT = re.compile(rb"<KeyCount>([0-9]+)</KeyCount>")
_TRUNCATED = re.compile(rb"<IsTruncated>(true|false)</IsTruncated>")
_END = b"</ListBucketResult>"


def parse_answer(body: bytes) -> tuple[list[Entry], bool] | None:
    """Read an answer.

    Returns:
        The objects, and whether there are more; None where it is not wholly understood.
    """
    count, truncated = _COUNT.search(body), _TRUNCATED.search(body)
    if count is None or truncated is None or not body.rstrip().endswith(_END):
        return None
    keys, sizes = _KEYS.findall(body), _SIZES.findall(body)
    times, etags = _TIMES.findall(body), _ETAGS.findall(body)
    if {len(keys), len(sizes), len(times), len(etags)} != {int(count[1])}:
        return None
    try:
        names = [key.decode() for key in keys]
        modified = [datetime.fromisoformat(time.decode()) for time in times]
    except ValueError:
        return None
    if b"&" in b"".join(keys):
        names = [html.unescape(name) for name in names]
    if b"<EncodingType>url</EncodingType>" in body:
        names = [unquote_str(name) if "%" in name or "+" in name else name for name in names]
    tags = b"\n".join(etags).replace(b"&quot;", b"").replace(b'"', b"").decode().split("\n")
    if any(time.tzinfo is None for time in modified[:1]) or len(tags) != max(len(keys), 1):
        return None
    entries = list(map(Entry, names, map(int, sizes), tags, modified))
    return entries, truncated[1] == b"true"
