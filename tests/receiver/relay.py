"""A relay in front of a database, which can be taken away while others hold on to it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from enum import Enum

from sqlalchemy.engine import make_url


class Line(Enum):
    """What the relay does with what it is given."""

    UP = "up"
    CUT = "cut"
    SILENT = "silent"


class Relay:
    """Passes bytes on to a server until a test interrupts it."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._line = Line.UP
        self._open: set[socket.socket] = set()
        self._up = threading.Event()
        self._up.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, line: Line) -> None:
        """Cut every connection, and refuse new ones; or fall silent; or be up again."""
        self._line = line
        if line is Line.SILENT:
            self._up.clear()
        else:
            self._up.set()
        if line is Line.CUT:
            self._hang_up()

    def close(self) -> None:
        self.set(Line.CUT)
        self._listener.close()

    def _hang_up(self) -> None:
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                if self._line is Line.CUT:
                    caller.close()
                    continue
                server = socket.create_connection(self._target)
                for source, sink in ((caller, server), (server, caller)):
                    self._open.add(source)
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._up.wait()
                sink.sendall(data)
        self._open.discard(source)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()


@contextlib.contextmanager
def relayed(url: str) -> Iterator[tuple[str, Relay]]:
    """A relay to a database, and the database's URL through it."""
    parsed = make_url(url)
    relay = Relay(str(parsed.host), int(parsed.port or 0))
    through = parsed.set(port=relay.port).render_as_string(hide_password=False)
    try:
        yield through, relay
    finally:
        relay.close()
