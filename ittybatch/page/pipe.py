"""A stream that one thread writes and the event loop sends: nothing is held whole."""

import contextlib
import io
import queue
import threading
from collections.abc import AsyncGenerator, Callable
from typing import IO, cast

from anyio import CapacityLimiter, to_thread
from typing_extensions import Buffer, override

_PART_BYTES = 65_536
_PARTS_AHEAD = 8
# A client that takes nothing for this long is gone.
_PATIENCE_S = 60.0
# A writer may read all jobs before it has a part.
_PART_WITHIN_S = 900.0
_LOOK_EVERY_S = 5.0


class Pipe(io.RawIOBase):
    """What is written to it is sent in parts; the writer waits for a client that is slow."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: queue.Queue[bytes | None] = queue.Queue(_PARTS_AHEAD)
        self._buffer = bytearray()
        self._passed = 0
        self._abandoned = threading.Event()
        self._error: BaseException | None = None

    @override
    def writable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._passed + len(self._buffer)

    @override
    def write(self, data: Buffer, /) -> int:
        """Take bytes.

        Raises:
            BrokenPipeError: The client is gone.
        """
        view = memoryview(data).cast("B")
        self._buffer += view
        if len(self._buffer) >= _PART_BYTES:
            self._pass_on()
        return len(view)

    async def sent(
        self,
        write: Callable[[IO[bytes]], object],
        limiter: CapacityLimiter,
        more_time: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[bytes]:
        """Run a writer in a thread, and yield what it writes.

        Args:
            write: Writes everything to the stream that it gets.
            limiter: Limits the threads that wait for parts.
            more_time: Called when the client has taken a part, and while the writer works.

        Raises:
            TimeoutError: The writer has written nothing for a quarter of an hour.
            Exception: The writer failed. What was sent before is not complete.
        """
        thread = threading.Thread(target=self._run, args=(write,), name="page-pipe", daemon=True)
        thread.start()
        try:
            waits = 0
            while waits * _LOOK_EVERY_S < _PART_WITHIN_S:
                more_time()
                try:
                    part = await to_thread.run_sync(self._next, limiter=limiter)
                except queue.Empty:
                    waits += 1
                    continue
                if part is None:
                    break
                yield part
                waits = 0
            else:
                raise TimeoutError("The report was not written in time.")
        finally:
            self._abandoned.set()
            # The writer may wait for room to write in.
            while not self._parts.empty():
                self._parts.get_nowait()
        if self._error is not None:
            raise self._error

    def _next(self) -> bytes | None:
        return self._parts.get(timeout=_LOOK_EVERY_S)

    def _run(self, write: Callable[[IO[bytes]], object]) -> None:
        try:
            write(cast("IO[bytes]", self))
            self._pass_on()
        except BaseException as error:  # noqa: BLE001  the event loop raises it
            self._error = error
        with contextlib.suppress(BrokenPipeError):
            self._put(None)

    def _pass_on(self) -> None:
        part, self._buffer = bytes(self._buffer), bytearray()
        self._passed += len(part)
        if part:
            self._put(part)

    def _put(self, part: bytes | None) -> None:
        if self._abandoned.is_set():
            raise BrokenPipeError
        try:
            self._parts.put(part, timeout=_PATIENCE_S)
        except queue.Full:
            raise BrokenPipeError from None
