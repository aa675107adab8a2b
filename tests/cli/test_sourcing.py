"""The source of a command, as it was typed."""

import sqlite3
from pathlib import Path

import pytest

from ittybatch.cli.sourcing import SourceOptions, source_of
from ittybatch.errors import IttybatchError
from ittybatch.sources import ManifestSource, SourceError, SqlSource, read_pages
from ittybatch.sources.manifest import ManifestSource as Model
from tests.sources.test_files import FILES


def test_every_field_of_a_manifest_is_an_option() -> None:
    """What the messages advise can be typed."""
    options = set(SourceOptions.__dataclass_fields__)
    assert set(Model.model_fields) - {"type", "uri"} - {"columns"} <= options
    assert "column" in options


def test_a_semicolon_csv_of_another_language_is_planned(tmp_path: Path) -> None:
    """Titles match whatever their case, the space around them and their Unicode form."""
    path = tmp_path / "liste.txt"
    path.write_bytes("Dateipfad ;Gro\u0308ße\ns3://media/1.mov;7\n".encode())
    source = source_of(
        str(path),
        SourceOptions(
            column=["input=dateipfad", "size_bytes=GR\u00d6\u00dfE"],
            delimiter=";",
            encoding="utf-8",
        ),
    )
    assert isinstance(source, ManifestSource)
    (page,) = read_pages(source)
    assert [(item.uri, item.size_bytes) for item in page.items] == [("s3://media/1.mov", 7)]


def test_a_second_sheet_and_hidden_rows_are_planned() -> None:
    """By their options."""
    options = SourceOptions(sheet="Sheet", header_row=1, hidden_rows=True)
    source = source_of(str(FILES / "openpyxl-hidden-sheet.xlsx"), options)
    assert isinstance(source, ManifestSource)
    (page,) = read_pages(source)
    assert [item.uri for item in page.items] == ["s3://media/old.mov"]


def test_addresses_without_titles_are_planned() -> None:
    """`--header-row 0` is a value, too."""
    source = source_of(str(FILES / "addresses.csv"), SourceOptions(header_row=0))
    assert isinstance(source, ManifestSource)
    assert source.header_row == 0


def test_a_tab_can_be_typed() -> None:
    """As a shell leaves it."""
    source = source_of("list.csv", SourceOptions(delimiter="\\t"))
    assert isinstance(source, ManifestSource)
    assert source.delimiter == "\t"


@pytest.mark.parametrize("given", ["input", "=Title", "input="])
def test_a_column_without_a_title_is_refused(given: str) -> None:
    """With the form that is wanted."""
    with pytest.raises(IttybatchError, match=r"--column.*NAME=TITLE"):
        source_of("list.csv", SourceOptions(column=[given]))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_query_is_read_from_a_file(tmp_path: Path, encoding: str) -> None:
    """As editors of Windows save it, too."""
    path = tmp_path / "tonight.sql"
    path.write_bytes("SELECT 's3://media/é.mov' AS input".encode(encoding))
    source = source_of("sql:LIBRARY", SourceOptions(query=f"@{path}"))
    assert isinstance(source, SqlSource)
    assert source.query == "SELECT 's3://media/é.mov' AS input"


def test_a_query_of_another_encoding_is_refused(tmp_path: Path) -> None:
    """With the line that tells."""
    path = tmp_path / "tonight.sql"
    path.write_bytes("SELECT 1\nAS 'é'".encode("latin-1"))
    with pytest.raises(IttybatchError, match=r"line 2 of .*tonight.sql is not UTF-8"):
        source_of("sql:LIBRARY", SourceOptions(query=f"@{path}"))


@pytest.mark.parametrize("url", ["sqlite:///library.db", "sqlite:///library.db?timeout=5"])
def test_a_sqlite_file_of_this_folder_is_found_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """The batch runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    sqlite3.connect("library.db").close()
    query = "SELECT 's3://media/a.mov' AS input"
    source = source_of(f"sql:{url}", SourceOptions(query=query))
    monkeypatch.chdir("/")
    assert isinstance(source, SqlSource)
    (page,) = read_pages(source)
    assert [item.uri for item in page.items] == ["s3://media/a.mov"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("list.xls", "save it as .xlsx"),
        ("s3://lists/list.ods", "save it as .xlsx"),
        ("list.csv.xz", "pack it with gzip"),
        ("list.csv.bz2", "pack it with gzip"),
        ("https://h/list.json?sig=1", "one object a line"),
        ("list.lst", "--format csv"),
    ],
)
def test_a_file_that_is_not_read_says_what_to_do(name: str, remedy: str) -> None:
    """By its name."""
    with pytest.raises(SourceError, match=remedy):
        source_of(name, SourceOptions())


def test_a_file_of_any_name_is_a_manifest_where_its_format_is_given() -> None:
    """Also a JSON Lines file that is called `.json`."""
    for name in ("list.lst", "list.json", "s3://lists/manifest.json", "https://h/lists/7"):
        source = source_of(name, SourceOptions(format="jsonl"))
        assert isinstance(source, ManifestSource)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("s3://AKIA1:s3cr3t/x@bucket/prefix/", SourceOptions()),
        ("s3://AKIA1:s3cr3t@bucket/list.csv", SourceOptions()),
        ("https://me:s3cr3t@h/list.csv", SourceOptions()),
        ("https://h/list.lst?sig=s3cr3t", SourceOptions()),
        ("sql:postgresql://h/db?password=s3cr3t", SourceOptions(query="SELECT 1")),
        ("sql:postgresql://me:s3cr3t@h/db", SourceOptions(query="SELECT 1")),
        ("inventory+s3://AKIA1:s3cr3t@bucket/manifest.json", SourceOptions()),
        ("s3://bucket/", SourceOptions(also=["s3://AKIA1:s3cr3t@bucket/"])),
    ],
)
def test_a_refusal_does_not_repeat_a_secret(text: str, options: SourceOptions) -> None:
    """It is printed, and may end in a log."""
    with pytest.raises(SourceError) as caught:
        source_of(text, options)
    assert "s3cr3t" not in str(caught.value)
