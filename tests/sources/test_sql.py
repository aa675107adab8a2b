"""Queries: columns, kinds of values, keys to go on from, and passwords that stay unseen."""

import json
import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from sqlalchemy import create_engine, make_url, text

from ittybatch.sources import Page, SourceError, SqlSource, read_pages
from ittybatch.sources import sql as source_of_sql

NAME = "LIBRARY_DATABASE_URL"
TABLE = """
CREATE TABLE assets (
    id INTEGER PRIMARY KEY, code TEXT, uri TEXT, etag TEXT, kind TEXT, options {json},
    size_bytes BIGINT, show TEXT, price NUMERIC(10, 2), taken_at {time}
)
"""
THREE = "SELECT id, 's3://media/' || id || '.mov' AS input FROM (VALUES (1), (2), (3)) AS rows (id)"
INSERT = text(
    "INSERT INTO assets VALUES (:id, :code, :uri, :etag, :kind, :options, :size, :show, 1.50, "
    "'2026-01-02 03:04:05')"
)
Fill = Callable[[list[dict[str, Any]]], None]


@pytest.fixture(params=["sqlite", "postgres"])
def fill(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Fill]:
    """A database with a table of assets, named by an environment variable; fills the table."""
    url = f"sqlite:///{tmp_path / 'library.db'}"
    kinds = {"json": "TEXT", "time": "TEXT"}
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        kinds = {"json": "JSONB", "time": "TIMESTAMPTZ"}
    # As it is written everywhere but in SQLAlchemy.
    monkeypatch.setenv(NAME, url.replace("postgresql+psycopg://", "postgres://"))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(TABLE.format(**kinds)))

    def insert(rows: list[dict[str, Any]]) -> None:
        with engine.begin() as connection:
            connection.execute(INSERT, rows)

    yield insert
    engine.dispose()


