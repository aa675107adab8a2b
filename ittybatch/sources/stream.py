"""The bytes of a manifest, from wherever it lies, opened again where a connection breaks."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from ittybatch.sources.errors import SourceError, without_secrets
from ittybatch.sources.patience import BrokenConnectionError, attempts

if TYPE_CHECKING:
    from typing_extensions import Buffer


T = TypeVar("T")


class Origin(Protocol):
    """A place that holds a manifest.

    `identity` changes when the manifest does; it is None until `open`, and empty where the
    place tells nothing that could.
    """

    identity: str | None

    def open(self, offset: int) -> None:
        """Get ready to read from a byte on.

        Raises:
            SourceError: It is not there, or may not be read.
            BrokenConnectionError: It could not be reached this time.
        """

    def read(self) -> bytes:
        """Give some of the next bytes; none at the end.

        Raises:
            BrokenConnectionError: The transfer ended early.
        """

    def close(self) -> None:
        """Let go of the connection or the file."""


class ManifestStream(io.RawIOBase):
    """A manifest's bytes as one file that does not notice broken connections.

    Args:
        uri: For messages.
        origin: Where the bytes come from.
        offset: First byte to read.
        identity: What the manifest was when a cursor was made; None the first time.

    Raises:
        SourceError: The manifest cannot be read, or is not the one it was.
    """

    def __init__(self, uri: str, origin: Origin, offset: int, identity: str | None) -> None:
        super().__init__()
        self._uri = without_secrets(uri)
        self._origin = origin
        self._offset = offset
        self._expected = identity
        self._rest = b""
        self._open()

    @property
    def identity(self) -> str:
        """What the manifest is, to be compared with when it is read on."""
        return self._expected or ""

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill a buffer with the next bytes.

        Raises:
            SourceError: The connection broke again and again, or the manifest was replaced.
        """
        view = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = self._next_bytes()
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._offset += count
        return count

    def close(self) -> None:
        """Let go of the origin."""
        if not self.closed:
            self._origin.close()
        super().close()

    def _next_bytes(self) -> bytes:
        try:
            return self._origin.read()
        except BrokenConnectionError:
            # Each time that it gets further, it may break again: some servers cut every answer.
            return self._patiently(self._read_again)

    def _open(self) -> None:
        self._patiently(self._open_once)

    def _patiently(self, exchange: Callable[[], T]) -> T:
        try:
            for attempt in attempts(first=self._expected is None):
                with attempt:
                    return exchange()
        except BrokenConnectionError as error:
            raise self._unreachable(error) from error
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _read_again(self) -> bytes:
        self._open_once()
        return self._origin.read()

    def _open_once(self) -> None:
        self._origin.open(self._offset)
        if self._expected is not None and self._origin.identity != self._expected:
            self._origin.close()
            raise SourceError(
                f"The manifest {self._uri} has changed since this batch began to read it.",
                remedy="Start a new batch of it; what has been done already is not done again.",
            )
        self._expected = self._origin.identity

    def _unreachable(self, error: Exception) -> SourceError:
        self._origin.close()
        return SourceError(
            f"The manifest {self._uri} cannot be read past byte {self._offset}: {error}",
            remedy="Check the network and the server, which must allow `Range` requests where it "
            "cuts long answers short; the batch goes on from the last page that was read.",
        )
