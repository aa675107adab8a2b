"""A pooler as a client sees it: it greets with a process number that is not the session's."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# BackendKeyData: its type, its length, the number of the server's process, a secret.
_KEY_DATA = b"K" + struct.pack("!i", 12)


@contextmanager
def pooler(server_port: int) -> Iterator[int]:
    """Forward connections to a server of the same machine; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, server_port), daemon=True).start()
        yield listener.getsockname()[1]


def _serve(listener: socket.socket, server_port: int) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", server_port))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_forward, args=(source, sink), daemon=True).start()


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError), source, sink:
        while data := source.recv(65536):
            start = data.find(_KEY_DATA)
            if start >= 0:
                data = data[: start + 5] + b"\0\0\0\1" + data[start + 9 :]
            sink.sendall(data)
