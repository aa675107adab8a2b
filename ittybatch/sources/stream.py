"""A manifest's bytes as one file, from any byte on, across broken connections.

A later process resumes at a byte, and only if the manifest is still the same: its identity is in
the cursor, and a request for the rest carries `If-Match`.
"""

import io
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from gzip import GzipFile
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import stamina

from ittybatch.ittybit.redaction import without_secrets
from ittybatch.settings import Settings
from ittybatch.sources.origins import BrokenConnectionError, Origin, origin_of
from ittybatch.sources.page import SourceError
from ittybatch.sources.s3 import UNREACHABLE_TRIES

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

BUFFER_BYTES = 1024 * 1024
BLOCK_BYTES = 256 * 1024

_WAIT_INITIAL_S = 0.5
_WAIT_MAX_S = 30.0
_MAGIC_BYTES = 4
Packing = Literal["gzip", "zstd"]
_PACKINGS: dict[bytes, Packing] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
# A few kilobytes can unpack to more than the disk holds.
_MAX_UNPACKED_BYTES = 64 * 1024**3


class BlockReader(io.RawIOBase):
    """A file over blocks of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = b""

    def readable(self) -> bool:
        """Say that the file can be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill a buffer with the next bytes; return how many there were.

        Raises:
            SourceError: The next block cannot be read.
        """
        view = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = self._block()
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    @abstractmethod
    def _block(self) -> bytes:
        """Return the next block, of any size; empty at the end."""


class ManifestStream(BlockReader):
    """A manifest's bytes. Reading continues after a broken connection.

    Args:
        uri: Where the manifest is.
        offset: First byte to read.
        identity: The manifest's identity when a cursor was made; None the first time.
        request_payer: Whether the requester agrees to pay for reading from a bucket.

    Raises:
        SourceError: The manifest cannot be read, or has changed.
    """

    def __init__(
        self, uri: str, offset: int, identity: str | None, *, request_payer: bool = False
    ) -> None:
        super().__init__()
        self._uri = without_secrets(uri)
        self._origin: Origin = origin_of(uri, request_payer=request_payer)
        self._offset = offset
        self._expected = identity
        self._retrying(self._open)

    @property
    def identity(self) -> str:
        """The manifest's identity; another one means that it has changed."""
        return self._expected or ""

    def close(self) -> None:
        """Close the connection or the file."""
        if not self.closed:
            self._origin.close()
        super().close()

    def _block(self) -> bytes:
        try:
            block = self._origin.read()
        except BrokenConnectionError:
            # Progress starts the retries anew: some servers cut every answer short.
            block = self._retrying(self._reopened_block)
        self._offset += len(block)
        return block

    def _reopened_block(self) -> bytes:
        self._open()
        return self._origin.read()

    def _open(self) -> None:
        self._origin.open(self._offset)
        if self._expected is not None and self._origin.identity != self._expected:
            self._origin.close()
            raise SourceError(
                f"The manifest {self._uri} has changed since this batch began to read it.",
                remedy="Start a new batch of it; finished jobs are not repeated.",
            )
        self._expected = self._origin.identity

    def _retrying(self, exchange: Callable[[], T]) -> T:
        try:
            for attempt in _attempts(first=self._expected is None):
                with attempt:
                    return exchange()
        except BrokenConnectionError as error:
            self._origin.close()
            raise SourceError(
                f"The manifest {self._uri} cannot be read past byte {self._offset}: {error}",
                remedy="Check the network and the server. A server that cuts long answers short "
                "must allow `Range` requests. The batch resumes after the last page it read.",
            ) from error
        raise AssertionError  # pragma: no cover - the loop returns or raises


def _attempts(*, first: bool) -> Iterable[stamina.Attempt]:
    """Repeat after a `BrokenConnectionError`, as long as `ITTYBATCH_SOURCE_RETRY_S` allows.

    Args:
        first: Whether the server has never answered.
    """
    unreachable = 0

    def wait_s(error: Exception) -> bool | float:
        nonlocal unreachable
        if not isinstance(error, BrokenConnectionError):
            return False
        unreachable += error.unreachable
        if first and unreachable >= UNREACHABLE_TRIES:
            return False
        return True if error.retry_after_s is None else error.retry_after_s

    return stamina.retry_context(
        on=wait_s,
        attempts=None,
        timeout=Settings().source_retry_s,
        wait_initial=_WAIT_INITIAL_S,
        wait_max=_WAIT_MAX_S,
    )


