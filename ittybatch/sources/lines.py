"""The lines of a manifest that is text, from wherever it lies and however it is written."""

import io
from dataclasses import dataclass

from ittybatch.sources.layers import (
    BUFFER_BYTES,
    UTF_8,
    InUtf8,
    LineFeeds,
    Packing,
    Unpacked,
    encoding_of,
    has_cr_ends,
    packing_of,
    refuse_strangers,
    skip,
)
from ittybatch.sources.origins import origin_of
from ittybatch.sources.stream import ManifestStream

_MAGIC_BYTES = 16
# Enough to meet the end of the first line in almost every file.
_BEGINNING_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Writing:
    """How a manifest's bytes became the UTF-8 that offsets are counted in.

    Args:
        packing: `gzip` or `zstd`; None where it is not packed.
        encoding: Of its text.
        cr: Whether its lines end with a carriage return alone, as old Macs wrote them.
    """

    packing: Packing | None
    encoding: str
    cr: bool = False

    @property
    def plain(self) -> bool:
        """Whether offsets are those of the file itself."""
        return self.packing is None and self.encoding == UTF_8


@dataclass(frozen=True, slots=True)
class Lines:
    """A manifest's text in UTF-8, from some byte on.

    Args:
        stream: The bytes.
        writing: How they were written.
        manifest: Where they come from.
    """

    stream: io.BufferedReader
    writing: Writing
    manifest: ManifestStream

    @property
    def identity(self) -> str:
        """What the manifest is, to be compared with when it is read on."""
        return self.manifest.identity


def open_lines(
    uri: str, encoding: str, *, offset: int, identity: str | None, writing: Writing | None
) -> Lines:
    """Open a manifest that is text.

    Args:
        uri: Where it lies.
        encoding: That it is said to have.
        offset: First byte to give, of its text in UTF-8. What is packed or in another encoding
            is read from its beginning up to there.
        identity: What the manifest was when a cursor was made; None the first time.
        writing: How it was written, as found the first time.

    Raises:
        SourceError: It cannot be read, is no text, or is not the one it was.
    """
    start = offset if writing is not None and writing.plain else 0
    manifest = ManifestStream(uri, origin_of(uri), start, identity)
    buffered: io.BufferedReader = io.BufferedReader(manifest, BUFFER_BYTES)
    packing = writing.packing if writing else packing_of(buffered.peek(_MAGIC_BYTES))
    if packing:
        buffered = io.BufferedReader(Unpacked(buffered, packing, uri), BUFFER_BYTES)
    found = writing
    if found is None:
        beginning = buffered.peek(_BEGINNING_BYTES)
        refuse_strangers(beginning, uri)
        found = Writing(packing, encoding_of(beginning, encoding))
    if found.encoding != UTF_8:
        buffered = io.BufferedReader(InUtf8(buffered, found.encoding), BUFFER_BYTES)
    if writing is None and has_cr_ends(buffered.peek(_BEGINNING_BYTES)):
        found = Writing(packing, found.encoding, cr=True)
    if found.cr:
        # A byte for a byte: offsets stay what they are.
        buffered = io.BufferedReader(LineFeeds(buffered), BUFFER_BYTES)
    skip(buffered, offset - start)
    return Lines(buffered, found, manifest)
