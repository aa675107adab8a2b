"""A manifest as a file that can be read at any place, as Parquet and Excel must be."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

from ittybatch.sources.layers import BUFFER_BYTES
from ittybatch.sources.origins import origin_of
from ittybatch.sources.stream import ManifestStream


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
        shutil.copyfileobj(stream, file, BUFFER_BYTES)
        file.seek(0)
        yield file, stream.identity