def asset(number: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any column
    row = {"id": number, "code": f"c{number % 7}", "uri": f"s3://media/{number:03}.mov"}
    rest = dict.fromkeys(("etag", "kind", "options", "size", "show"))
    return {**row, **rest, **more}


def sql(query: str, **more: Any) -> SqlSource:  # noqa: ANN401 - any field
    return SqlSource.model_validate({"database": NAME, "query": query, **more})


def keys_of(pages: list[Page]) -> list[str]:
    return [item.key for page in pages for item in page.items]


def test_columns_mean_what_a_manifests_mean(fill: Fill) -> None:
    """Whatever types the database has for them."""
    options = json.dumps({"width": 640, "format": "webp"})
    fill([asset(1, etag="e1", kind="image", options=options, size=123, show="Pilot")])
    source = sql(
        'SELECT uri AS input, etag, kind, options, size_bytes, show AS "metadata.show", price, '
        "taken_at FROM assets"
    )
    (page,) = read_pages(source)
    (item,) = page.items
    assert (item.uri, item.fingerprint, item.kind) == ("s3://media/001.mov", "e1", "image")
    assert (item.size_bytes, item.metadata, item.line) == (123, {"show": "Pilot"}, 1)
    assert item.options == {"width": 640, "format": "webp"}


def test_text_that_nobody_reads_is_left_alone(fill: Fill) -> None:
    """A column of another name may hold whatever it likes, and as much of it."""
    fill([asset(1, code="two\nlines"), asset(2, code="a" * 5000)])
    (page,) = read_pages(sql("SELECT uri AS input, code AS description FROM assets ORDER BY id"))
    assert page.rejects == []
    assert keys_of([page]) == ["001.mov", "002.mov"]


def test_values_of_any_size_are_read(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that Python or JSON has no type for; most of them nobody reads."""
    monkeypatch.setenv(NAME, postgres_url)
    odd = {
        "long": "1e30::numeric",
        "far": "'infinity'::date",
        "early": "'-infinity'::timestamp",
        "late": "'infinity'::timestamptz",
        "old": "'0044-03-15 BC'::date",
        "midnight": "'24:00'::time",
        "eternity": "'170000000 years'::interval",
        "until": "daterange('2026-01-01', 'infinity')",
        "days": "array['infinity'::date]",
        "big": f"'{{\"n\": {10**30}}}'::jsonb",
        "huge": "('[' || repeat('9', 5000) || ']')::jsonb",
        "text": "'\"abc\"'::jsonb",
    }
    unread = ", ".join(f"{value} AS {name}" for name, value in odd.items())
    # Of metadata, values of up to 2048 characters are read.
    del odd["huge"]
    read = ", ".join(f'{value} AS "metadata.{name}"' for name, value in odd.items())
    row = "SELECT 's3://media/a.mov' AS input, 1 AS id"
    (page,) = read_pages(sql(f"{row}, {unread}"))
    assert keys_of([page]) == ["a.mov"]
    (page,) = read_pages(sql(f"{row}, {read}"))
    found = page.items[0].metadata
    assert found["long"] == f"1{'0' * 30}"
    assert [found[name] for name in ("far", "early", "late")] == [
        "infinity",
        "-infinity",
        "infinity",
    ]
    assert found["old"] == "0044-03-15 BC"
    assert found["big"] == f'{{"n":{10**30}}}'
    assert found["text"] == "abc"


@pytest.mark.parametrize("kind", ["date", "timestamptz"])
def test_a_scan_goes_on_from_an_infinite_key(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It is the last key there is, or the first."""
    monkeypatch.setenv(NAME, postgres_url)
    days = ["-infinity", "2026-01-01", "infinity"]
    rows = ", ".join(f"('s3://media/{day}.mov', '{day}'::{kind})" for day in days)
    source = sql(f"SELECT * FROM (VALUES {rows}) AS v(input, day)", key="day")
    found: list[str] = []
    cursor = None
    while page := next(read_pages(source, cursor=cursor, page_size=1), None):
        found += keys_of([page])
        cursor = page.cursor
    assert found == [f"{day}.mov" for day in days]


def test_a_bad_row_stops_nothing(fill: Fill) -> None:
    """It is a reject, with the number of the row and the column."""
    fill([asset(1), asset(2, uri="ftp://media/2.mov"), asset(3, uri=None), asset(4)])
    (page,) = read_pages(sql("SELECT id, uri AS input FROM assets", key="id"))
    assert keys_of([page]) == ["001.mov", "004.mov"]
    assert [(each.line, each.field) for each in page.rejects] == [(2, "input"), (3, "input")]


@pytest.mark.parametrize("key", ["id", "input", "code"])
def test_a_stop_after_any_page_loses_and_repeats_nothing(fill: Fill, key: str) -> None:
    """Also where several rows share a key: they come in one page."""
    fill([asset(number) for number in range(60)])
    source = sql("SELECT id, code, uri AS input FROM assets -- all", key=key)
    found: list[str] = []
    cursor = None
    while page := next(read_pages(source, cursor=cursor, page_size=7), None):
        found += keys_of([page])
        cursor = page.cursor
    assert len(found) == 60
    assert len(set(found)) == 60


@pytest.mark.parametrize("kind", ["uuid", "timestamptz", "numeric", "text"])
def test_keys_of_every_common_type_can_be_gone_on_from(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """They are written into the cursor, and compared with by the database."""
    monkeypatch.setenv(NAME, postgres_url)
    values = {
        "uuid": "lpad(n::text, 32, '0')::uuid",
        "timestamptz": "timestamptz '2026-01-01 00:00:00.000001+02' + n * interval '1 us'",
        "numeric": "n / 7.0",
        "text": "'ключ ' || n",
    }
    source = sql(
        f"SELECT {values[kind]} AS k, 's3://media/' || n || '.mov' AS input "
        "FROM generate_series(1, 20) AS n",
        key="k",
    )
    found: list[str] = []
    cursor = None
    while page := next(read_pages(source, cursor=cursor, page_size=6), None):
        found += keys_of([page])
        cursor = page.cursor
    assert sorted(found) == sorted(f"{number}.mov" for number in range(1, 21))


@pytest.mark.parametrize("key", [2**63, -(2**70), 10**30])
def test_a_key_may_be_longer_than_the_integers_of_json(key: int) -> None:
    """Some databases have integers of 38 digits."""
    written = orjson.loads(orjson.dumps(source_of_sql._write_key(key)))
    assert source_of_sql._read_key(written) == key


def test_without_a_key_a_scan_begins_anew(fill: Fill) -> None:
    """Rows come twice, and none is left out; the ledger knows their jobs."""
    fill([asset(number) for number in range(10)])
    source = sql("SELECT uri AS input FROM assets")
    page = next(read_pages(source, page_size=4))
    assert len(keys_of(list(read_pages(source, cursor=page.cursor)))) == 10


def test_a_query_without_one_readable_row_is_an_error(fill: Fill) -> None:
    """Not a batch that has succeeded."""
    fill([asset(1, uri="ftp://media/1.mov"), asset(2, uri="/2.mov")])
    with pytest.raises(
        SourceError, match=r"none of its 2 rows can be read \(the first: line 1, in"
    ):
        list(read_pages(sql("SELECT id, uri AS input FROM assets", key="id")))


def test_a_row_of_nulls_is_an_empty_row(fill: Fill) -> None:
    """As in every other source."""
    fill([asset(1), asset(2, uri=None)])
    (page,) = read_pages(sql("SELECT uri AS input FROM assets ORDER BY id"))
    assert (keys_of([page]), page.rejects, page.filtered) == (["001.mov"], [], {"empty row": 1})


def test_text_of_sqlite_that_is_no_utf8_costs_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing where nobody reads it; an address is never guessed."""
    file = tmp_path / "library.db"
    monkeypatch.setenv(NAME, f"sqlite:///{file}")
    rows = ["'s3://med/a.mov', CAST(x'e9' AS TEXT)", "CAST(x'73333a2f2f6d65642fe9' AS TEXT), ''"]
    sqlite3.connect(file).close()
    (page,) = read_pages(
        sql(f"SELECT column1 AS input, column2 AS note FROM (VALUES ({rows[0]}), ({rows[1]}))")
    )
    assert keys_of([page]) == ["a.mov"]
    (reject,) = page.rejects
    assert (reject.line, reject.field) == (2, "input")
    assert "bytes that are not UTF-8" in reject.reason


def test_an_empty_result_yields_no_page(fill: Fill) -> None:
    """Nothing is nothing."""
    del fill
    assert list(read_pages(sql("SELECT uri AS input FROM assets"))) == []


def test_colons_and_percent_signs_are_just_that(fill: Fill) -> None:
    """A query has no parameters."""
    fill([asset(1, show="50% :off"), asset(2, show="other")])
    source = sql("SELECT uri AS input FROM assets WHERE show LIKE '50% :off%' AND show <> ':a'")
    assert keys_of(list(read_pages(source))) == ["001.mov"]


def test_nothing_can_be_changed(fill: Fill) -> None:
    """Not even by what hides in a query."""
    fill([asset(1)])
    hidden = "WITH gone AS (DELETE FROM assets RETURNING *) SELECT uri AS input FROM gone"
    with pytest.raises(SourceError, match="failed"):
        list(read_pages(sql(hidden)))
    assert keys_of(list(read_pages(sql("SELECT uri AS input FROM assets")))) == ["001.mov"]


def test_a_query_that_cannot_be_used_says_why(fill: Fill) -> None:
    """Of the database's own words, what helps."""
    fill([asset(1, code=None)])
    with pytest.raises(SourceError, match="no_such_table"):
        list(read_pages(sql("SELECT uri AS input FROM no_such_table")))
    with pytest.raises(SourceError, match=r"no column `input`.*SELECT uri AS input"):
        list(read_pages(sql("SELECT show FROM assets")))
    with pytest.raises(SourceError, match="key 'code' is NULL"):
        list(read_pages(sql("SELECT code, uri AS input FROM assets", key="code")))
    with pytest.raises(SourceError):
        list(read_pages(sql("SELECT uri AS input FROM assets", key="nothing")))


def test_a_password_is_never_told(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where the database refuses it, and not where the URL is none."""
    url = make_url(postgres_url).set(password="s3cr3t-pw", username="nobody")
    monkeypatch.setenv(NAME, url.render_as_string(hide_password=False))
    with pytest.raises(SourceError, match="failed") as caught:
        list(read_pages(sql("SELECT 1 AS input")))
    assert "s3cr3t-pw" not in str(caught.value)
    monkeypatch.setenv(NAME, "s3cr3t-pw")
    with pytest.raises(SourceError, match=f"The value of {NAME} is not") as caught:
        list(read_pages(sql("SELECT 1 AS input")))
    assert "s3cr3t-pw" not in str(caught.value)


def test_a_password_in_the_urls_query_is_in_no_cursor(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in an error about one; and with a new password, the scan resumes where it was."""
    source = sql(THREE, key="id")

    def use(password: str) -> None:
        url = make_url(postgres_url).update_query_dict({"sslpassword": password})
        monkeypatch.setenv(NAME, url.render_as_string(hide_password=False))

    use("s3cr3t-old")
    page = next(read_pages(source, page_size=2))
    assert page.cursor is not None
    assert "s3cr3t" not in page.cursor
    use("s3cr3t-new")
    assert keys_of(list(read_pages(source, cursor=page.cursor))) == ["3.mov"]
    with pytest.raises(SourceError, match="belongs to another source") as caught:
        list(read_pages(sql(f"{THREE} WHERE true", key="id"), cursor=page.cursor))
    assert "s3cr3t" not in str(caught.value)


def test_a_cursor_of_an_earlier_version_resumes(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names its database with the URL's whole query."""
    url = make_url(postgres_url).update_query_dict({"application_name": "library"})
    monkeypatch.setenv(NAME, url.render_as_string(hide_password=False))
    source = sql(THREE, key="id")
    page = next(read_pages(source, page_size=2))
    cursor = orjson.loads(page.cursor or "")
    cursor["uri"] = f"{url.render_as_string(hide_password=True)} {THREE}"
    earlier = orjson.dumps(cursor).decode()
    assert keys_of(list(read_pages(source, cursor=earlier))) == ["3.mov"]


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:///file:{}?uri=true"])
def test_a_file_that_is_missing_is_named_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """An empty database would only say that it has no such table."""
    file = tmp_path / "mistyped.db"
    monkeypatch.setenv(NAME, form.format(file))
    with pytest.raises(SourceError, match=r"mistyped\.db cannot be opened\. Check its path"):
        list(read_pages(sql("SELECT uri AS input FROM assets")))
    assert not file.exists()


def test_a_file_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened by a URI, in which some letters would mean something else."""
    file = tmp_path / "a b%20#1.db"
    sqlite3.connect(file).close()
    monkeypatch.setenv(NAME, f"sqlite:///{file}")
    (page,) = read_pages(sql("SELECT 's3://media/a.mov' AS input"))
    assert keys_of([page]) == ["a.mov"]


def test_a_file_is_found_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a URL with three slashes means it."""
    monkeypatch.chdir(tmp_path)
    sqlite3.connect("library.db").close()
    monkeypatch.setenv(NAME, "sqlite:///library.db?timeout=5")
    assert keys_of(list(read_pages(sql("SELECT 's3://media/a.mov' AS input")))) == ["a.mov"]


def test_a_variable_that_is_not_set_is_named() -> None:
    """With where to set it."""
    with pytest.raises(SourceError, match=r"NO_SUCH_URL is not set where the batch runs"):
        list(read_pages(sql("SELECT 1 AS input", database="NO_SUCH_URL")))


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product brings those for Postgres and SQLite."""
    monkeypatch.setenv(NAME, "oracle://user@host/db")
    with pytest.raises(SourceError, match=r"oracle database cannot be read.*Install"):
        list(read_pages(sql("SELECT 1 AS input")))


def test_a_typed_password_is_refused_and_not_repeated() -> None:
    """Parameters of a flow are kept and shown."""
    for url in ("postgresql://me:s3cr3t@h/db", "postgresql://h/db?password=s3cr3t"):
        with pytest.raises(ValidationError, match="environment variable") as caught:
            sql("SELECT 1", database=url)
        reason = caught.value.errors(include_input=False, include_url=False)[0]["msg"]
        assert "s3cr3t" not in reason
    assert sql("SELECT 1", database="sqlite:////tmp/library.db").database


@pytest.mark.parametrize(
    "fields",
    [
        {"query": "DELETE FROM assets"},
        {"query": " "},
        {"database": "not a name"},
        {"database": "://"},
        {"passwort": "x"},
    ],
)
def test_an_impossible_query_is_refused(fields: dict[str, Any]) -> None:
    """In the form, before anything runs."""
    with pytest.raises(ValidationError):
        SqlSource.model_validate({"database": NAME, "query": "SELECT 1 AS input", **fields})
