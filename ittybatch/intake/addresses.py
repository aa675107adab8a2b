"""Which hosts are of a private network, by the text of a URL alone.

Names are not resolved: Ittybit fetches the URL, from its own network and at another time.
"""

import ipaddress
import re
from urllib.parse import unquote

# Names that public DNS does not have. https://www.iana.org/assignments/special-use-domain-names
_PRIVATE_NAMES = (
    "home.arpa", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost",
    "onion", "test",
)  # fmt: skip
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_MAX_PARTS = 4


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
        if inner is not None:
            return _is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside `::a.b.c.d` or `64:ff9b::a.b.c.d`."""
    high, low = int(address) >> 32, int(address) & 0xFFFF_FFFF
    return ipaddress.IPv4Address(low) if high in {0, 0x64FF9B << 64} else None


def _ascii(host: str) -> str:
    """The host as it is resolved: full-width digits and dots become plain ones."""
    plain = unquote(host) if "%" in host and ":" not in host else host
    if plain.isascii():
        return plain
    try:
        return plain.encode("idna").decode()
    except UnicodeError:
        return ""
