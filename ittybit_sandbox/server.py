"""Serves a sandbox until it is told to end."""

import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn

from ittybit_sandbox.app import create_app
from ittybit_sandbox.config import SandboxConfig
from ittybit_sandbox.errors import ConfigurationError

_BACKLOG: Final = 2048
_GRACE_S: Final = 5
_UNFINISHED_ANSWER: Final = "ASGI callable returned without completing response."


class _Server(uvicorn.Server):
    """Says where it listens, once it does."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"Sandbox listening on {self._url}\n")
            sys.stdout.flush()


def serve(config: SandboxConfig) -> None:
    """Serve until SIGTERM or SIGINT; prints one line with the URL when it listens.

    Args:
        config: How the sandbox is set up; port 0 takes a free one.

    Raises:
        ConfigurationError: The port is taken, ffmpeg is missing, or the folder of the state
            cannot be used.
    """
    with _listen(config) as listener:
        bound = config.model_copy(update={"port": listener.getsockname()[1]})
        settings = uvicorn.Config(
            create_app(bound),
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE_S,
            lifespan="on",
        )
        logging.getLogger("uvicorn.error").addFilter(_is_worth_telling)
        server = _Server(settings, bound.base_url)
        with _signals_end_here():
            server.run(sockets=[listener])
        if not server.started:
            raise ConfigurationError("The sandbox could not start; its log says why.")


def _listen(config: SandboxConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; left on, it holds
    # back every answer on a kept connection for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"The sandbox cannot listen on {config.host}:{config.port}: {error.strerror}.",
            remedy="Give it another port, or 0 for any free one.",
        ) from None
    return listener


def _is_worth_telling(record: logging.LogRecord) -> bool:
    # Answers are cut off on purpose.
    return record.getMessage() != _UNFINISHED_ANSWER


@contextmanager
def _signals_end_here() -> Iterator[None]:
    # After a clean shutdown uvicorn raises the signal again, which would end the process as
    # if it had been killed.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ignore(_number: int, _frame: FrameType | None) -> None:
        return

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, ignore) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
