"""Cells of a workbook that do not hold what their text says: escapes and errors."""

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ittybatch.sources import ManifestSource, Page, excel, read_pages

_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
_KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def _book(rows: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _as_excel_writes(rows: list[list[str]], *, shared: bool) -> bytes:
    """A workbook of raw strings, inline or in the table of shared strings."""
    strings = [f'<t xml:space="preserve">{cell}</t>' for row in rows for cell in row]
    cells = [f'<c t="inlineStr"><is>{each}</is></c>' for each in strings]
    if shared:
        cells = [f'<c t="s"><v>{number}</v></c>' for number in range(len(strings))]
    width = len(rows[0])
    lines = ["".join(cells[at : at + width]) for at in range(0, len(cells), width)]
    body = "".join(f"<row>{line}</row>" for line in lines)
    sheet = f'<worksheet xmlns="{_SHEET}"><sheetData>{body}</sheetData></worksheet>'
    table = "".join(f"<si>{each}</si>" for each in strings)
    part = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPE}"/></Types>'
    relation = f'<Relationship Id="rId99" Type="{_KIND}" Target="sharedStrings.xml"/>'
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_book([]))) as given, zipfile.ZipFile(out, "w") as made:
        for name in given.namelist():
            text = given.read(name).decode()
            if name == "[Content_Types].xml" and shared:
                text = text.replace("</Types>", part)
            elif name == "xl/_rels/workbook.xml.rels" and shared:
                text = text.replace("</Relationships>", f"{relation}</Relationships>")
            made.writestr(name, sheet if name == "xl/worksheets/sheet1.xml" else text)
        if shared:
            made.writestr("xl/sharedStrings.xml", f'<sst xmlns="{_SHEET}">{table}</sst>')
    return out.getvalue()


def _read(path: Path, content: bytes) -> Page:
    path.write_bytes(content)
    (page,) = read_pages(ManifestSource(uri=str(path)), page_size=100)
    return page


@pytest.mark.parametrize("shared", [True, False])
def test_escapes_are_undone_once(tmp_path: Path, shared: bool) -> None:
    """Excel escapes control characters, and underscores that would read like such an escape."""
    rows = [
        ["input", "metadata.s"],
        ["s3://med/a.mov_x000D_", "l1_x000D_\nl2"],
        ["s3://med/c_x005F_x0041_.mov", "ax005F_b _x005F_x000D_ _x00e4_"],
    ]
    page = _read(tmp_path / "a.xlsx", _as_excel_writes(rows, shared=shared))
    assert page.rejects == []
    assert [(item.uri, item.metadata["s"]) for item in page.items] == [
        ("s3://med/a.mov", "l1\r\nl2"),
        ("s3://med/c_x0041_.mov", "ax005F_b _x000D_ ä"),
    ]


def test_shared_strings_are_not_kept_twice() -> None:
    """Their elements would take five times the memory of the part."""
    strings = f"<si><t>a_x005F_{'b' * 200}</t></si>" * 20_000
    part = io.BytesIO(f'<sst xmlns="{_SHEET}">{strings}</sst>'.encode())
    tracemalloc.start()
    try:
        assert sum(1 for _ in excel._texts(part)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_an_error_in_a_cell_is_no_value(tmp_path: Path) -> None:
    """Where it would change the job, the row is a reject that names the error."""
    titles = ["input", "fingerprint", "profile", "size_bytes", "metadata.m"]
    page = _read(
        tmp_path / "a.xlsx",
        _book(
            [
                titles,
                ["s3://med/1.mov", None, None, "#N/A", "#DIV/0!"],
                ["s3://med/2.mov", "#REF!", None, 1, "x"],
                ["s3://med/3.mov", None, "#NAME?", 1, "x"],
                ["#VALUE!", None, None, 1, "x"],
                ["s3://med/5.mov", None, None, 1, "x"],
            ]
        ),
    )
    assert [(item.line, item.size_bytes, dict(item.metadata)) for item in page.items] == [
        (2, None, {}),
        (6, 1, {"m": "x"}),
    ]
    told = [(each.line, each.field, each.reason.split(";")[0]) for each in page.rejects]
    assert told == [
        (3, "fingerprint", "shows the error #REF!"),
        (4, "profile", "shows the error #NAME?"),
        (5, "input", "shows the error #VALUE!"),
    ]