def peeked(file: io.BufferedReader, size: int) -> tuple[io.BufferedReader, bytes]:
    """Read the first bytes of a file, however few of them the network delivers at a time.

    Args:
        file: The file.
        size: How many bytes to read; at the end of the file there are fewer.

    Returns:
        A file that begins with these bytes again, and the bytes.
    """
    beginning = file.read(size)
    return io.BufferedReader(_Returned(beginning, file), BUFFER_BYTES), beginning


def packing_of(beginning: bytes) -> Packing | None:
    """Say by a file's first bytes whether it is packed: `gzip`, `zstd`, or None."""
    return next((name for magic, name in _PACKINGS.items() if beginning.startswith(magic)), None)


class _Returned(BlockReader):
    """Bytes that were read from a file, and the file after them."""

    def __init__(self, beginning: bytes, below: io.BufferedReader) -> None:
        super().__init__()
        self._rest = beginning
        self._below = below

    def close(self) -> None:
        self._below.close()
        super().close()

    def _block(self) -> bytes:
        return self._below.read1(BLOCK_BYTES)


class Unpacked(BlockReader):
    """The content of a packed stream, one block at a time in memory.

    Args:
        packed: The packed bytes.
        packing: `gzip` or `zstd`.
        uri: The manifest, for messages.
    """

    def __init__(self, packed: io.BufferedReader, packing: Packing, uri: str) -> None:
        super().__init__()
        self._packed = packed
        self._packing = packing
        self._uri = without_secrets(uri)
        self._stream: Any
        if packing == "gzip":
            # It ignores zeros behind the end, with which tapes and archives fill a block.
            self._stream = GzipFile(fileobj=packed)
        else:
            # pyarrow is slow to import, and most manifests are not packed.
            import pyarrow as pa  # noqa: PLC0415

            self._stream = pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), packing)

    def close(self) -> None:
        """Close the packed stream, too."""
        self._packed.close()
        super().close()

    def _block(self) -> bytes:
        try:
            read = self._stream.read1 if self._packing == "gzip" else self._stream.read
            block: bytes = read(BLOCK_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(
                f"The manifest {self._uri} cannot be unpacked: its {self._packing} is damaged or "
                f"ends early ({str(error).splitlines()[0]}).",
                remedy="Check it with `gzip -t` or `zstd -t`, and write it again; the batch keeps "
                "what was read before.",
            ) from error
        return block


@contextmanager
def spooled(
    uri: str, identity: str | None, *, request_payer: bool = False
) -> Iterator[tuple[IO[bytes], str]]:
    """Copy a manifest to a temporary file: Parquet and Excel need a seekable one.

    Args:
        uri: Where the manifest is.
        identity: The manifest's identity when a cursor was made; None the first time.
        request_payer: Whether the requester agrees to pay for reading from a bucket.

    Yields:
        The file, at its beginning, and the manifest's identity.

    Raises:
        SourceError: The manifest cannot be read, or has changed.
    """
    with (
        ManifestStream(uri, 0, identity, request_payer=request_payer) as stream,
        TemporaryFile(prefix="ittybatch-manifest-") as file,
    ):
        content: io.BufferedReader = io.BufferedReader(stream, BUFFER_BYTES)
        # A server may have packed it for the transfer.
        content, beginning = peeked(content, _MAGIC_BYTES)
        if packing := packing_of(beginning):
            content = io.BufferedReader(Unpacked(content, packing, uri), BUFFER_BYTES)
        while block := content.read(BUFFER_BYTES):
            file.write(block)
            if file.tell() > _MAX_UNPACKED_BYTES:
                raise SourceError(
                    f"The manifest {without_secrets(uri)} has more than {_MAX_UNPACKED_BYTES} "
                    "bytes.",
                    remedy="Split it into several manifests.",
                )
        file.seek(0)
        yield file, stream.identity
