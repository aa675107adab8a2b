"""Values of strangers in the columns of a user's table."""

import time
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Float, Integer, Numeric

from ittybatch.sinks.sql_types import convert
from tests.sinks.conftest import OpenSql, Run
from tests.sinks.results import errors, succeeded

KEYED: dict[str, Any] = {
    "table": "media",
    "mode": "upsert",
    "key": {"id": "{metadata.media_id}"},
}


@pytest.mark.parametrize("text", ["1e1000000", "1E+41", "-1e999999", "NaN", "Infinity", "1e-9"])
def test_a_text_that_is_no_integer_is_refused_at_once(text: str) -> None:
    """Writing out a large exponent takes a minute, in which no other thread runs."""
    began = time.monotonic()
    with pytest.raises(ValueError, match="is not of the type INTEGER"):
        convert(text, Integer())
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize(("text", "number"), [("1e3", 1000), ("0", 0), ("-7.0", -7), (" 12 ", 12)])
def test_a_whole_number_is_one_however_it_is_written(text: str, number: int) -> None:
    """Metadata holds what the caller has, often text."""
    assert convert(text, Integer()) == number


@pytest.mark.parametrize("text", ["1e999999999", "-1e999999999", "1e-999999999", "0e-999999999"])
def test_a_decimal_that_no_column_can_hold_is_refused(text: str) -> None:
    """A driver that writes its exponent out, as those for MySQL do, would need gigabytes."""
    with pytest.raises(ValueError, match="is not of the type NUMERIC"):
        convert(text, Numeric(20, 2))


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999"])
def test_a_float_of_any_exponent_is_a_float(text: str) -> None:
    """Its driver writes a float, which is short."""
    assert convert(text, Float()) in {float("inf"), 0.0}


@pytest.mark.parametrize("text", ["0.00", "1e60", "1e-60", "NaN", "123.45"])
def test_a_decimal_that_a_column_can_hold_is_one(text: str) -> None:
    """The database rounds it, or refuses it as a value of this column."""
    assert str(convert(text, Numeric(20, 2))) == str(Decimal(text))


def test_a_number_of_any_size_is_written_or_refused_by_the_database(
    run: Run, open_sql: OpenSql
) -> None:
    """Neither the driver nor the server writes out its exponent."""
    run("CREATE TABLE media (id TEXT PRIMARY KEY, cost NUMERIC, seconds DOUBLE PRECISION)")
    columns = {"cost": "{metadata.n}", "seconds": "{metadata.n}"}
    numbers = ["1e1000000", "1e-1000000", "1e999999999999999999", "2.5"]
    given = [
        succeeded(place, metadata={"media_id": f"m{place}", "n": number})
        for place, number in enumerate(numbers, start=1)
    ]
    began = time.monotonic()
    outcomes = errors(open_sql(**KEYED, columns=columns).deliver(given))
    assert time.monotonic() - began < 5
    assert set(outcomes) == {1, 2, 3, 4}
    assert outcomes[1]
    assert outcomes[3]
    assert outcomes[4] is None


def test_an_array_column_gets_elements(run: Run, open_sql: OpenSql) -> None:
    """A list has its elements, any other value is the only one; each has the column's type."""
    run("CREATE TABLE media (id TEXT PRIMARY KEY, tags TEXT[], ids INT[], owners UUID[])")
    columns = {name: f"{{metadata.{name}}}" for name in ("tags", "ids", "owners")}
    owner = "0b5d5b2e-7c1f-4a57-9a53-1df1d6a3a001"
    given: list[dict[str, Any]] = [
        {"tags": ["a", "b,c"], "ids": ["1", 2], "owners": [owner]},
        {"tags": "alone", "ids": 3, "owners": owner},
        {"tags": [["a", "b"], ["c", None]], "ids": [], "owners": None},
        {"tags": ["a"], "ids": ["x"]},
    ]
    sink = open_sql(**KEYED, columns=columns)
    results = [
        succeeded(place, metadata={"media_id": f"m{place}", **each})
        for place, each in enumerate(given)
    ]
    outcomes = errors(sink.deliver(results))
    assert outcomes.pop(3) == "Not written: column ids: 'x' is not of the type INTEGER."
    assert set(outcomes.values()) == {None}
    query = "SELECT tags, ids, owners::TEXT[] AS owners FROM media ORDER BY id"
    assert [tuple(row.values()) for row in run(query)] == [
        (["a", "b,c"], [1, 2], [owner]),
        (["alone"], [3], [owner]),
        ([["a", "b"], ["c", None]], [], None),
    ]


@pytest.mark.parametrize("kind", ["JSON", "JSONB"])
def test_nothing_is_sql_null_in_a_json_column(kind: str, run: Run, open_sql: OpenSql) -> None:
    """`WHERE details IS NULL` finds the row, as in every other column."""
    run(f"CREATE TABLE media (id TEXT PRIMARY KEY, details {kind})")
    for mode in ("upsert", "update"):
        sink = open_sql(**{**KEYED, "mode": mode}, columns={"details": "{error}"})
        assert errors(sink.deliver([succeeded(1)])) == {1: None}
        assert run("SELECT details IS NULL AS empty FROM media") == [{"empty": True}]
        run("UPDATE media SET details = '{}'")


def test_nothing_is_sql_null_in_a_json_column_of_sqlite(sqlite_app: Run, open_sql: OpenSql) -> None:
    """As in Postgres."""
    sqlite_app("CREATE TABLE media (id TEXT PRIMARY KEY, details JSON)")
    sink = open_sql(**KEYED, columns={"details": "{error}"})
    assert errors(sink.deliver([succeeded(1)])) == {1: None}
    assert sqlite_app("SELECT details FROM media") == [{"details": None}]
