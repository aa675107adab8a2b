"""Layers over a manifest's bytes: unpacked, and brought into UTF-8."""

import codecs
import io
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from ittybatch.sources.errors import SourceError, without_secrets

if TYPE_CHECKING:
    from typing_extensions import Buffer

Packing = Literal["gzip", "zstd"]

UTF_8 = "utf-8"
BUFFER_BYTES = 1024 * 1024

_BLOCK_BYTES = 256 * 1024
_PACKINGS: dict[bytes, Packing] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
# What is surely no text, by its first bytes.
_STRANGERS = {
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
_BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# No UTF-8 has this byte: it marks the row that held what could not be decoded.
_UNDECODABLE = "\udcff"


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101  nothing else decodes
    return _UNDECODABLE, error.end


codecs.register_error("ittybatch-mark", _mark)


class _Layer(io.RawIOBase):
    """A stream made of another one, block by block."""

    def __init__(self, below: io.BufferedReader) -> None:
        super().__init__()
        self._below = below
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        view = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = self._block()
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._below.close()
        super().close()

    @abstractmethod
    def _block(self) -> bytes:
        """Give some more of what there is; nothing at the end."""


class Unpacked(_Layer):
    """What a packed stream holds; never more of it at once than a block.

    Args:
        below: The packed bytes.
        packing: `gzip` or `zstd`.
        uri: For messages.
    """

    def __init__(self, below: io.BufferedReader, packing: Packing, uri: str) -> None:
        super().__init__(below)
        self._packing = packing
        self._uri = without_secrets(uri)
        self._stream = pa.CompressedInputStream(pa.PythonFile(below, mode="r"), packing)

    def _block(self) -> bytes:
        try:
            return self._stream.read(_BLOCK_BYTES)
        except OSError as error:
            raise SourceError(
                f"The manifest {self._uri} cannot be unpacked: its {self._packing} is damaged or "
                f"ends early ({str(error).splitlines()[0]}).",
                remedy="Check it with `gzip -t` or `zstd -t`, and write it again; the batch keeps "
                "what was read before.",
            ) from error


class InUtf8(_Layer):
    """Text of another encoding as UTF-8. What cannot be decoded becomes a byte that is none.

    Args:
        below: The bytes.
        encoding: Their encoding.
    """

    def __init__(self, below: io.BufferedReader, encoding: str) -> None:
        super().__init__(below)
        self._decoder = codecs.getincrementaldecoder(encoding)("ittybatch-mark")

    def _block(self) -> bytes:
        while True:
            content = self._below.read(_BLOCK_BYTES)
            text = self._decoder.decode(content, final=not content)
            if text or not content:
                return text.encode(UTF_8, "surrogateescape")


class LineFeeds(_Layer):
    """Text whose lines end with a carriage return, with line feeds in their place."""

    def _block(self) -> bytes:
        return self._below.read(_BLOCK_BYTES).replace(b"\r", b"\n")


def has_cr_ends(beginning: bytes) -> bool:
    """Say whether the first line of a text ends with a carriage return alone."""
    place = beginning.find(b"\r")
    if not 0 <= place < len(beginning) - 1 or b"\n" in beginning[:place]:
        return False
    # A line feed alone may stand in a value; together they are an end of another kind.
    return b"\r\n" not in beginning


def packing_of(beginning: bytes) -> Packing | None:
    """Tell by a file's first bytes how it is packed; None where it is not."""
    return next((name for magic, name in _PACKINGS.items() if beginning.startswith(magic)), None)


def encoding_of(beginning: bytes, asked: str) -> str:
    """Tell a text's encoding: a byte order mark is right where nothing else was asked for."""
    if asked != UTF_8:
        return asked
    return next(
        (name for mark, name in _BYTE_ORDER_MARKS.items() if beginning.startswith(mark)), UTF_8
    )


def refuse_strangers(beginning: bytes, uri: str) -> None:
    """Refuse what is no text at all.

    Raises:
        SourceError: Naming what it is.
    """
    for magic, (what, instead) in _STRANGERS.items():
        if beginning.startswith(magic):
            raise _no_text(uri, what, f"Give {instead}.")
    text = beginning[:200].decode("latin-1").removeprefix("\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_PAGE):
        raise _no_text(
            uri,
            "an HTML or XML page, as a server answers with an error or a login",
            "Open the address in a browser, and give one that answers with the file itself.",
        )
    if _ARRAY.match(text):
        raise _no_text(
            uri,
            "one JSON array",
            "Write one object a line, for instance with `jq -c '.[]' list.json > list.jsonl`.",
        )


def _no_text(uri: str, what: str, remedy: str) -> SourceError:
    return SourceError(
        f"The manifest {without_secrets(uri)} cannot be read as text: it is {what}.",
        remedy=remedy,
    )


def skip(stream: io.BufferedReader, count: int) -> None:
    """Pass over bytes that were read before."""
    while count > 0 and (block := stream.read(min(count, _BLOCK_BYTES))):
        count -= len(block)
