"""The same rows as a manifest of every format."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
from pyarrow import parquet

from ittybatch.profiles import Item
from ittybatch.sources import ManifestSource, Page, Reject, read_pages

TITLES = ["input", "kind", "options", "profile", "size_bytes", "metadata.show"]
Row = list[Any]


def good(number: int) -> Row:
    options = json.dumps({"width": 640 + number})
    return [f"s3://med/{number}.mov", "video", options, None, str(number), f"Show {number}, a"]


BAD: list[tuple[Row, str, str]] = [
    ([None, "video", None, None, None, "x"], "input", "is empty"),
    (["ftp://h/a.mov", None, None, None, None, None], "input", "must be an s3://"),
    (["s3://med", None, None, None, None, None], "input", "names no object"),
    (["s3://M$/a.mov", None, None, None, None, None], "input", "not a bucket name"),
    (["s3://med/a.mov", "vidio", None, None, None, None], "kind", "has no kind of this name"),
    (["s3://med/a.mov", "video", "{", None, None, None], "options", "are not JSON"),
    (["s3://med/a.mov", "audio", '{"width": 1}', None, None, None], "options", "width = 1"),
    (["s3://med/a.mov", None, "{}", None, None, None], "options", "need a `kind`"),
    (["s3://med/a.mov", "video", None, "web", None, None], "profile", "exclude each other"),
    (["s3://med/a.mov", None, None, "a b", None, None], "profile", "not a profile name"),
    (["s3://med/a\u2028.mov", None, None, None, None, None], "input", "control character"),
]
# Good and bad take turns, so that every reject stands between sound rows.
ROWS = [row for number, (bad, _, _) in enumerate(BAD) for row in (good(number), bad)]


def separated(mark: str) -> Callable[..., bytes]:
    def write(rows: list[Row], titles: list[str] = TITLES) -> bytes:
        lines = [titles, *rows]
        cells = [['"' + (cell or "").replace('"', '""') + '"' for cell in line] for line in lines]
        return "".join(mark.join(line) + "\n" for line in cells).encode()

    return write


def json_lines(rows: list[Row], titles: list[str] = TITLES) -> bytes:
    objects = [
        {name: value for name, value in zip(titles, row, strict=True) if value is not None}
        for row in rows
    ]
    return "".join(json.dumps(each) + "\n" for each in objects).encode()


def parquet_file(rows: list[Row], titles: list[str] = TITLES) -> bytes:
    out = io.BytesIO()
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    parquet.write_table(pa.table(columns, titles), out, row_group_size=3)
    return out.getvalue()


def workbook(rows: list[Row], titles: list[str] = TITLES) -> bytes:
    book = openpyxl.Workbook()
    for row in [titles, *rows]:
        book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, "zstd", asbytes=True)
    return packed


# Name of the file, what writes it, and the line of the first row.
WRITERS: dict[str, tuple[Callable[..., bytes], int]] = {
    "list.csv": (separated(","), 2),
    "list.tsv": (separated("\t"), 2),
    "list.jsonl": (json_lines, 1),
    "list.parquet": (parquet_file, 1),
    "list.xlsx": (workbook, 2),
    "list.csv.gz": (lambda *given: gzip.compress(separated(",")(*given)), 2),
    "list.jsonl.zst": (lambda *given: zstd(json_lines(*given)), 1),
}


def pages_of(path: Path, content: str | bytes | None = None, **more: Any) -> list[Page]:  # noqa: ANN401
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_pages(ManifestSource(uri=str(path)), **more))


def items_of(path: Path, content: str | bytes) -> list[Item]:
    return [item for page in pages_of(path, content) for item in page.items]


def rejects_of(path: Path, content: str | bytes) -> list[Reject]:
    return [reject for page in pages_of(path, content) for reject in page.rejects]
