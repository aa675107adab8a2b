"""Manifests of every format, in every place: rows, rejects, and going on after a stop."""

import gzip
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet

from ittybatch.profiles import Item
from ittybatch.sources import ManifestSource, Page, SourceError, parse_source, read_pages
from tests.sources.conftest import Site
from tests.sources.manifests import BAD, ROWS, WRITERS, Row, parquet_file, workbook, zstd

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

every_format = pytest.mark.parametrize("name", WRITERS)


def read(uri: object, cursor: str | None = None, page_size: int = 1000, **more: Any) -> list[Page]:  # noqa: ANN401
    source = ManifestSource(uri=str(uri), **more)
    return list(read_pages(source, cursor=cursor, page_size=page_size))


def items(pages: list[Page]) -> list[Item]:
    return [item for page in pages for item in page.items]


def expected_items(first: int) -> list[Item]:
    return [
        Item(
            f"s3://med/{number}.mov",
            size_bytes=number,
            line=first + 2 * number,
            kind="video",
            options={"width": 640 + number},
            metadata={"show": f"Show {number}, a"},
        )
        for number in range(len(BAD))
        if number
    ]


def saved(tmp_path: Path, name: str, rows: list[Row] = ROWS) -> Path:
    path = tmp_path / name
    path.write_bytes(WRITERS[name][0](rows))
    return path


@every_format
def test_bad_rows_are_rejects_and_good_ones_items(tmp_path: Path, name: str) -> None:
    """The same rows come to the same in every format; each reject names line and reason."""
    pages = read(saved(tmp_path, name))
    first = WRITERS[name][1]
    assert items(pages)[1:] == expected_items(first)
    rejects = [reject for page in pages for reject in page.rejects]
    assert [reject.line for reject in rejects] == [first + 1 + 2 * n for n in range(len(BAD))]
    for reject, (_, field, reason) in zip(rejects, BAD, strict=True):
        assert reject.field == field
        assert reason in reject.reason


@every_format
def test_text_that_nobody_reads_is_left_alone(tmp_path: Path, name: str) -> None:
    """A column of another name may hold whatever it likes, and as much of it."""
    notes = ["short", "two\nlines", "a" * 5000, "a\ttab", "s3://med/a\u2028.mov"]
    rows = [[note, f"s3://med/{number}.mov", note] for number, note in enumerate(notes)]
    path = tmp_path / name
    path.write_bytes(WRITERS[name][0](rows, ["description", "input", "Other words"]))
    (page,) = read(path)
    assert page.rejects == []
    assert [item.uri for item in page.items] == [row[1] for row in rows]
    assert {len(item.metadata) for item in page.items} == {0}


@every_format
@pytest.mark.parametrize("page_size", [1, 4])
def test_a_stop_after_any_page_loses_and_repeats_nothing(
    tmp_path: Path, name: str, page_size: int
) -> None:
    """Each page is read by a process that knows the last cursor and nothing else."""
    path = saved(tmp_path, name)
    (whole,) = read(path)
    source, cursor = ManifestSource(uri=str(path)), None
    parts: list[Page] = []
    while page := next(read_pages(source, cursor=cursor, page_size=page_size), None):
        parts.append(page)
        cursor = page.cursor
    assert items(parts) == whole.items
    assert [reject for page in parts for reject in page.rejects] == whole.rejects


@every_format
def test_a_manifest_in_a_bucket_is_read(s3: "S3Client", bucket: str, name: str) -> None:
    """From any page on, and refused once it was replaced."""
    s3.put_object(Bucket=bucket, Key=name, Body=WRITERS[name][0](ROWS))
    pages = read(f"s3://{bucket}/{name}", page_size=5)
    again = read(f"s3://{bucket}/{name}", pages[1].cursor)
    assert len(items(pages)) == len(BAD)
    assert items(pages[:2]) + items(again) == items(pages)
    s3.put_object(Bucket=bucket, Key=name, Body=WRITERS[name][0](ROWS[2:]))
    with pytest.raises(SourceError, match="has changed"):
        read(f"s3://{bucket}/{name}", pages[1].cursor)


@every_format
def test_a_manifest_on_the_web_is_read(site: Site, name: str) -> None:
    """Also where the connection breaks once."""
    site.content, site.cut = WRITERS[name][0](ROWS), 1
    pages = read(f"{site.url}/{name}?sig=1", page_size=5)
    assert items(pages)[1:] == expected_items(WRITERS[name][1])
    again = read(f"{site.url}/{name}?sig=2", pages[1].cursor)
    assert items(pages[:2]) + items(again) == items(pages)


@pytest.mark.parametrize("name", ["list.csv", "list.tsv"])
def test_titles_may_be_others(tmp_path: Path, name: str) -> None:
    """`columns` says what they mean; a title that is not there is an error."""
    path = saved(tmp_path, name)
    path.write_bytes(path.read_bytes().replace(b'"input"', b'"File path"', 1))
    assert len(items(read(path, columns={"input": "File path"}))) == len(BAD)
    with pytest.raises(SourceError, match="no column 'Other'"):
        read(path, columns={"input": "Other"})


