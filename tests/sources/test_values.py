"""Values as programs write them: what counts as nothing, and numbers of any size."""

import io
import math
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from ittybatch.sources.cells import as_cell
from tests.sources.manifests import (
    Row,
    json_lines,
    pages_of,
    parquet_file,
    separated,
    workbook,
)

TITLES = ["input", "kind", "options", "profile", "fingerprint", "size_bytes", "metadata.land"]
FORMATS = {
    "list.csv": separated(","),
    "list.tsv": separated("\t"),
    "list.jsonl": json_lines,
    "list.parquet": parquet_file,
    "list.xlsx": workbook,
}


@pytest.mark.parametrize("name", FORMATS)
def test_na_of_r_is_nothing_but_in_metadata(tmp_path: Path, name: str) -> None:
    """As a fingerprint it would keep a replaced object from ever being made again."""
    rows: list[Row] = [
        ["s3://med/a.mov", *["NA"] * 6],
        ["s3://med/b.mov", "video", "NA", None, "NA", None, "Namibia"],
    ]
    (page,) = pages_of(tmp_path / name, FORMATS[name](rows, TITLES))
    assert page.rejects == []
    one, two = page.items
    assert (one.kind, one.options, one.profile, one.fingerprint, one.size_bytes) == (None,) * 5
    assert (two.kind, two.options, two.fingerprint) == ("video", {}, None)
    assert [item.metadata["land"] for item in page.items] == ["NA", "Namibia"]


def test_na_in_small_letters_is_text(tmp_path: Path) -> None:
    """A profile for North America does not silently become the default one."""
    rows = ["s3://med/a.mov,na", " s3://med/b.mov, na "]
    (page,) = pages_of(tmp_path / "list.csv", "\n".join(["input,profile", *rows]))
    assert [item.profile for item in page.items] == ["na", "na"]


def test_a_value_of_spaces_is_no_surplus_value(tmp_path: Path) -> None:
    """Editors and exports leave them behind; a value that says something is still one too many."""
    rows = ["s3://med/a.mov,web, ", "s3://med/b.mov,, ,x", 's3://med/c.mov,"web"," \t"', ", , "]
    (page,) = pages_of(tmp_path / "list.csv", "\n".join(["input,profile", *rows]))
    assert [item.key for item in page.items] == ["a.mov", "c.mov"]
    assert [(each.line, each.reason[:12]) for each in page.rejects] == [(3, "has 4 values")]
    assert page.filtered == {"empty line": 1}


def test_a_number_may_have_any_number_of_digits() -> None:
    """An exponent is not written out: it may stand for more digits than there is memory."""
    written: dict[Decimal | float, str] = {
        Decimal(10) ** 30: "1" + "0" * 30,
        Decimal("123456789012345678901234567890.50"): "123456789012345678901234567890.50",
        Decimal("12.00"): "12",
        Decimal("-0"): "0",
        Decimal("1E+999999"): "1E+999999",
        Decimal("Infinity"): "Infinity",
        1e22: "10000000000000000000000",
        1.5: "1.5",
    }
    assert {value: as_cell(value) for value in written} == written
    assert as_cell(Decimal("sNaN")) == as_cell(Decimal("NaN")) == as_cell(math.nan) == ""


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"id": 2**70}, '{"id":1180591620717411303424}'),
        ([2**64, "é", None], '[18446744073709551616,"é",null]'),
        (["\ud83d"], '["\ud83d"]'),
        ({1: Decimal("1.5"), "at": date(2026, 1, 2)}, '{"1":"1.5","at":"2026-01-02"}'),
    ],
)
def test_json_may_hold_what_a_database_holds(value: object, written: str) -> None:
    """Also integers of more than 64 bits."""
    assert as_cell(value) == written


def test_json_that_is_nested_too_deeply_is_no_json() -> None:
    """So no options are made of it."""
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert as_cell({"width": deep}) == "(nested too deeply)"


def test_a_parquet_file_may_have_long_numbers(tmp_path: Path) -> None:
    """Ids of other systems are often decimals."""
    out = io.BytesIO()
    ids = pa.array([Decimal(f"1{'0' * 29}1"), None], pa.decimal128(38, 0))
    inputs = pa.array(["s3://med/a.mov", "s3://med/b.mov"])
    parquet.write_table(pa.table([inputs, ids], ["input", "metadata.id"]), out)
    (page,) = pages_of(tmp_path / "list.parquet", out.getvalue())
    assert [dict(item.metadata) for item in page.items] == [{"id": f"1{'0' * 29}1"}, {}]


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ('"size_bytes": [99999999999999999999999]', "size_bytes", "has parts; give a number"),
        ('"size_bytes": {"a": 1}', "size_bytes", "has parts; give a number"),
        (f'"kind": "video", "options": {"[" * 900}{"]" * 900}', "options", "are not a JSON object"),
        (f'"kind": "video", "options": {{"a": {"[" * 900}{"]" * 900}}}', "row", "nested too deep"),
    ],
)
def test_an_odd_object_costs_its_own_line_alone(
    tmp_path: Path, line: str, field: str, reason: str
) -> None:
    """The lines around it are read."""
    around = '{"input": "s3://med/a.mov", "size_bytes": 99999999999999999999999}\n'
    content = f'{around}{{"input": "s3://med/b.mov", {line}}}\n{around}'
    (page,) = pages_of(tmp_path / "list.jsonl", content)
    assert [item.line for item in page.items] == [1, 3]
    (reject,) = page.rejects
    assert (reject.line, reject.field) == (2, field)
    assert reason in reject.reason
