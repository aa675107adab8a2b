"""A manifest as a file that can be read at any place, as Parquet and Excel must be."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

from ittybatch.sources.errors import SourceError, without_secrets
from ittybatch.sources.layers import BUFFER_BYTES, Unpacked, packing_of
from ittybatch.sources.origins import origin_of
from ittybatch.sources.stream import ManifestStream

_MAGIC_BYTES = 4
# A few kilobytes may unpack to as much as the disk has.
_MAX_BYTES = 64 * 1024**3


@contextmanager
def spooled(uri: str, identity: str | None) -> Iterator[tuple[IO[bytes], str]]:
    """Copy a manifest to a temporary file of this machine, gone afterwards.

    Args:
        uri: Where it lies.
        identity: What it was when a cursor was made; None the first time.

    Yields:
        The file, at its beginning, and what the manifest is.

    Raises:
        SourceError: It cannot be read, or is not the one it was.
    """
    with (
        ManifestStream(uri, origin_of(uri), 0, identity) as stream,
        TemporaryFile(prefix="ittybatch-manifest-") as file,
    ):
        content: io.BufferedReader = io.BufferedReader(stream, BUFFER_BYTES)
        # A server may have packed it on the way.
        if packing := packing_of(content.peek(_MAGIC_BYTES)):
            content = io.BufferedReader(Unpacked(content, packing, uri), BUFFER_BYTES)
        while block := content.read(BUFFER_BYTES):
            file.write(block)
            if file.tell() > _MAX_BYTES:
                raise SourceError(
                    f"The manifest {without_secrets(uri)} has more than {_MAX_BYTES} bytes.",
                    remedy="Split it into several.",
                )
        file.seek(0)
        yield file, stream.identity
