"""Takes credentials out of text that came from outside, before anyone can log it."""

import re
from collections.abc import Mapping
from typing import Any

# Enough to understand any message, and little enough to search in no time.
_LONGEST = 8192
_MASK = "[redacted]"
# A name and a password before the host, in the URL of anything: `s3://KEY:SECRET@bucket` is what
# people type. A secret key of AWS may hold slashes, so that with a colon the last `@` counts; a
# colon with a port behind it begins none.
_USER = re.compile(
    r"(?i)(?<=://)(?:[^\s\"'<>/:@]{0,512}:(?!\d{0,5}/)[^\s\"'<>@]{0,512}|[^\s\"'<>/@]{1,512})@"
)
# What a URL of any scheme may hold in its query, whether or not all of the query is masked.
_PARAMETER = re.compile(
    r"(?i)(?<![a-z])((?:[a-z-]{0,40}[_-])?(?:password|passwd|pwd|secret|token|signature|credential)=)"
    r"[^\s&\"'<>]+"
)
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer\s+)[^\s\"',;]+"), rf"\1{_MASK}"),
    (re.compile(r"\b(?:ittybit|sk)_(?:live|test)_[\w-]+"), _MASK),
    # A signed URL grants access to whoever reads it, and its query is what signs it.
    (re.compile(r"(?i)\b(https?://[^\s\"'<>?]{1,4096})\?[^\s\"'<>]+"), rf"\1?{_MASK}"),
    (_USER, f"{_MASK}@"),
    (_PARAMETER, rf"\1{_MASK}"),
)
# Greedy on purpose: a comma or a quote may stand in a signature.
_QUERY = re.compile(r"(https?://[^\s?]*)\?\S*", re.IGNORECASE)


def redacted(text: str, *secrets: str) -> str:
    """Mask bearer tokens, API keys, signed URLs' queries, and the secrets given; cut to 8 KiB."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, _MASK)
    text = text[:_LONGEST]
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def without_secrets(text: str) -> str:
    """Take passwords and signatures out of the addresses in a text, which stays short.

    For addresses that a user has given, in messages and reports: `redacted` marks what it masks.
    """
    return _PARAMETER.sub(r"\1...", _QUERY.sub(r"\1?...", _USER.sub("", text)))


def has_user(url: str) -> bool:
    """Say whether a URL has a name or a password before its host."""
    return "@" in url and _USER.search(url) is not None


def shown_source(source: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a source as they may be shown: without signatures and passwords."""
    return {name: _shown(value) for name, value in source.items()}


def _shown(value: Any) -> Any:  # noqa: ANN401 - plain data
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, list):
        return [_shown(each) for each in value]
    return value
