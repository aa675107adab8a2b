"""Who may look at the page, and who may act on it."""

import base64
import binascii
import hmac
import ipaddress
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.requests import HTTPConnection

from ittybatch.settings import Settings

# A proxy on this machine sets one of these for requests from other machines.
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
# Longer names are an attack or a mistake, and the ledger keeps the name with each action.
_MAX_NAME_CHARS = 200
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="ittybatch", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks at the page.

    Args:
        name: Their name, as the record of actions keeps it.
        may_act: Whether they may also act.
    """

    name: str
    may_act: bool


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody who may not look.

    Args:
        status: The status of the answer.
        why: What to tell them; it reveals no setting's value.
        headers: More headers of the answer.
    """

    status: HTTPStatus
    why: str
    headers: dict[str, str]


class Access:
    """Decides who a request comes from.

    `identify` has the rules and their order.

    Args:
        settings: `page_auth`, `page_viewer_auth`, `page_user_header` and `page_proxies`.
    """

    def __init__(self, settings: Settings) -> None:
        self._accounts = [
            (*split_account(account), may_act)
            for account, may_act in (
                (settings.page_auth, True),
                (settings.page_viewer_auth, False),
            )
            if account is not None
        ]
        self._header = settings.page_user_header
        self._proxies = settings.page_proxies

    def describe(self) -> str:
        """Describe for whom the page is, without secrets."""
        parts = []
        if self._header is not None:
            proxies = ", ".join(str(each) for each in self._proxies)
            parts.append(f"whoever {proxies} names in {self._header}")
        parts += [
            f"{user} ({'may act' if may_act else 'may only look'})"
            for user, _, may_act in self._accounts
        ]
        return " and ".join(parts) or "clients of this machine only"

    def identify(self, connection: HTTPConnection) -> Viewer | Stranger:
        """Authenticate a request.

        The first rule that applies decides: a request from a proxy of `page_proxies` is
        identified by the user header; if there are accounts, HTTP Basic authentication is needed;
        if there is only a user header, the request is refused; otherwise it must come from this
        machine, by a loopback name.

        Returns:
            A `Viewer`, or a `Stranger` with the response to send.
        """
        if self._header is not None and self._is_from_proxy(connection):
            return self._named_by_proxy(connection, self._header)
        if self._accounts:
            return self._signed_in(connection)
        if self._header is not None:
            return Stranger(
                HTTPStatus.FORBIDDEN,
                "The page can be reached only through the proxies of ITTYBATCH_PAGE_PROXIES.",
                {},
            )
        if is_local(connection) and has_loopback_name(connection):
            return Viewer("someone on this machine", may_act=True)
        return Stranger(
            HTTPStatus.FORBIDDEN,
            "Only this machine may open the page, by the name localhost or 127.0.0.1. Set "
            "ITTYBATCH_PAGE_AUTH=user:password for the receiver to let others in.",
            {},
        )

    def _is_from_proxy(self, connection: HTTPConnection) -> bool:
        address = client_address(connection)
        return address is not None and any(address in network for network in self._proxies)

    def _named_by_proxy(self, connection: HTTPConnection, header: str) -> Viewer | Stranger:
        values = connection.headers.getlist(header)
        name = _decoded(values[0]).strip() if len(values) == 1 else ""
        if name and name.isprintable() and len(name) <= _MAX_NAME_CHARS:
            return Viewer(name, may_act=True)
        # Refuse two values: if the proxy appends its header, the client controls the first.
        if len(values) > 1:
            why = "sent more than one"
        elif name:
            why = "sent an unusable name in"
        else:
            why = "named nobody in"
        return Stranger(
            HTTPStatus.FORBIDDEN,
            f"The proxy {why} {header}. It has to remove the client's header, and set its own "
            "after the sign-in.",
            {},
        )

    def _signed_in(self, connection: HTTPConnection) -> Viewer | Stranger:
        user, password = _credentials(connection)
        found: Viewer | None = None
        # Every account is compared, in constant time: the answer's time tells nothing.
        for known_user, known_password, may_act in self._accounts:
            is_user = hmac.compare_digest(user, known_user.encode())
            is_password = hmac.compare_digest(password, known_password.encode())
            if is_user and is_password:
                found = Viewer(known_user, may_act)
        return found or Stranger(
            HTTPStatus.UNAUTHORIZED, "The page needs a user name and a password.", _CHALLENGE
        )


def split_account(account: SecretStr) -> tuple[str, str]:
    """Split `user:password`; the password may contain colons."""
    user, _, password = account.get_secret_value().partition(":")
    return user, password


def client_address(
    connection: HTTPConnection,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of the other end of the connection, never that of a header."""
    if connection.client is None:
        return None
    try:
        address = ipaddress.ip_address(connection.client.host)
    except ValueError:
        return None
    # A dual-stack socket reports IPv4 clients as IPv4-mapped IPv6 addresses.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_local(connection: HTTPConnection) -> bool:
    """Whether a request comes from this machine, and not through a proxy on it."""
    if any(name in connection.headers for name in FORWARDED):
        return False
    address = client_address(connection)
    return address is not None and address.is_loopback


def has_loopback_name(connection: HTTPConnection) -> bool:
    """Whether `Host` is a name of this machine.

    Another name could be that of a hostile website, which its DNS server has made point to this
    machine: the browser would then take this page for a page of that site.
    """
    try:
        return urlsplit(f"//{connection.headers.get('host', '')}").hostname in _LOOPBACK_NAMES
    except ValueError:
        return False


def _decoded(header: str) -> str:
    """Decode a header as UTF-8, which proxies send; Starlette decoded it as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _credentials(connection: HTTPConnection) -> tuple[bytes, bytes]:
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return b"", b""
    try:
        user, _, password = base64.b64decode(given.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b"", b""
    return user, password