def test_objects_may_name_their_values_otherwise(tmp_path: Path) -> None:
    """Options and metadata as objects, and whatever `columns` says."""
    path = tmp_path / "list.jsonl"
    path.write_text(
        '{"FILE": "s3://med/a.mov", "kind": "video", "options": {"width": 640}, '
        '"metadata": {"show": "Pilot", "season": 2}, "extra": [1]}\n\n'
        '{"file": "s3://med/b.mov", "Title": "B", "size_bytes": 12}\n',
        encoding="utf-8",
    )
    (page,) = read(path, columns={"input": "file", "metadata.title": "Title"})
    assert page.rejects == []
    assert page.items[0].metadata == {"show": "Pilot", "season": "2"}
    assert page.items[0].options == {"width": 640}
    assert (page.items[1].metadata, page.items[1].line) == ({"title": "B"}, 3)
    assert page.filtered == {"empty line": 1}


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ("{", "row", "is not JSON"),
        ("[1]", "row", "is not a JSON object"),
        ('{"input": 7}', "input", "is not text"),
        ('{"input": "s3://med/a.mov", "Input": "s3://med/b.mov"}', "input", "appears twice"),
        (
            '{"input": "s3://med/a.mov", "metadata.a": 1, "metadata": {"a": 2}}',
            "metadata.a",
            "is given twice",
        ),
        ('{"input": "s3://med/a.mov", "input": "s3://med/b.mov"}', "input", "appears twice"),
        ('{"input": "s3://med/a\\ud800.mov"}', "input", "control character"),
        ('{"input": "s3://med/a\\u0000.mov"}', "input", "NUL character"),
        ('{"input": "s3://med/a.mov", "optoins": {}}', "optoins", "did you mean `options`"),
        ('{"input": "s3://med/a.mov", "metadata": "x"}', "metadata", "is not a JSON object"),
        ('{"input": "s3://med/a.mov", "metadata": {"a": {}}}', "metadata.a", "has parts"),
        ('{"input": "s3://med/a.mov", "metadata": {"a b": 1}}', "metadata.a b", "is no name"),
        ('{"link": "s3://med/a.mov"}', "input", "is empty or missing (found: 'link')"),
        ('{"url": "s3://med/a.mov", "uri": "s3://med/a.mov"}', "input", "'url', 'uri'"),
        (
            '{"input": "s3://med/a.mov", "kind": "video", "options": {"a": [{"b": 1, "b": 2}]}}',
            "options",
            "a name appears twice",
        ),
        (
            '{"input": "s3://med/a.mov", "kind": "video", "options": {"width": NaN}}',
            "options",
            "is not a number",
        ),
        ("[" * 100_000, "row", "is not JSON"),
        ('{"input": "' + "x" * 2_000_000, "row", "more than 1048576 bytes"),
    ],
)
def test_an_object_that_is_no_item_is_a_reject(
    tmp_path: Path, line: str, field: str, reason: str
) -> None:
    """The lines around it are read."""
    path = tmp_path / "list.jsonl"
    path.write_text(
        f'{{"input": "s3://med/1.mov"}}\n{line}\n{{"input": "s3://med/3.mov"}}\n', encoding="utf-8"
    )
    (page,) = read(path)
    assert [item.line for item in page.items] == [1, 3]
    (reject,) = page.rejects
    assert (reject.line, reject.field) == (2, field)
    assert reason in reject.reason


