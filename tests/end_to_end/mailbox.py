"""A mail server that keeps what it is sent."""

import email.message
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer


class Mailbox:
    """The messages that came, and where to send more.

    Args:
        port: The port on this machine.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.messages: list[email.message.Message] = []


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Run the server; it speaks as much SMTP as a client without extensions needs."""

    class Session(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 mailbox\r\n")
            for line in self.rfile:
                command = line.strip().upper()
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    found.messages.append(email.message_from_bytes(self._text()))
                self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
                if command == b"QUIT":
                    return

        def _text(self) -> bytes:
            lines = iter(self.rfile.readline, b".\r\n")
            return b"".join(line.removeprefix(b".") for line in lines)

    with ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        found = Mailbox(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()
