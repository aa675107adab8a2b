"""Which title means what: the titles among other lines, aliases, mapped and unknown titles."""

import io
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet

from ittybatch.sources import ManifestSource, Page, SourceError, read_pages

A = "s3://med/a.mov"


def _read(path: Path, content: bytes | str, **fields: Any) -> Page:  # noqa: ANN401
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = ManifestSource.model_validate({"uri": str(path), **fields})
    (page,) = read_pages(source, page_size=100)
    return page


def _sheet(rows: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize(
    "above", [["URL", "https://app.example/export"], ["Path"], ["URL", "input;of tonight"]]
)
@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_a_word_above_the_table_is_not_its_titles(
    tmp_path: Path, suffix: str, above: list[str]
) -> None:
    """Otherwise the rows' own profiles would be dropped, and other jobs be paid for."""
    rows = [["Tonight"], above, ["input", "profile"], [A, "web"]]
    lines = "".join(",".join(row) + "\n" for row in rows)
    page = _read(tmp_path / f"a.{suffix}", _sheet(rows) if suffix == "xlsx" else lines)
    assert [(item.uri, item.profile, item.line) for item in page.items] == [(A, "web", 4)]
    assert page.rejects == []
    assert page.filtered == {"line above the titles": 2}


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_a_row_of_values_is_not_the_titles(tmp_path: Path, suffix: str) -> None:
    """A value may be the word `input`; an alias is still a title, with all rows below it."""
    rows = [["Url", "metadata.stage"], [A, "input"], ["s3://med/b.mov", "url"]]
    lines = "".join(",".join(row) + "\n" for row in rows)
    page = _read(tmp_path / f"a.{suffix}", _sheet(rows) if suffix == "xlsx" else lines)
    assert [item.metadata for item in page.items] == [{"stage": "input"}, {"stage": "url"}]


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
@pytest.mark.parametrize("row", [["", "input"], ["input", ""]])
def test_a_row_without_an_address_is_not_the_titles_either(
    tmp_path: Path, suffix: str, row: list[str]
) -> None:
    """It is a row that cannot be read, and the rows below it can."""
    rows = [["url", "metadata.stage"], row, [A, "raw"]]
    lines = "".join(",".join(each) + "\n" for each in rows)
    page = _read(tmp_path / f"a.{suffix}", _sheet(rows) if suffix == "xlsx" else lines)
    assert [(item.uri, item.metadata) for item in page.items] == [(A, {"stage": "raw"})]
    assert [reject.line for reject in page.rejects] == [2]


def test_a_title_may_be_an_address_beside_input(tmp_path: Path) -> None:
    """Titles of Dublin Core are addresses."""
    page = _read(tmp_path / "a.csv", f"input,http://purl.org/dc/terms/title\n{A},Pilot\n")
    assert [item.uri for item in page.items] == [A]


@pytest.mark.parametrize(
    ("columns", "row", "uri", "more"),
    [
        ({}, '{"input": "A", "path": "/mnt/a.mov", "url": "https://x.example/"}', A, {}),
        ({"input": "file"}, '{"file": "A", "input": "cam 1", "path": "/mnt/a.mov"}', A, {}),
        (
            {"fingerprint": "checksum"},
            '{"input": "A", "fingerprint": "f", "checksum": "c"}',
            A,
            {"fingerprint": "c"},
        ),
        (
            {"metadata.title": "Title"},
            '{"metadata.title": "y", "Title": "x", "metadata": {"title": "z", "b": 1}, "url": "A"}',
            A,
            {"metadata": {"title": "x", "b": "1"}},
        ),
        ({}, '{"input": "A", "tag": "x", "profile_id": 7, "_profiles": 8}', A, {"profile": None}),
        ({}, '{"path": "A", "url": "https://x.example/a.mov"}', A, {}),
        ({"_p": "profiles"}, '{"input": "A", "profiles": "x"}', A, {"profile": None}),
        ({}, '{"\\ufeffinput": "A", "\\ufeff Kind": "audio"}', A, {"kind": "audio"}),
    ],
)
def test_a_field_beside_the_right_one_is_ignored(
    tmp_path: Path, columns: dict[str, str], row: str, uri: str, more: dict[str, Any]
) -> None:
    """A mapped or exact name decides; no other field replaces its value."""
    page = _read(tmp_path / "a.jsonl", row.replace('"A"', f'"{A}"'), columns=columns)
    assert page.rejects == []
    (item,) = page.items
    assert item.uri == uri
    assert {name: getattr(item, name) for name in more} == more


@pytest.mark.parametrize(("name", "columns"), [("file", {"input": "file"}), ("Input", {})])
def test_a_row_without_its_input_gets_no_job_for_another_address(
    tmp_path: Path, name: str, columns: dict[str, str]
) -> None:
    """The job would be paid for, and not be of the file that was meant."""
    rows = f'{{"{name}": "{A}"}}\n{{"{name}": null, "url": "https://x.example/page"}}\n'
    page = _read(tmp_path / "a.jsonl", rows, columns=columns)
    assert [item.uri for item in page.items] == [A]
    (reject,) = page.rejects
    assert (reject.line, reject.field) == (2, "input")
    assert "is empty or missing" in reject.reason


@pytest.mark.parametrize("title", ["\ufeff\ufeffinput", "\ufeff input "])
def test_byte_order_marks_are_no_part_of_a_title(tmp_path: Path, title: str) -> None:
    """Programs that join files leave them in titles."""
    out = io.BytesIO()
    parquet.write_table(pa.table({title: [A]}), out)
    for name, content in (("a.parquet", out.getvalue()), ("a.csv", f"{title}\n{A}\n".encode())):
        assert [item.uri for item in _read(tmp_path / name, content).items] == [A]


@pytest.mark.parametrize("title", ["Profile ID", "profileId", "metadata_id", "Metadata-Id"])
def test_an_id_is_never_a_typing_error(tmp_path: Path, title: str) -> None:
    """However programs spell it; `Metadat` and `Profiled` still are."""
    page = _read(tmp_path / "a.csv", f"input,{title}\n{A},7\n")
    assert [(item.uri, item.profile) for item in page.items] == [(A, None)]
    for wrong in ("Metadat", "Profiled"):
        with pytest.raises(SourceError, match="did you mean"):
            _read(tmp_path / "a.csv", f"input,{wrong}\n{A},7\n")


def test_an_unknown_column_can_be_left_out(tmp_path: Path) -> None:
    """`tag` and ids are usual; for other likenesses the error names what works."""
    content = f"input,tag,profile_id,Profiles\n{A},x,1,2\n"
    with pytest.raises(SourceError, match=r"did you mean `profile`\?.* .--column _Profiles=TITLE."):
        _read(tmp_path / "a.csv", content)
    for given, columns in (
        (content, {"_Profiles": "Profiles"}),
        (content.replace("Profiles", "_Profiles"), {}),
    ):
        page = _read(tmp_path / "a.csv", given, columns=columns)
        assert [(item.uri, item.profile) for item in page.items] == [(A, None)]


@pytest.mark.parametrize(
    "options",
    ['{"format": "\\ud800"}', '{"\\ud800": 1}', '{"position": "\\ud800"}', '{"start": "\\udfff"}'],
)
def test_half_of_a_character_costs_one_row(tmp_path: Path, options: str) -> None:
    """It can only be written as an escape of JSON, and no scan may end with it."""
    quoted = options.replace('"', '""')
    rows = f'input,kind,options\n{A},video,"{quoted}"\n{A},,\n'
    page = _read(tmp_path / "a.csv", rows)
    escaped = options.replace("\\", "\\\\").replace('"', '\\"')
    lines = f'{{"input": "{A}", "kind": "video", "options": "{escaped}"}}\n{{"input": "{A}"}}\n'
    for each in (page, _read(tmp_path / "a.jsonl", lines)):
        assert [item.uri for item in each.items] == [A]
        (reject,) = each.rejects
        assert reject.field == "options"
        assert "Half of a character is not text." in reject.reason
        assert reject.reason.encode()