@pytest.mark.parametrize(
    ("encoding", "given"),
    [
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-8"),
        ("utf-16-be", "utf-16-be"),
        ("cp1252", "cp1252"),
        ("shift-jis", "shift-jis"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_other_encodings_are_understood(
    tmp_path: Path, encoding: str, given: str, packed: bool
) -> None:
    """Byte order marks by themselves, others as they are said; also read on from a page."""
    name = "カ" if encoding == "shift-jis" else "é"
    text = "input\n" + "".join(f"s3://med/{name}{number}.mov\r\n" for number in range(9))
    content = text.encode(encoding)
    path = tmp_path / ("list.csv.gz" if packed else "list.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    pages = read(path, page_size=4, encoding=given)
    assert [item.uri for item in items(pages)] == [f"s3://med/{name}{n}.mov" for n in range(9)]
    assert items(read(path, pages[0].cursor, encoding=given)) == items(pages[1:])


def test_what_cannot_be_decoded_costs_its_row_alone(tmp_path: Path) -> None:
    """0x81 is nothing in cp1252."""
    path = tmp_path / "list.csv"
    path.write_bytes(b"input\ns3://med/\xe9.mov\ns3://med/\x81.mov\ns3://med/c.mov\n")
    (page,) = read(path, encoding="cp1252")
    assert [item.line for item in page.items] == [2, 4]
    assert [(each.line, each.reason) for each in page.rejects] == [
        (3, "is not CP1252; save the file as UTF-8, or set its `encoding`")
    ]


def test_values_of_a_workbook_are_read_as_they_are_seen(tmp_path: Path) -> None:
    """Numbers without a point, empty rows passed over, another sheet by its name."""
    book = openpyxl.Workbook()
    sheet = book.create_sheet("Tonight")
    for row in (["input", "size_bytes", "metadata.n"], ["s3://med/a.mov", 12.0, 7], [], []):
        sheet.append(row)
    sheet.append(["s3://med/b.mov", None, 1.5])
    book.save(tmp_path / "list.xlsx")
    (page,) = read(tmp_path / "list.xlsx", sheet="Tonight")
    first, second = page.items
    assert (first.size_bytes, first.metadata, first.line) == (12, {"n": "7"}, 2)
    assert (second.size_bytes, second.metadata, second.line) == (None, {"n": "1.5"}, 5)
    with pytest.raises(SourceError, match=r"no sheet 'Other'.*'Tonight'"):
        read(tmp_path / "list.xlsx", sheet="Other")


def test_a_parquet_file_may_have_a_struct_of_metadata(tmp_path: Path) -> None:
    """And typed columns."""
    table = pa.table(
        {
            "input": ["s3://med/a.mov", "s3://med/b.mov"],
            "size_bytes": [1, None],
            "metadata": [{"show": "A", "n": 1}, None],
            "notes": [[1], [2]],
        }
    )
    parquet.write_table(table, tmp_path / "list.parquet")
    (page,) = read(tmp_path / "list.parquet")
    assert page.rejects == []
    assert [(item.size_bytes, item.metadata) for item in page.items] == [
        (1, {"show": "A", "n": "1"}),
        (None, {}),
    ]


def _bomb() -> bytes:
    out = io.BytesIO(workbook([]))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet9.xml", b" " * 20_000_000)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("list.csv.gz", gzip.compress(b"input\n" + b"s3://med/a.mov\n" * 9999)[:-20], "ends early"),
        ("list.csv.gz", b"\x1f\x8b" + b"x" * 100, "is damaged"),
        ("list.jsonl.zst", zstd(b'{"input": "s3://med/a.mov"}\n' * 9999)[:-5], "ends early"),
        ("list.parquet", parquet_file(ROWS)[:-20], "no Parquet file"),
        ("list.parquet", b"input\ns3://med/a.mov\n", "no Parquet file"),
        ("list.xlsx", workbook(ROWS)[:-200], "no Excel workbook"),
        ("list.xlsx", b"input\ns3://med/a.mov\n", "no Excel workbook"),
        ("list.xlsx", b"\xd0\xcf\x11\xe0" + b"x" * 1000, "it is encrypted"),
        ("list.xlsx", _bomb(), "as no workbook does"),
        ("list.xlsx", workbook([], ["link"]), r"no column `input` \(found: 'link'\)"),
        ("list.csv", parquet_file(ROWS), "it is Parquet"),
        ("list.jsonl", workbook(ROWS), "Excel workbook"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    """And names the file."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_what_unpacks_to_a_great_deal_is_never_held_at_once(tmp_path: Path) -> None:
    """A line of 50 MB from 50 kB is one reject."""
    path = tmp_path / "list.csv.gz"
    path.write_bytes(gzip.compress(b"input\n" + b"x" * 50_000_000 + b"\ns3://med/b.mov\n"))
    (page,) = read(path)
    assert [item.line for item in page.items] == [3]
    assert [reject.line for reject in page.rejects] == [2]


@pytest.mark.parametrize(
    "fields",
    [
        {"columns": {"url": "a"}},
        {"columns": {"input": " "}},
        {"columns": {"input": "a", "kind": "a"}},
        {"columns": {"metadata.ittybatch": "a"}},
        {"encoding": "klingon"},
        {"encoding": "base64"},
        {"delimiter": '"'},
        {"delimiter": ";;"},
        {"sheet": "One"},
        {"format": "jsonl", "delimiter": ";"},
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    """Before anything is read."""
    with pytest.raises(
        ValueError, match=r"(?i)column|title|encoding|delimiter|sheet|reserved|1 ch"
    ):
        ManifestSource(uri="s3://media/list.csv", **fields)


@pytest.mark.parametrize("name", [*WRITERS, "LIST.NDJSON.GZ", "a.tab", "a.pq"])
def test_a_manifest_is_known_by_its_name(name: str) -> None:
    """On the command line, too."""
    assert isinstance(parse_source(f"s3://media/{name}"), ManifestSource)
    assert isinstance(parse_source(f"https://h/{name}?sig=1"), ManifestSource)


def test_a_delimiter_may_be_another(tmp_path: Path) -> None:
    """As spreadsheets of half of Europe write it."""
    path = tmp_path / "list.csv"
    path.write_bytes(b"input;metadata.n\ns3://med/a.mov;1,5\n")
    (page,) = read(path, delimiter=";")
    assert page.items[0].metadata == {"n": "1,5"}
