"""Reading a manifest: rows, rejects, line numbers, and going on after a stop."""

import csv
import io
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ittybatch.profiles import Item
from ittybatch.sources import ManifestSource, Reject, SourceError, read_pages
from tests.sources.manifests import items_of, pages_of, rejects_of


def test_a_row_becomes_an_item_with_all_that_it_says(manifest: Path) -> None:
    """Every column that is known, and the line it stands on."""
    row = 's3://med/a.mov,video,"{""width"": ""640""}",,\'tis,"""abc""",12,7,x\n'
    header = "input,kind,options,profile,fingerprint,etag,size_bytes,metadata.Id,notes\n"
    (item,) = items_of(manifest, header + row)
    assert item == Item(
        uri="s3://med/a.mov",
        fingerprint="'tis",
        size_bytes=12,
        line=2,
        kind="video",
        options={"width": 640},
        metadata={"Id": "7"},
    )


def test_only_the_input_is_needed(manifest: Path) -> None:
    """Short rows, a byte order mark, Windows lines, no last line end: all are fine."""
    content = b'\xef\xbb\xbfInput,profile,etag\r\nhttps://h/a.mov\r\n\r\ns3://med/b.mov,web,"1"'
    first, second = items_of(manifest, content)
    assert (first.uri, first.profile, first.fingerprint, first.kind, first.options, first.line) == (
        "https://h/a.mov", None, None, None, None, 2,
    )  # fmt: skip
    assert (second.uri, second.profile, second.fingerprint, second.line) == (
        "s3://med/b.mov", "web", "1", 4,
    )  # fmt: skip
    assert [page.filtered for page in pages_of(manifest)] == [{"empty line": 1}]


def test_a_row_that_repeats_is_given_twice(manifest: Path) -> None:
    """Whoever keeps the jobs knows them apart."""
    assert len(items_of(manifest, "input\ns3://med/a.mov\ns3://med/a.mov\n")) == 2


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (",video,,", "input", "is empty"),
        ("ftp://h/a.mov,,,", "input", "must be an s3://"),
        ("/home/me/a.mov,,,", "input", "must be an s3://"),
        ("https:///a.mov,,,", "input", "must be an s3://"),
        ("https://h:99999/a.mov,,,", "input", "is not a URL"),
        ("https://[h/a.mov,,,", "input", "is not a URL"),
        ("https://me:pw@h/a.mov,,,", "input", "holds a password"),
        ("s3://med,,,", "input", "names no object"),
        ("s3://med/folder/,,,", "input", "names no object"),
        ("s3://M$/a.mov,,,", "input", "not a bucket name"),
        ("s3://med/a\x00.mov,,,", "input", "NUL character"),
        ("s3://med/a\x1b[31m.mov,,,", "input", "control character"),
        (f"s3://med/{'a' * 5000},,,", "input", "has 5009 characters"),
        ("s3://med/a.mov,vidio,,", "kind", "has no kind of this name"),
        ("s3://med/a.mov,,{},", "options", "need a `kind`"),
        ("s3://med/a.mov,video,{,", "options", "are not JSON"),
        ("s3://med/a.mov,video,[],", "options", "are not a JSON object"),
        ('s3://med/a.mov,video,"{""width"": 1, ""width"": 2}",', "options", "a name appears twice"),
        ('s3://med/a.mov,video,"{""width"": -1}",', "options", "width = -1"),
        ('s3://med/a.mov,audio,"{""width"": 1}",', "options", "width = 1"),
        (f"s3://med/a.mov,video,{'[' * 10_000},", "options", "are not JSON"),
        ("s3://med/a.mov,animation,,", "options", "end"),
        ("s3://med/a.mov,video,,web", "profile", "exclude each other"),
        ("s3://med/a.mov,,,../web", "profile", "is not a profile name"),
        ("s3://med/a.mov,,,,,x", "row", "has 6 values under 4 columns"),
        ('s3://med/a.mov,"a"b,,', "row", "not doubled"),
    ],
)
def test_a_bad_row_is_a_reject_and_stops_nothing(
    manifest: Path, row: str, field: str, reason: str
) -> None:
    """It names line, column and reason; the rows around it are read."""
    content = f"input,kind,options,profile\ns3://med/before.mov\n{row}\ns3://med/after.mov\n"
    (page,) = pages_of(manifest, content)
    assert [(item.uri, item.line) for item in page.items] == [
        ("s3://med/before.mov", 2),
        ("s3://med/after.mov", 4),
    ]
    (reject,) = page.rejects
    assert (reject.line, reject.field) == (3, field)
    assert reason in reject.reason
    assert len(reject.row_excerpt) <= 200
    assert reject.row_excerpt.isprintable()


