"""Checks the address of a request's upload before anything else is done with it."""

import ipaddress
import re
import socket
from http import HTTPStatus
from urllib.parse import urlsplit

from ittybatch.intake.wanted import RequestRefused
from ittybatch.sources.entry import has_unseen
from ittybatch.sources.rows import BadCellError, checked_input
from ittybatch.sources.s3 import SCHEME

# Names that public DNS does not have. https://www.iana.org/assignments/special-use-domain-names
_PRIVATE_NAME = re.compile(
    r"(?:.*\.)?(?:localhost|localdomain|local|internal|intranet|lan|home\.arpa|test|invalid|onion)"
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_REMEDY = "Send an https:// URL, or s3://bucket/key."


def check_input(uri: str, *, allow_private: bool) -> None:
    """Refuse an upload's address that Ittybit cannot read, or must not be sent to.

    Names are not resolved: Ittybit reads the file from its own network, at another time.

    Args:
        uri: The address.
        allow_private: Whether it may be of a private network or of this machine.

    Raises:
        RequestRefused: The address cannot be used. The message does not repeat it.
    """
    if has_unseen(uri):
        raise _refused("It has an invisible character.", _REMEDY)
    try:
        checked_input(uri)
    except BadCellError as error:
        raise _refused(f"It {error.reason}.", _REMEDY) from None
    if allow_private or uri.startswith(SCHEME):
        return
    if _is_private((urlsplit(uri).hostname or "").rstrip(".")):
        raise _refused(
            "It is an address of a private network or of this machine.",
            "Send an address that Ittybit can reach. For a local Ittybit, set "
            "ITTYBATCH_ALLOW_PRIVATE_URLS=true for the receiver.",
        )


def _is_private(host: str) -> bool:
    if (address := _address(host)) is not None:
        return not address.is_global or address.is_multicast
    # A name without a dot is one of a local network, or of a container.
    return "." not in host or _PRIVATE_NAME.fullmatch(host) is not None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # Clients take more forms than `ipaddress`: 127.1, 0x7f000001, 017700000001.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        pass
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _refused(message: str, remedy: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, "url", message, remedy)
