"""The receiver as a server: on one port, or on a public and a private one."""

import logging
import socket
from collections.abc import Collection

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ittybatch.errors import ConfigurationError
from ittybatch.receiver.app import Receiver
from ittybatch.receiver.protocol import IDLE_S, BoundedProtocol
from ittybatch.settings import Settings

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_MAX_PORT = 65_535


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    private: str | None = None,
) -> None:
    """Run the receiver until a signal stops it.

    Args:
        settings: The secret, the ledger, the limits, and `PORT`.
        host: The address to listen on.
        port: The port to listen on; overrides the settings.
        private: `HOST:PORT` that everything but webhooks moves to; None serves all on one port.

    Raises:
        ConfigurationError: See `Receiver`; or an address cannot be used.
    """
    port = settings.port if port is None else port
    if private is None:
        app = Receiver(settings).everything()
        uvicorn.Server(server_config(app, host=host, port=port)).run()
        return
    private_address = parse_address(private)
    if private_address[1] == port:
        raise ConfigurationError(
            f"--private has port {port}, which is the port of the webhooks.",
            remedy="Give it another port, or leave --private out to serve everything on one.",
        )
    receiver = Receiver(settings)
    public_sockets = listen(host, port)
    private_sockets = listen(*private_address)
    for what, sockets in (("Webhooks", public_sockets), ("Everything else", private_sockets)):
        for each in sockets:
            logger.info("%s on %s, port %d.", what, *each.getsockname()[:2])
    private_ports = {each.getsockname()[1] for each in private_sockets}
    both = ByPort(receiver.public(), receiver.private(), private_ports)
    # One server for both: one event loop, one lifespan, and one signal ends them.
    server = uvicorn.Server(server_config(both, host=host, port=port))
    server.run([*public_sockets, *private_sockets])


def server_config(app: ASGIApp, *, host: str, port: int) -> uvicorn.Config:
    """The configuration of uvicorn for the receiver."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="info",
        # Client addresses from proxies are not used.
        proxy_headers=False,
        server_header=False,
        http=BoundedProtocol,
        # A WebSocket handshake is answered like any other request.
        ws="none",
        timeout_keep_alive=int(IDLE_S),
        timeout_graceful_shutdown=10,
    )


def parse_address(text: str) -> tuple[str, int]:
    """Parse `HOST:PORT`; an IPv6 address is in brackets.

    Raises:
        ConfigurationError: It is not written like that.
    """
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_ipv6 = bare != host
    if not bare or (":" in bare) != is_ipv6 or not port.isdecimal() or int(port) > _MAX_PORT:
        raise ConfigurationError(
            f"{text!r} is not an address to listen on.",
            remedy="Write HOST:PORT, such as 127.0.0.1:8301, 0.0.0.0:8301 or [::1]:8301.",
        )
    return bare, int(port)


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind a socket to each address of a host.

    Raises:
        ConfigurationError: None of them can be listened on.
    """
    bound: list[socket.socket] = []
    failed: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        found, failed = [], error
    for family, kind, _, _, address in dict.fromkeys(found):
        each = socket.socket(family, kind)
        try:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind(address)
        except OSError as error:  # a name such as localhost may have an address that is off
            each.close()
            failed = error
        else:
            bound.append(each)
    if not bound:
        raise ConfigurationError(
            f"Nothing can listen on {host}, port {port}: {failed}.",
            remedy="Stop what listens there already, or choose another address or port.",
        )
    return bound


class ByPort:
    """Chooses between two applications by the address that a connection was made to.

    Args:
        public: Serves every other address, and has the lifespan.
        private: Serves the private addresses.
        private_ports: The ports of the private addresses.
    """

    def __init__(self, public: ASGIApp, private: ASGIApp, private_ports: Collection[int]) -> None:
        self._public = public
        self._private = private
        self._private_ports = frozenset(private_ports)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        # The socket's own address, never a header's.
        server = scope.get("server")
        is_private = server is not None and server[1] in self._private_ports
        await (self._private if is_private else self._public)(scope, receive, send)