def test_bytes_that_are_not_utf8_are_a_reject(manifest: Path) -> None:
    """The file around them is read."""
    content = b"input\ns3://med/caf\xe9.mov\ns3://med/caf\xc3\xa9.mov\n"
    assert [item.uri for item in items_of(manifest, content)] == ["s3://med/café.mov"]
    (reject,) = rejects_of(manifest, content)
    assert (reject.line, reject.field) == (2, "row")
    assert "UTF-8" in reject.reason


def test_an_endless_line_is_a_reject(manifest: Path) -> None:
    """It is passed over without being held in memory."""
    content = b"input\ns3://med/a.mov\n" + b"x" * 3_500_000 + b"\ns3://med/b.mov\n"
    assert [item.line for item in items_of(manifest, content)] == [2, 4]
    (reject,) = rejects_of(manifest, content)
    assert (reject.line, "bytes" in reject.reason) == (3, True)


def test_the_end_of_an_endless_line_is_no_row(tmp_path: Path) -> None:
    """Not in TSV either, where a line that csv refuses is split by hand."""
    path = tmp_path / "items.tsv"
    end = "\ns3://med/b.mov\tx\n"
    line = "s3://med/a.mov\t" + "x" * (2 * 1024 * 1024 - 15) + "s3://med/inner.mov\tx"
    path.write_text(f"input\tnotes\ns3://med/first.mov\tx\n{line}{end}", "utf-8")
    assert [item.key for page in pages_of(path) for item in page.items] == ["first.mov", "b.mov"]
    assert [reject.line for page in pages_of(path) for reject in page.rejects] == [3]


def test_a_long_cell_costs_nothing(manifest: Path) -> None:
    """Beyond the 131,072 characters of the csv module, too."""
    content = f'input,notes\ns3://med/a.mov,"{"x" * 300_000}"\ns3://med/b.mov,{"y" * 200_000}\n'
    (page,) = pages_of(manifest, content)
    assert (len(page.items), page.rejects) == (2, [])


def test_lines_of_old_macs_may_hold_line_feeds(manifest: Path) -> None:
    """And a doubled carriage return does not make a file one of them."""
    content = 'input,notes\rs3://med/a.mov,"two\nlines"\rs3://med/b.mov,\r'
    assert [item.key for item in items_of(manifest, content)] == ["a.mov", "b.mov"]
    content = "input,notes\r\r\ns3://med/a.mov,x\r\r\n"
    assert len(rejects_of(manifest, content + "s3://med/b.mov,\n")) <= 1


def test_a_line_that_is_not_utf8_inside_a_quote_costs_its_row_alone(manifest: Path) -> None:
    """It is a value all the same: nothing inside of it is a row."""
    content = b'input,notes\ns3://med/a.mov,"\xe9\ns3://bbb/inner.mov,\n"\ns3://med/b.mov,\n'
    assert [item.line for item in items_of(manifest, content)] == [5]
    assert [reject.line for reject in rejects_of(manifest, content)] == [2]


def test_an_excerpt_holds_no_secret(manifest: Path) -> None:
    """Signed URLs in rejects end in reports."""
    content = 'input,kind\ns3://med/a.mov,\nhttps://me:pw@h/a.mov?sig=s3cr3t,video\nhttps://h/a?sig=s3cr3t,x\n"https://h/a?b=1,sig=\'s3cr3t",x\n'
    rejects = rejects_of(manifest, content)
    assert len(rejects) == 3
    for reject in rejects:
        assert "s3cr3t" not in f"{reject}"
        assert "pw" not in f"{reject}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n", "no column `input`"),
        (b"link,kind\nh/a.mov,video\n", "no column `input` .*'link', 'kind'.*--column input=TITLE"),
        (b"url,path\nhttps://h/a.mov,b\n", "each of 'url', 'path' could be it"),
        (b"s3://med/a.mov\ns3://med/b.mov\n", "holds an address.*--header-row 0"),
        (b"input\nftp://h/a.mov\n/b.mov\n", "none of its 2 rows can be read .*line 2, input"),
        (b"input,notes\n,x\n", "its only row cannot be read .*line 2, input: is empty"),
        (b"<!DOCTYPE html><html>\n", "an HTML or XML page"),
        (b"\n\n<html>input,\n", "an HTML or XML page"),
        (b"BZh91AY&SY", "packed with bzip2"),
        (b"\xfd7zXZ\x00\x00", "packed with xz"),
        (b"input,input\n", "`input` appears twice"),
        (b"input,metadata.a,metadata.a\n", "`metadata.a` appears twice"),
        (b"input,option\n", "`option` is not known; did you mean `options`"),
        (b"input,metadatas\n,", "did you mean `metadata.NAME`"),
        (b"input,metadata.\n", "is no name for metadata"),
        (b"input,metadata.ittybatch_job\n", "is reserved"),
        ("file\n".encode("utf-16-le"), "no column `input` .found: .file.."),
        (b"\x00" * 2_000_000, "bytes"),
        (b"PAR1" + b"x" * 100, "it is Parquet"),
        (b"PK\x03\x04" + b"x" * 100, "Excel workbook"),
    ],
)
def test_a_file_that_is_no_manifest_fails_as_a_whole(
    manifest: Path, content: bytes, reason: str
) -> None:
    """Before a single item is taken from it."""
    with pytest.raises(SourceError, match=reason):
        pages_of(manifest, content)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """Never an empty manifest."""
    with pytest.raises(SourceError, match="No such file"):
        pages_of(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="Is a directory"):
        pages_of(tmp_path)


