"""A manifest that is text, as lines in UTF-8, whatever its packing, encoding and line ends."""

import codecs
import io
import re
from dataclasses import dataclass
from itertools import chain

from ittybatch.ittybit.redaction import without_secrets
from ittybatch.sources.page import SourceError
from ittybatch.sources.stream import (
    BLOCK_BYTES,
    BUFFER_BYTES,
    BlockReader,
    ManifestStream,
    Packing,
    Unpacked,
    packing_of,
    peeked,
)

UTF_8 = "utf-8"

_MAGIC_BYTES = 16
# Enough to hold the first line of almost every file.
_BEGINNING_BYTES = 64 * 1024
# Files that are not text, by their first bytes.
_NOT_TEXT = {
    b"PAR1": ("Parquet", "`format: parquet`"),
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "`format: excel` for a workbook"),
    b"\xd0\xcf\x11\xe0": ("an old or encrypted Excel workbook", "a workbook saved as .xlsx"),
    b"\xfd7zXZ\x00": ("packed with xz", "the file unpacked, or packed with gzip or zstd"),
    b"BZh91AY&SY": ("packed with bzip2", "the file unpacked, or packed with gzip or zstd"),
    b"7z\xbc\xaf": ("a 7z archive", "the file unpacked, or packed with gzip or zstd"),
    b"%PDF": ("a PDF", "the list as CSV or Excel"),
    b"SQLite format 3": ("a SQLite database", "a source `sql:sqlite:///PATH` with a query"),
    b"Obj\x01": ("Avro", "the list as Parquet or JSON Lines"),
}
_ARRAY = re.compile(r"\[\s*([{\]]|$)")
_PAGE = ("<!doctype", "<html", "<?xml")
# The mark of UTF-32 begins like one of UTF-16.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Two ASCII characters of an encoding without a mark.
_WITHOUT_MARK = {
    re.compile(rb"[^\0]\0\0\0[^\0]\0\0\0"): "utf-32-le",
    re.compile(rb"\0\0\0[^\0]\0\0\0[^\0]"): "utf-32-be",
    re.compile(rb"[^\0]\0[^\0]\0"): "utf-16-le",
    re.compile(rb"\0[^\0]\0[^\0]"): "utf-16-be",
}
# UTF-8 never contains this byte: it marks the row whose bytes could not be decoded.
_UNDECODABLE = "\udcff"


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101  nothing else decodes
    return _UNDECODABLE, error.end


codecs.register_error("ittybatch-mark", _mark)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a manifest's bytes become the UTF-8 in which offsets are counted.

    Args:
        packing: `gzip` or `zstd`; None if it is not packed.
        encoding: The encoding of its text.
        cr: Whether its lines end with a carriage return alone, as on old Macs.
    """

    packing: Packing | None
    encoding: str
    cr: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether offsets in the text are offsets in the file."""
        return self.packing is None and self.encoding == UTF_8


@dataclass(frozen=True, slots=True)
class Text:
    """A manifest's text in UTF-8.

    Args:
        stream: The text, from the wanted byte on.
        encoding: How the file is written.
        identity: The manifest's identity; another one means that it has changed.
    """

    stream: io.BufferedReader
    encoding: Encoding
    identity: str


