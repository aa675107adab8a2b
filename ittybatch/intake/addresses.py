"""Which URLs a request may name: none of a private network, unless a setting allows that.

Only the text of the URL is checked. Ittybit fetches it, from its own network; a name that resolves
to a private address there is Ittybit's to refuse.
"""

import ipaddress
import re
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from ittybatch.intake.wanted import RequestRefused
from ittybatch.profiles import Item
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.sources.s3 import split_uri

_MAX_URL_CHARS = 4096
# Reserved names, and those that companies, routers and Kubernetes use although they are not.
_PRIVATE_NAMES = (
    "localhost", "local", "internal", "localdomain", "localnet", "lan", "intranet", "intra",
    "home", "home.arpa", "corp", "mail", "private", "priv", "svc", "consul",
)  # fmt: skip
# The only IPv6 addresses that are routed on the internet. The others are special, now or later.
_ROUTED = ipaddress.IPv6Network("2000::/3")
# https://www.rfc-editor.org/rfc/rfc5214#section-6.1, with and without the bit for unique addresses
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
_NAT64 = 0x64FF9B << 64
# Whitespace and control characters: parsers disagree about what they mean.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_MAX_PORT = 65_535
_MAX_PARTS = 4


def check_address(url: str, *, allow_private: bool, field: str = "url") -> str:
    """Check the URL of an input.

    Args:
        url: An http(s) or s3 URL, as the request gave it.
        allow_private: Whether addresses of private networks are allowed.
        field: The request's field, for the error.

    Returns:
        The URL without surrounding whitespace.

    Raises:
        RequestRefused: It cannot be used.
    """
    text = url.strip()
    if not text or len(text) > _MAX_URL_CHARS:
        raise _refused(field, f"The URL has {len(text)} characters; it may have 1 to 4,096.")
    if text.startswith(S3_SCHEME):
        return _check_object(text, field)
    if _UNSAFE.search(text):
        raise _refused(field, "The URL has a space, a control character or a backslash in it.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _refused(field, "The URL cannot be read.") from None
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise _refused(field, f"{_shown(text)} is not the URL of a file.")
    if "@" in parts.netloc:
        raise _refused(
            field,
            "The URL has a user name or a password in it, which would be stored and sent on.",
            "Use a signed URL.",
        )
    if not allow_private and is_private(host):
        raise _refused(
            field,
            f"{host} is an address of a private network or of this machine.",
            "Use a public URL. For tests, ITTYBATCH_ALLOW_PRIVATE_URLS=true allows it.",
        )
    return text


def is_private(host: str) -> bool:
    """Whether a host is an address or a name of a private network.

    Addresses count in every form that resolvers take: `127.1`, `2130706433`, `0x7f.0.0.1`, an
    IPv4 address inside an IPv6 one.

    Args:
        host: The host of a URL, without its port.
    """
    name = _ascii(host).rstrip(".").lower()
    if not name:
        return True
    address = _address(name)
    if address is not None:
        return not _is_public(address)
    labels = name.split(".")
    # A name without a dot is looked up in the search domains of a private network.
    return len(labels) == 1 or any(
        name == each or name.endswith(f".{each}") for each in _PRIVATE_NAMES
    )


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if ":" in name:
        try:
            return ipaddress.IPv6Address(name.partition("%")[0])
        except ValueError:
            return ipaddress.IPv6Address(0)  # not a name either: not public
    parts = name.split(".")
    if len(parts) > _MAX_PARTS or not all(_NUMBER.fullmatch(part) for part in parts):
        # A last part that is a number makes it an address, and this is none.
        return ipaddress.IPv4Address(0) if _NUMBER.fullmatch(parts[-1]) else None
    try:
        *first, last = (_number(part) for part in parts)
        if any(part > 255 for part in first) or last >= 256 ** (5 - len(parts)):  # noqa: PLR2004
            return ipaddress.IPv4Address(0)
    except ValueError:
        return ipaddress.IPv4Address(0)
    value = last
    for place, part in enumerate(first):
        value += part << (24 - 8 * place)
    return ipaddress.IPv4Address(value)


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if part.startswith("0") and len(part) > 1 else int(part)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _translated(address)
        if inner is not None and not _is_public(inner):
            return False
        if address.ipv4_mapped is not None or int(address) >> 32 == _NAT64:
            return True
        if address not in _ROUTED or address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside `64:ff9b::a.b.c.d`, or one of ISATAP, `...:0:5efe:a.b.c.d`."""
    high, low = int(address) >> 32, int(address) & 0xFFFF_FFFF
    is_inside = high == _NAT64 or high & 0xFFFF_FFFF in _ISATAP
    return ipaddress.IPv4Address(low) if is_inside else None


def _ascii(host: str) -> str:
    """The host as it is resolved: full-width digits and dots become plain ones."""
    plain = unquote(host) if "%" in host and ":" not in host else host
    if plain.isascii():
        return plain
    try:
        return plain.encode("idna").decode()
    except UnicodeError:
        return ""


def _check_object(text: str, field: str) -> str:
    try:
        bucket, key = split_uri(text)
    except ValueError as error:
        raise _refused(field, f"{error}.") from None
    if not bucket or not key or key.endswith("/") or "\x00" in key:
        raise _refused(field, f"{text[:200]} is not an object: write s3://bucket/key.")
    return text


def _refused(field: str, message: str, remedy: str | None = None) -> RequestRefused:
    return RequestRefused(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        field,
        message,
        remedy or "Send the https:// or s3:// URL of one file.",
    )


def _shown(text: str) -> str:
    return Item(text[:200]).shown if "://" in text else text[:200].partition("?")[0]
