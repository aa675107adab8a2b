"""One object of a bucket, the same from a listing, an inventory or an event."""

import html
import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

# More than any object has, and less than the ledger's column takes.
MOST_BYTES = 10**18
UNSEEN_REASON = "has a name with an invisible character; rename the object"

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CLEAN_ETAGS = re.compile(r"(?:[0-9a-f]{32}(?:-[0-9]+)?\n)*")
_HASH = re.compile(r"[0-9a-f]{32}(?:-[0-9]+)?", re.IGNORECASE)
_QUOTE_IN_URL = "%22"
_WEAK = "W/"


class Entry(NamedTuple):
    """One object, as a store reports it.

    Args:
        key: Its key in the bucket.
        size_bytes: Its size; None if unknown.
        fingerprint: Its version id or ETag; None if unknown.
        modified_at: Aware UTC time of its last change; None if unknown.
        archived: Whether it must be restored before it can be read.
    """

    key: str
    size_bytes: int | None
    fingerprint: str | None
    modified_at: datetime | None
    archived: bool = False


def has_unseen(text: str) -> bool:
    """Say whether a text has an invisible character."""
    return _UNSEEN.search(text) is not None


def is_text(key: str) -> bool:
    """Say whether a key can be encoded: `decode_key` marks bytes that are not UTF-8."""
    return not any("\ud800" <= each <= "\udfff" for each in key)


def decode_key(encoded: str) -> str:
    """Decode a key of an answer with `EncodingType` `url`.

    Bytes that are not UTF-8 stay recognisable: a job must not read another object with a similar
    key.
    """
    return unquote_plus(encoded, errors="surrogateescape")


def place_of(key: str) -> bytes:
    """The key's place in a listing: stores sort bytes, and text sorts alike if all is UTF-8."""
    return key.encode("utf-8", "surrogateescape")


def is_before(key: str, other: str) -> bool:
    """Say whether a store lists a key before another one."""
    return place_of(key) < place_of(other)


def visible(key: str) -> str:
    """Replace the invisible characters of a key by their escapes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in key
    )


def bare_etag(text: str | None) -> str | None:
    """Reduce an ETag to the part that identifies the content.

    Stores write the quotes as they are, as `&quot;`, `&#34;` or `%22`, or leave them out. Proxies
    that compress mark an ETag as weak. A hash in capitals is the same hash.

    Returns:
        The ETag without quotes and marks; None if it is empty.
    """
    if not text:
        return None
    bare = html.unescape(text) if "&" in text else text
    if _QUOTE_IN_URL in bare:
        bare = unquote(bare)
    bare = bare.strip().removeprefix(_WEAK).removeprefix(_WEAK.lower()).strip().strip('"')
    return (bare.lower() if _HASH.fullmatch(bare) else bare) or None


def bare_etags(texts: Iterable[str | None]) -> list[str | None]:
    """Reduce the ETags of a page; one regular expression checks all of them at once."""
    given = list(texts)
    if None not in given:
        joined = "\n".join([*given, ""]).replace('"', "")  # type: ignore[list-item]
        if _CLEAN_ETAGS.fullmatch(joined) and joined.count("\n") == len(given):
            return joined.split("\n")[:-1]  # type: ignore[return-value]  # list is invariant
    return [bare_etag(text) for text in given]
