"""Serves a sandbox until a signal ends it."""

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
_UNFINISHED_RESPONSE: Final = "ASGI callable returned without completing response."


class _AnnouncingServer(uvicorn.Server):
    """Prints the URL once it listens."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"Sandbox listening on {self._url}\n")
            sys.stdout.flush()


def serve(config: SandboxConfig) -> None:
    """Serve until SIGTERM or SIGINT; print one line with the URL once the socket listens.

    Args:
        config: The sandbox's settings; port 0 takes a free one.

    Raises:
        ConfigurationError: The port is taken, ffmpeg is missing, or `state_dir` cannot be used.
    """
    with listen(config) as listener:
        bound = config.model_copy(update={"port": listener.getsockname()[1]})
        server = _AnnouncingServer(server_settings(bound, grace_s=_GRACE_S), bound.base_url)
        with _handling_signals():
            server.run(sockets=[listener])
        if not server.started:
            raise ConfigurationError("The sandbox could not start; its log says why.")


def server_settings(config: SandboxConfig, *, grace_s: int) -> uvicorn.Config:
    """Configure uvicorn for a sandbox whose port is known.

    Args:
        config: The sandbox's settings.
        grace_s: Seconds that open requests may take at the end.
    """
    settings = uvicorn.Config(
        create_app(config),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=grace_s,
        lifespan="on",
    )
    # After `uvicorn.Config`, which sets up its loggers.
    logging.getLogger("uvicorn.error").addFilter(_is_unexpected)
    return settings


def listen(config: SandboxConfig) -> socket.socket:
    """Bind the socket of a sandbox.

    Raises:
        ConfigurationError: The address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio disables Nagle's algorithm only if the protocol is given; Nagle delays every response
    # on a kept-alive connection by 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"The sandbox cannot listen on {config.host}:{config.port}: {error.strerror}.",
            remedy="Choose another port, or 0 for a free one.",
        ) from None
    return listener


def _is_unexpected(record: logging.LogRecord) -> bool:
    # The fault `cut_after_accept` breaks responses off on purpose.
    return record.getMessage() != _UNFINISHED_RESPONSE


@contextmanager
def _handling_signals() -> Iterator[None]:
    # After a clean shutdown uvicorn raises the signal again. Without a handler of ours the process
    # would exit as if it had been killed.
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
