"""Values of several lines, and quotes left open: no line of a value is ever taken for a row."""

import json
import re
from pathlib import Path

import pytest

from tests.sources.manifests import items_of, pages_of, rejects_of


def test_options_may_stand_on_several_lines(manifest: Path) -> None:
    """The item's line is the first, and the next row's number is right."""
    pretty = json.dumps(json.dumps({"width": 640}, indent=2))[1:-1]
    options = pretty.replace("\\n", "\n").replace('\\"', '""')
    content = f'input,kind,options\ns3://med/a.mov,video,"{options}"\ns3://med/b.mov\n'
    first, second = items_of(manifest, content)
    assert (first.line, first.options, second.line) == (2, {"width": 640}, 5)


@pytest.mark.parametrize(
    "opened", ['s3://med/a.mov,"oops', '"s3://med/a.mov,video', 's3://med/a.mov,video,"{']
)
@pytest.mark.parametrize(
    "after",
    [
        "s3://med/b.mov,,",
        's3://med/b.mov,video,"{""width"": 640}"',
        '"s3://med/b.mov","video",""',
    ],
)
def test_a_quote_left_open_costs_its_own_row_alone(manifest: Path, opened: str, after: str) -> None:
    """The rows that it would swallow are read."""
    content = "input,kind,options\n" + f"{opened}\n" + f"{after}\n" * 1000
    assert [item.line for item in items_of(manifest, content)] == list(range(3, 1003))
    assert [reject.line for reject in rejects_of(manifest, content)] == [2]


@pytest.mark.parametrize("cells", ["{0},a,x", "{0}", "b,{0}", "Smith, John,{0},x"])
@pytest.mark.parametrize(
    "text",
    [
        '"a title\ns3://bbb/inner.mov,x,y"',
        f'"{"a" * 5000}\ns3://bbb/inner.mov,x,y"',
        '"\x07\r\ns3://bbb/inner.mov,x,y\r\n"',
    ],
)
def test_a_line_of_a_value_is_never_taken_for_a_row(manifest: Path, cells: str, text: str) -> None:
    """Somebody would pay for a job that nobody has asked for."""
    row = f"s3://med/a.mov,{cells.format(text)}"
    header = "input,metadata.a,metadata.b,notes"
    (page,) = pages_of(manifest, f"{header}\n{row}\ns3://med/b.mov,,,\n")
    assert [item.uri for item in page.items if item.line != 2] == ["s3://med/b.mov"]
    assert {item.uri for item in page.items} <= {"s3://med/a.mov", "s3://med/b.mov"}


LINES = "".join(f"s3://bbb/inner-{number}.mov,x\n" for number in range(600))


def test_a_value_may_have_as_many_lines_as_it_likes(manifest: Path) -> None:
    """Also those of a transcript in which each line looks like a row, and 3 MB of them."""
    content = f'input,notes\ns3://med/a.mov,"{LINES}"\ns3://med/b.mov,"{LINES * 150}"\n'
    (page,) = pages_of(manifest, content)
    assert page.rejects == []
    assert [item.uri for item in page.items] == ["s3://med/a.mov", "s3://med/b.mov"]
    assert page.items[1].line == 603


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        # A quote inside is not doubled.
        ('"he said "no" to\ns3://bbb/inner.mov,x\nand left"', "is not doubled"),
        ('"to be\nor "not"\ns3://bbb/inner.mov,x\nto be"', "closes in the wrong place"),
        # Nor is it anywhere closed.
        ('"first\ns3://bbb/inner.mov,x\nand so on', "on line 3 is never closed"),
        ('"first\n\ns3://bbb/inner.mov\n\ns3://bbb/inner.mov,x\nso on', "is never closed"),
        # It is closed by another one's opening.
        ('"first\ns3://bbb/inner.mov,x\nlast\ns3://bbb/inner.mov,"last', "wrong place"),
        # It is closed well, but other values of its row hold separators.
        ('a, b,"first\ns3://bbb/inner.mov,x\nlast"', "has 4 values under 2 columns"),
    ],
)
@pytest.mark.parametrize("rows_after", [0, 1, 30])
def test_nothing_inside_a_broken_value_is_a_row(
    manifest: Path, value: str, reason: str, rows_after: int
) -> None:
    """The rows after it are, and the reject names the lines that nobody has read."""
    after = [f"s3://med/{number}.mov,x" for number in range(rows_after)]
    lines = ["input,notes", "s3://med/a.mov,x", f"s3://med/b.mov,{value}", *after]
    (page,) = pages_of(manifest, "\n".join(lines) + "\n")
    assert [item.uri for item in page.items] == [
        "s3://med/a.mov",
        *[line.partition(",")[0] for line in after],
    ]
    (reject,) = page.rejects
    assert (reject.line, reject.field) == (3, "row")
    assert reason in reject.reason
    last = 3 + value.count("\n")
    assert re.search(rf"lines? (4 to )?{last} may be text", reject.reason) or last == 3


def test_rows_after_an_open_quote_need_proof_at_any_distance(manifest: Path) -> None:
    """Text ends somewhere. From there on, twenty rows in a row are rows, and bad ones rejects."""
    text = "".join(f"a line of text {n}\ns3://bbb/inner.mov,x\n" for n in range(50))
    rows = "".join(f"s3://med/{number}.mov,\n" for number in range(40))
    content = f'input,notes\ns3://med/a.mov,"{text}end of text\n{rows}ftp://h/a.mov,\n'
    (page,) = pages_of(manifest, content)
    assert [item.uri for item in page.items] == [f"s3://med/{number}.mov" for number in range(40)]
    assert [reject.field for reject in page.rejects] == ["row", "input"]
    assert "lines 3 to 102 may be text" in page.rejects[0].reason


def test_options_that_are_no_json_are_one_reject(manifest: Path) -> None:
    """Over however many lines: their quotes are closed."""
    content = 'input,kind,options\ns3://med/a.mov,video,"{\ns3://bbb/inner.mov\n"\ns3://med/b.mov\n'
    assert [item.line for item in items_of(manifest, content)] == [5]
    assert [reject.line for reject in rejects_of(manifest, content)] == [2]


def test_quotes_that_close_one_another_leave_the_lines_between_unread(manifest: Path) -> None:
    """More values than columns: it may be a broken value as well as rows with a quote too many."""
    content = (
        'input,kind\ns3://med/a.mov,"oops\ns3://med/b.mov,\ns3://med/c.mov,",video\n'
        "s3://med/d.mov,\n"
    )
    assert [item.line for item in items_of(manifest, content)] == [5]
    (reject,) = rejects_of(manifest, content)
    assert reject.line == 2
    assert "lines 3 to 4 may be text" in reject.reason
