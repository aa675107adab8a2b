"""Bytes as they arrive: in small pieces, padded, and not all of them text."""

import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from ittybatch.sources import ManifestSource, Page, SourceError, read_pages, stream

A, B = "s3://med/a.mov", "s3://med/b.mov"


def _read(path: Path, content: bytes, **fields: Any) -> Page:  # noqa: ANN401
    path.write_bytes(content)
    (page,) = read_pages(ManifestSource.model_validate({"uri": str(path), **fields}), page_size=100)
    return page


class _Slow:
    """A server whose answer arrives in these pieces."""

    identity = "1"

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)

    def open(self, offset: int) -> None:
        """Begin at this byte."""
        assert offset == 0

    def read(self) -> bytes:
        """The next piece."""
        return next(self._pieces, b"")

    def close(self) -> None:
        """Close the connection."""


def _table() -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.table({"input": [A, B]}), out)
    return out.getvalue()


@pytest.mark.parametrize("first", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", gzip.compress(f"input\n{A}\n{B}\n".encode())),
        ("a.csv", f"\ufeffinput\n{A}\n{B}\n".encode("utf-16-le")),
        ("a.csv", f"\ufeffinput\r{A}\r{B}\r".encode()),
        ("a.csv", gzip.compress(f"\ufeffinput\r{A}\r{B}\r".encode("utf-16-be"))),
        ("a.parquet", gzip.compress(_table())),
    ],
    ids=["gzip", "utf-16", "mark-and-cr", "all", "parquet"],
)
def test_the_size_of_the_first_piece_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, first: int
) -> None:
    """Packing, encoding and line ends are those of the file."""
    pieces = [content[:first], *(content[at : at + 5] for at in range(first, len(content), 5))]
    monkeypatch.setattr(stream, "origin_of", lambda *_, **__: _Slow(pieces))
    (page,) = read_pages(ManifestSource(uri=f"https://slow.example/{name}"), page_size=100)
    assert [item.uri for item in page.items] == [A, B]


def _bad() -> Any:  # noqa: ANN401 - a pyarrow array
    """Two texts, the first of which is not UTF-8."""
    lengths = pa.array([0, 2, 4], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), 2, [None, lengths, pa.py_buffer(b"\xff\xfeok")])


@pytest.mark.parametrize(
    "values",
    [
        _bad(),
        pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), _bad()),
        pa.StructArray.from_arrays([_bad()], ["x"]),
    ],
    ids=["text", "list", "struct"],
)
def test_a_byte_that_is_no_text_costs_one_row(
    tmp_path: Path,
    values: Any,  # noqa: ANN401 - a pyarrow array
) -> None:
    """Whatever the type of its column: the file is not damaged."""
    out = io.BytesIO()
    parquet.write_table(pa.table({"input": [A, B], "metadata.x": values}), out)
    page = _read(tmp_path / "a.parquet", out.getvalue())
    assert [item.uri for item in page.items] == [B]
    assert "ok" in page.items[0].metadata["x"]
    assert [(each.line, each.field) for each in page.rejects] == [(1, "metadata.x")]
    assert "text" in page.rejects[0].reason


def test_zeros_behind_the_end_of_gzip_are_ignored(tmp_path: Path) -> None:
    """Archives fill their last block with them; what is cut off is still an error."""
    packed = gzip.compress(f"input\n{A}\n".encode())
    page = _read(tmp_path / "a.csv.gz", packed + gzip.compress(f"{B}\n".encode()) + bytes(512))
    assert [item.uri for item in page.items] == [A, B]
    for damaged in (packed[:-4], packed[:-12] + bytes(4) + packed[-8:], packed + b"PK12345"):
        with pytest.raises(SourceError, match="gzip is damaged or ends early"):
            _read(tmp_path / "a.csv.gz", damaged)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-32"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", f"input,metadata.s\n{A},ä\n{B},ö\n"),
        ("a.jsonl", f'{{"input": "{A}"}}\n{{"input": "{B}"}}\n'),
    ],
)
def test_wide_text_is_recognised_without_a_mark(
    tmp_path: Path, encoding: str, name: str, text: str
) -> None:
    """Its first two characters are ASCII."""
    page = _read(tmp_path / name, text.encode(encoding))
    assert [item.uri for item in page.items] == [A, B]
