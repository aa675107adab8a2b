"""A report opened in a spreadsheet runs nothing, whatever keys and errors hold."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ittybatch.engine.reports.cells import cell, harmless
from ittybatch.engine.reports.forms import ReportFormat
from ittybatch.ledger import Ledger
from tests.engine.reports import mixed_batch, written

SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  meant so
HOSTILE = st.text(st.sampled_from([*SIGNS, ";", ",", '"', "'", " ", "a", "1", "|"]), max_size=12)


def test_the_csv_report_holds_no_formula(ledger: Ledger) -> None:
    """Neither from a key nor from an error."""
    text = written(ledger, mixed_batch(ledger), ReportFormat.CSV).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3
    assert not any(value.startswith(SIGNS) for row in rows for value in row.values())
    assert rows[1]["error_message"].startswith("'=HYPERLINK")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@x", "'@x"),
        ("-1", "'-1"),
        ("\tx", "'\tx"),
        ("  =x", "  '=x"),
        ("＝x", "'＝x"),  # noqa: RUF001  meant so
        ("a;=x", "a;'=x"),
        ('a;"=x"', 'a;"\'=x"'),
        ("a\r\n=x", "a\r\n'=x"),
        ("x=1", "x=1"),
        ("a-b@c", "a-b@c"),
        ("s3://media/a;b.mov", "s3://media/a;b.mov"),
    ],
)
def test_an_apostrophe_stands_before_what_might_be_a_formula(text: str, expected: str) -> None:
    """And nothing else is changed."""
    assert harmless(text) == expected


def test_numbers_stay_numbers() -> None:
    """They are ours."""
    assert [cell(value) for value in (None, -1, 0.5, 10)] == ["", "-1", "0.5", "10"]


@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_no_cell_begins_a_formula_however_the_file_is_cut(texts: list[str]) -> None:
    """At commas as it is written, or at semicolons or tabs where a locale has it so."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow([cell(each) for each in texts])
    for separator in (",", ";", "\t"):
        for row in csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=separator):
            for each in row:
                assert not each.lstrip(' "').startswith(SIGNS[:4] + SIGNS[7:]), (separator, row)
