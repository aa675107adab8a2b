"""Removes credentials from external text before it is logged."""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

# Long enough for any message, short enough to search quickly.
_MAX_LENGTH = 8192
_MASK = "[redacted]"
# A user name and password before the host of any URL: people type `s3://KEY:SECRET@bucket`. AWS
# secret keys may contain slashes, so after a colon the last `@` counts; a colon before a port
# number starts no password.
_USER = re.compile(
    r"(?i)(?<=://)(?:[^\s\"'<>/:@]{0,512}:(?!\d{0,5}/)[^\s\"'<>@]{0,512}|[^\s\"'<>/@]{1,512})@"
)
# Secret parameters in the query of any URL, whether or not the whole query is masked.
_PARAMETER = re.compile(
    r"(?i)((?:password|passwd|pwd|secret|token|signature|credential|jwt|hmac"
    r"|(?:api|access|private)[_-]?key|(?<![a-z])(?:auth|sig))=)[^\s&\"'<>]+"
)
# Parameters of a query whose values nobody needs to hide. All others may be keys or signatures.
_HARMLESS = frozenset(
    {
        "v", "ver", "version", "versionid", "rev", "w", "width", "h", "height", "size", "dpr",
        "fit", "crop", "format", "fm", "ext", "type", "quality", "q", "t", "time", "start", "end",
        "from", "to", "offset", "duration", "fps", "lang", "locale", "page", "download", "dl",
        "raw", "alt", "filename", "name", "response-content-type", "response-content-disposition",
    }
)  # fmt: skip
# Even so, a long value may be a token, and one with other characters a list of parameters.
_SHORT_VALUE = re.compile(r"[\w.,:/%+*-]{0,24}")
_HIDDEN = "..."
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer\s+)[^\s\"',;]+"), rf"\1{_MASK}"),
    (re.compile(r"\b(?:ittybit|sk)_(?:live|test)_[\w-]+"), _MASK),
    # A signed URL grants access to anyone who has it; its query is the signature.
    (re.compile(r"(?i)\b(https?://[^\s\"'<>?]{1,4096})\?[^\s\"'<>]+"), rf"\1?{_MASK}"),
    (_USER, f"{_MASK}@"),
    (_PARAMETER, rf"\1{_MASK}"),
)
# Names whose value in JSON is a secret. `token_count` and `keyframes` are none.
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_\W]|(?<=[a-z])(?-i:(?=[A-Z])))"
    r"(?:password|passwd|pwd|secret|token|signature|credentials?|auth|authorization|cookie|jwt|hmac"
    r"|(?:api|access|private|secret)[_-]?key(?:[_-]?id)?)$"
)
_MAX_DEPTH = 40
_MAX_VALUES = 20_000
# Greedy on purpose: a signature may contain a comma or a quote.
_QUERY = re.compile(r"(https?://[^\s?]*)\?\S*", re.IGNORECASE)


def redacted(text: str, *secrets: str) -> str:
    """Mask bearer tokens, API keys, queries of URLs and the given secrets; cut to 8 KiB."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, _MASK)
    text = text[:_MAX_LENGTH]
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def without_secrets(text: str) -> str:
    """Remove passwords and signatures from the addresses in a text.

    For users' addresses in messages and reports; unlike `redacted`, it keeps them short.
    """
    return _PARAMETER.sub(r"\1...", _QUERY.sub(r"\1?...", _USER.sub("", text)))


def shown_url(url: str) -> str:
    """A URL for its owner to recognise: values of its query are hidden, but for harmless ones.

    Args:
        url: An http(s) URL, or `s3://bucket/key`, whose key has no query.
    """
    if not url.lower().startswith(("http://", "https://")):
        return without_secrets(url)
    bare, hash_, fragment = _USER.sub("", url).partition("#")
    address, mark, query = bare.partition("?")
    return f"{address}{mark}{_shown_query(query)}{hash_}{_shown_query(fragment)}"


def _shown_query(query: str) -> str:
    return "&".join(map(_shown_parameter, query.split("&")))


def _shown_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if name.lower() not in _HARMLESS:
        return f"{name}={_HIDDEN}" if equals else _HIDDEN if name else ""
    return parameter if _SHORT_VALUE.fullmatch(value) else f"{name}={_HIDDEN}"


def redacted_json(value: Any, *secrets: str) -> Any:  # noqa: ANN401 - plain data
    """Return JSON for people to read: like `redacted`, and without values of secret names.

    Args:
        value: JSON as Python reads it, from anyone.
        *secrets: Texts to mask wherever they are.
    """
    return _Redaction(secrets).apply(value)


class _Redaction:
    """Redacts one JSON value. Deep or huge ones are cut, so that it stays fast."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self._left = _MAX_VALUES

    def apply(self, value: Any, depth: int = 0) -> Any:  # noqa: ANN401 - plain data
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            return "[left out]"
        if isinstance(value, str):
            return redacted(value, *self._secrets)
        if isinstance(value, list):
            return [self.apply(each, depth + 1) for each in islice(value, self._left + 1)]
        if isinstance(value, dict):
            return {
                redacted(name, *self._secrets): self._named(name, each, depth)
                for name, each in islice(value.items(), self._left + 1)
            }
        return value

    def _named(self, name: str, value: Any, depth: int) -> Any:  # noqa: ANN401 - plain data
        if value and isinstance(value, str) and _SECRET_NAME.search(name):
            return _MASK
        return self.apply(value, depth + 1)


def has_user(url: str) -> bool:
    """Whether a URL has a user name or a password before its host."""
    return "@" in url and _USER.search(url) is not None


def shown_source(source: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a source without signatures and passwords."""
    return {name: _shown(value) for name, value in source.items()}


def _shown(value: Any) -> Any:  # noqa: ANN401 - plain data
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, list):
        return [_shown(each) for each in value]
    return value