def test_a_header_alone_yields_no_page(manifest: Path) -> None:
    """Nothing is nothing."""
    assert pages_of(manifest, "input\n") == []


MIXED = (
    "input,kind,options\n"
    + "".join(f's3://med/{n}.mov,video,"{{\n""width"": {n + 1}}}"\n' for n in range(5))
    + "\n,\n"
    + 's3://med/x.mov,"open\n'
    + "".join(f"s3://med/é{n}.mov,,\r\n" for n in range(5))
)


@pytest.mark.parametrize("page_size", [1, 2, 3, 100])
def test_a_stop_after_any_page_loses_and_repeats_nothing(manifest: Path, page_size: int) -> None:
    """Each page is read by a process that knows the last cursor and nothing else."""
    (whole,) = pages_of(manifest, MIXED)
    source = ManifestSource(uri=str(manifest))
    items: list[Item] = []
    rejects: list[Reject] = []
    page = next(read_pages(source, page_size=page_size), None)
    while page is not None:
        items += page.items
        rejects += page.rejects
        page = next(read_pages(source, cursor=page.cursor, page_size=page_size), None)
    assert items == whole.items
    assert [reject.line for reject in rejects] == [14]
    assert len(items) == 10


def test_a_manifest_that_changed_in_between_is_refused(manifest: Path) -> None:
    """Its lines are no longer the ones that were counted."""
    first, *_ = pages_of(manifest, MIXED, page_size=2)
    manifest.write_text(MIXED + "s3://med/late.mov\n", encoding="utf-8")
    with pytest.raises(SourceError, match="has changed since this batch began") as caught:
        pages_of(manifest, cursor=first.cursor)
    assert "Start a new batch" in str(caught.value)


def test_a_manifest_written_to_while_it_is_read_is_refused(manifest: Path) -> None:
    """Half a file is not the file."""
    manifest.write_text("input\n" + "s3://med/a.mov\n" * 200_000, encoding="utf-8")
    pages = read_pages(ManifestSource(uri=str(manifest)), page_size=1000)
    next(pages)
    with manifest.open("a", encoding="utf-8") as file:
        file.write("s3://med/b.mov\n")
    with pytest.raises(SourceError, match="was written to while it was read"):
        list(pages)


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8) | st.text(
    'a,"\n\r ', max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(notes=st.lists(CELLS, max_size=12), ends=st.sampled_from(["\n", "\r\n"]))
def test_lines_are_counted_as_an_editor_does(manifest: Path, notes: list[str], ends: str) -> None:
    """Whatever stands in the cells, each row is named by the line where it begins."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=ends)
    writer.writerow(["input", "notes"])
    expected = []
    # The csv module may leave a lone carriage return unquoted, which makes its row a reject. With
    # a usable row first, the file is not refused as a whole.
    for number, note in enumerate(["", *notes]):
        expected.append((f"s3://m-1/{number}", text.getvalue().count("\n") + 1))
        writer.writerow([f"s3://m-1/{number}", note])
    lines = {}
    for page in pages_of(manifest, text.getvalue(), page_size=3):
        lines.update({item.uri: item.line for item in page.items})
        for reject in page.rejects:
            lines.setdefault(reject.row_excerpt.split(",")[0], reject.line)
    assert [(uri, lines.get(uri)) for uri, _ in expected] == expected


def test_reading_keeps_up_with_a_million_rows(manifest: Path) -> None:
    """One core reads tens of thousands of rows a second, with room for a slow machine."""
    row = 's3://media/in/clip.mov,video,"{""width"": 640}",7\n'
    manifest.write_text("input,kind,options,metadata.id\n" + row * 30_000, encoding="utf-8")
    started_s = time.process_time()
    assert sum(len(page.items) for page in pages_of(manifest)) == 30_000
    assert 30_000 / (time.process_time() - started_s) > 30_000
