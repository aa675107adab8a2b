"""One form for an ETag, whichever reader saw it: a listing, an inventory, an event, a manifest."""

import html
import re
from collections.abc import Iterable
from urllib.parse import unquote

_CLEAN = re.compile(r"(?:[0-9a-f]{32}(?:-[0-9]+)?\n)*")
_HASH = re.compile(r"[0-9a-f]{32}(?:-[0-9]+)?", re.IGNORECASE)
_QUOTE_IN_URL = "%22"
_WEAK = "W/"


def bare_etag(text: str | None) -> str | None:
    """Reduce an ETag to what identifies the content.

    Stores write the quotes as they are, as `&quot;`, `&#34;` or `%22`, or leave them out. Proxies
    that compress mark an ETag as weak. A hash is the same in capitals.

    Returns:
        The ETag without its wrapping; None if there is none.
    """
    if not text:
        return None
    bare = html.unescape(text) if "&" in text else text
    if _QUOTE_IN_URL in bare:
        bare = unquote(bare)
    bare = bare.strip().removeprefix(_WEAK).removeprefix(_WEAK.lower()).strip().strip('"')
    return (bare.lower() if _HASH.fullmatch(bare) else bare) or None


def bare_etags(texts: Iterable[str | None]) -> list[str | None]:
    """Reduce the ETags of a page, which mostly differ in nothing but their quotes."""
    given = list(texts)
    if None not in given:
        joined = "\n".join([*given, ""]).replace('"', "")  # type: ignore[list-item]
        if _CLEAN.fullmatch(joined) and joined.count("\n") == len(given):
            return joined.split("\n")[:-1]  # type: ignore[return-value]  # list is invariant
    return [bare_etag(text) for text in given]