def open_text(
    uri: str,
    declared: str,
    *,
    offset: int,
    identity: str | None,
    encoding: Encoding | None,
    request_payer: bool = False,
) -> Text:
    """Open a manifest that is text.

    Args:
        uri: Where the manifest is.
        declared: The encoding that the source declares.
        offset: First byte to return, of the text in UTF-8. A packed file, or one in another
            encoding, is read from its beginning up to there.
        identity: The manifest's identity when a cursor was made; None the first time.
        encoding: The encoding that was found the first time.
        request_payer: Whether the requester agrees to pay for reading from a bucket.

    Raises:
        SourceError: The manifest cannot be read, is not text, or has changed.
    """
    start = offset if encoding is not None and encoding.is_plain else 0
    manifest = ManifestStream(uri, start, identity, request_payer=request_payer)
    text: io.BufferedReader = io.BufferedReader(manifest, BUFFER_BYTES)
    packing = encoding.packing if encoding else None
    if encoding is None:
        text, beginning = peeked(text, _MAGIC_BYTES)
        packing = packing_of(beginning)
    if packing:
        text = io.BufferedReader(Unpacked(text, packing, uri), BUFFER_BYTES)
    found = encoding
    if found is None:
        text, beginning = peeked(text, _BEGINNING_BYTES)
        _refuse_other_files(beginning, uri)
        found = Encoding(packing, _encoding_of(beginning, declared))
    if found.encoding != UTF_8:
        text = io.BufferedReader(_Recoded(text, found.encoding), BUFFER_BYTES)
    if encoding is None:
        text, beginning = peeked(text, _BEGINNING_BYTES)
        found = Encoding(packing, found.encoding, cr=_has_cr_ends(beginning))
    if found.cr:
        # One byte replaces one byte, so offsets stay the same.
        text = io.BufferedReader(_LineFeeds(text), BUFFER_BYTES)
    left = offset - start
    while left > 0 and (block := text.read(min(left, BLOCK_BYTES))):
        left -= len(block)
    return Text(text, found, manifest.identity)


class _Layer(BlockReader):
    def __init__(self, below: io.BufferedReader) -> None:
        super().__init__()
        self._below = below

    def close(self) -> None:
        self._below.close()
        super().close()


class _Recoded(_Layer):
    """Text in another encoding as UTF-8. Bytes that cannot be decoded become invalid UTF-8."""

    def __init__(self, below: io.BufferedReader, encoding: str) -> None:
        super().__init__(below)
        self._decoder = codecs.getincrementaldecoder(encoding)("ittybatch-mark")

    def _block(self) -> bytes:
        while True:
            content = self._below.read(BLOCK_BYTES)
            text = self._decoder.decode(content, final=not content)
            if text or not content:
                return text.encode(UTF_8, "surrogateescape")


class _LineFeeds(_Layer):
    """Text with a line feed for each carriage return."""

    def _block(self) -> bytes:
        return self._below.read(BLOCK_BYTES).replace(b"\r", b"\n")


def _has_cr_ends(beginning: bytes) -> bool:
    """Say whether the first line of a text ends with a carriage return alone."""
    place = beginning.find(b"\r")
    if not 0 <= place < len(beginning) - 1 or b"\n" in beginning[:place]:
        return False
    # A value may contain a line feed, but a line end of both rules out old Macs.
    return b"\r\n" not in beginning


def _encoding_of(beginning: bytes, declared: str) -> str:
    """Return the declared encoding; what the first bytes can only be overrides the default."""
    if declared != UTF_8:
        return declared
    marked = (name for mark, name in _BYTE_ORDER_MARKS.items() if beginning.startswith(mark))
    likely = (name for pattern, name in _WITHOUT_MARK.items() if pattern.match(beginning))
    return next(chain(marked, likely), UTF_8)


def _refuse_other_files(beginning: bytes, uri: str) -> None:
    for magic, (what, instead) in _NOT_TEXT.items():
        if beginning.startswith(magic):
            raise _not_text(uri, what, f"Give {instead}.")
    text = beginning[:200].decode("latin-1").removeprefix("\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_PAGE):
        raise _not_text(
            uri,
            "an HTML or XML page, as a server sends for an error or a login",
            "Open the address in a browser, and use an address that returns the file itself.",
        )
    if _ARRAY.match(text):
        raise _not_text(
            uri,
            "one JSON array",
            "Write one object a line, for instance with `jq -c '.[]' list.json > list.jsonl`.",
        )


def _not_text(uri: str, what: str, remedy: str) -> SourceError:
    return SourceError(
        f"The manifest {without_secrets(uri)} cannot be read as text: it is {what}.",
        remedy=remedy,
    )
