"""No row of a user's table stops the others: triggers, views and types have errors of their own."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import InternalError, OperationalError

from ittybatch.sinks import sql as sql_sink
from ittybatch.sinks.base import SinkUnavailable
from ittybatch.sinks.sql_database import Database
from ittybatch.sinks.sql_errors import concerns_all, is_refused
from tests.sinks.conftest import OpenSql, Run
from tests.sinks.results import errors, failed, succeeded

SINK: dict[str, Any] = {
    "table": "media",
    "mode": "upsert",
    "key": {"id": "{metadata.media_id}"},
    "columns": {"status": "{status}", "url": "{output_url}"},
}


def _trigger(run: Run, when_failed: str) -> None:
    run("CREATE TABLE media (id TEXT PRIMARY KEY, status TEXT, url TEXT)")
    run(f"""CREATE FUNCTION check_media() RETURNS TRIGGER LANGUAGE plpgsql AS $$
        DECLARE found TEXT;
        BEGIN IF NEW.status = 'failed' THEN {when_failed}; END IF; RETURN NEW; END $$""")
    run("""CREATE TRIGGER check_media BEFORE INSERT ON media
        FOR EACH ROW EXECUTE FUNCTION check_media()""")


@pytest.mark.parametrize(
    "raised",
    [
        "RAISE 'no' USING ERRCODE = 'PT403'",
        "SELECT id INTO STRICT found FROM media WHERE id = 'nobody'",
        "ASSERT false",
        "RAISE 'no' USING ERRCODE = '45000'",
    ],
)
def test_a_triggers_own_error_refuses_its_row_alone(
    raised: str, run: Run, open_sql: OpenSql
) -> None:
    """Whichever state it raises."""
    _trigger(run, raised)
    outcomes = errors(open_sql(**SINK).deliver([succeeded(1), failed(2), succeeded(3)]))
    assert "Refused: " in str(outcomes.pop(2))
    assert outcomes == {1: None, 3: None}


@pytest.mark.parametrize(
    "raised", ["RAISE 'no' USING ERRCODE = 'XX123'", "PERFORM missing_function()"]
)
def test_an_unknown_error_of_one_row_holds_up_no_other(
    raised: str, run: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result waits, and is refused when it has failed often while others were written."""
    monkeypatch.setattr(sql_sink, "_MOST_FAILURES", 3)
    monkeypatch.setattr(sql_sink, "_LEAST_FAILING_S", 0)
    _trigger(run, raised)
    sink = open_sql(**SINK)
    with pytest.raises(SinkUnavailable, match=r"no|missing_function"):
        sink.deliver([failed(1)])
    for number in (2, 3):
        assert errors(sink.deliver([failed(1), succeeded(number)])) == {number: None}
    outcomes = errors(sink.deliver([failed(1), *map(succeeded, range(4, 40))]))
    assert "3 times, while others were written" in str(outcomes.pop(1))
    assert outcomes == dict.fromkeys(range(4, 40))


def test_many_rows_that_fail_first_have_their_turn_last(run: Run, open_sql: OpenSql) -> None:
    """A group does not end at the same rows each time."""
    _trigger(run, "RAISE 'no' USING ERRCODE = 'XX123'")
    sink = open_sql(**SINK)
    given = [*map(failed, range(10, 50)), *map(succeeded, range(50, 90))]
    written: set[int] = set()
    for _ in range(3):
        try:
            written |= errors(sink.deliver(given)).keys()
        except SinkUnavailable:
            continue
    assert written == set(range(50, 90))


def test_a_row_that_somebody_has_locked_holds_up_no_other(
    app_url: str, run: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of the app that never commits, for example."""
    monkeypatch.setattr("ittybatch.sinks.sql_database._POSTGRES_LIMITS", {"lock_timeout": "50ms"})
    run("CREATE TABLE media (id TEXT PRIMARY KEY, status TEXT, url TEXT)")
    run("INSERT INTO media VALUES ('m15')")
    with psycopg.connect(app_url) as other:
        other.execute("UPDATE media SET status = 'mine' WHERE id = 'm15'")
        outcomes = errors(open_sql(**SINK).deliver([*map(succeeded, range(10, 30))]))
    assert outcomes == {number: None for number in range(10, 30) if number != 15}


def test_a_locked_row_stops_the_sink_for_one_group_and_slows_no_later_one(
    app_url: str, run: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group has time for two tries that wait for the lock. The row's later results wait, too."""
    monkeypatch.setattr("ittybatch.sinks.sql_database._POSTGRES_LIMITS", {"lock_timeout": "500ms"})
    monkeypatch.setattr(sql_sink, "GROUP_S", 0.98)
    monkeypatch.setattr(sql_sink, "_MOST_FAILURES", 4)
    monkeypatch.setattr(sql_sink, "_LEAST_FAILING_S", 0)
    run("CREATE TABLE media (id TEXT PRIMARY KEY, status TEXT, url TEXT)")
    run("INSERT INTO media VALUES ('m10')")
    sink, sound = open_sql(**SINK), [*map(succeeded, range(11, 36))]
    locked = [succeeded(10), replace(failed(10), outbox_id=1000)]
    with psycopg.connect(app_url) as other:
        other.execute("UPDATE media SET status = 'mine' WHERE id = 'm10'")
        with pytest.raises(SinkUnavailable, match="lock timeout"):
            sink.deliver([*locked, *sound])
        for first in (11, 100, 200):
            sound = [*map(succeeded, range(first, first + 25))]
            outcomes = errors(sink.deliver([*locked, *sound]))
            assert outcomes == {each.outbox_id: None for each in sound}
        outcomes = errors(sink.deliver([*locked, succeeded(300)]))
        assert "4 times, while others were written" in str(outcomes[10])
        assert outcomes.keys() == {10, 300}


def test_a_short_disturbance_refuses_no_sound_row(
    run: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tries follow each other fast, so that ten of them say little."""
    monkeypatch.setattr(sql_sink, "_MOST_COUNTED", 5)
    _trigger(run, "RAISE 'no' USING ERRCODE = 'XX000'")
    sink = open_sql(**SINK)
    for number in range(2, 14):
        assert errors(sink.deliver([failed(1), succeeded(number)])) == {number: None}
    sink.deliver([*map(failed, range(20, 30)), succeeded(14)])
    assert len(sink._failures) == 5
    run("DROP TRIGGER check_media ON media")
    assert errors(sink.deliver([failed(1)])) == {1: None}


def test_a_number_that_a_type_does_not_take_is_refused_alone(run: Run, open_sql: OpenSql) -> None:
    """The driver would send an integer, and Postgres would blame the statement."""
    run("CREATE DOMAIN points AS INTEGER CHECK (VALUE < 100)")
    run(
        """CREATE TABLE media (id TEXT PRIMARY KEY, at INET, many INET[], price MONEY,
            span INT4RANGE, n points)"""
    )
    columns = {name: f"{{metadata.{name}}}" for name in ("at", "many", "price", "span", "n")}
    sink = open_sql(**{**SINK, "columns": columns})
    good = {"at": "10.0.0.7", "many": ["10.0.0.8"], "price": 5, "span": "[1,2)", "n": 7}
    wrong = [{**good, "at": 7}, {**good, "many": [7]}, {**good, "n": 700}, good]
    given = [
        succeeded(number, metadata={"media_id": f"m{number}", **values})
        for number, values in enumerate(wrong)
    ]
    outcomes = errors(sink.deliver(given))
    assert outcomes.pop(3) is None
    assert len(outcomes) == 3
    assert all(str(error).startswith("Refused: ") for error in outcomes.values())
    [row] = run("SELECT price::TEXT, n FROM media")
    assert row == {"price": "$5.00", "n": 7}


def test_a_missing_column_refuses_nothing_though_some_rows_do_without_it(
    run: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed jobs have no address to write."""
    monkeypatch.setattr(sql_sink, "_MOST_FAILURES", 1)
    run("CREATE TABLE media (id TEXT PRIMARY KEY, status TEXT, url TEXT)")
    columns = {"status": "{status}", "url": {"status": {"succeeded": "{output_url}"}}}
    sink = open_sql(**{**SINK, "columns": columns})
    assert errors(sink.deliver([failed(1)])) == {1: None}
    run("ALTER TABLE media DROP COLUMN url")
    with pytest.raises(SinkUnavailable, match="url"):
        sink.deliver([failed(2), succeeded(3)])


def test_an_error_of_sqlite_about_one_row_holds_up_no_other(
    sqlite_app: Run, open_sql: OpenSql
) -> None:
    """SQLite has one code for all of them."""
    sqlite_app("""CREATE TABLE media (id TEXT PRIMARY KEY, status TEXT,
        a TEXT GENERATED ALWAYS AS (json_extract(status, '$.a')) STORED)""")
    sink = open_sql(**{**SINK, "columns": {"status": "{metadata.json}"}})
    given = [
        succeeded(number, metadata={"media_id": f"m{number}", "json": text})
        for number, text in enumerate(['{"a": 1}', "{", "{}"], start=1)
    ]
    assert errors(sink.deliver(given)) == {1: None, 3: None}


@pytest.mark.parametrize(
    ("code", "is_row", "is_all"),
    [
        (1292, True, False),  # wrong date or time
        (1644, True, False),  # SIGNAL SQLSTATE '45000'
        (4025, True, False),  # MariaDB's CHECK
        (1205, False, False),  # a row that is locked
        (1054, False, True),  # no such column
        (1146, False, True),  # no such table
        (1142, False, True),  # no GRANT
        (2013, False, True),  # the connection is lost
        (1040, False, True),  # too many connections
    ],
)
def test_mysqls_errors_are_told_apart_by_their_number(
    code: int, is_row: bool, is_all: bool
) -> None:
    """Its drivers have no SQLSTATE, and call most of them operational."""
    error = OperationalError("INSERT", {}, Exception(code, "said by the server"))
    assert (is_refused(error), concerns_all(error)) == (is_row, is_all)


@pytest.mark.parametrize("state", ["08006", "25006", "40001", "40P01", "53300", "57P01", "57P03"])
def test_an_error_of_the_whole_server_is_not_tried_row_by_row(state: str) -> None:
    """It is read only, full, restarting, or has chosen a victim of a deadlock."""
    orig = psycopg.Error()
    orig.sqlstate = state
    error = InternalError("INSERT", {}, orig)
    assert (is_refused(error), concerns_all(error)) == (False, True)


@pytest.mark.parametrize("driver", ["pymysql", "MySQLdb"])
def test_a_session_of_mysql_has_utc_and_a_short_wait_for_locks(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TIMESTAMP columns read its time zone. The user's own command at its start runs, too."""
    said: list[str] = []
    made: dict[str, Any] = {}

    def create(url: URL, **options: Any) -> Engine:  # noqa: ANN401
        made.update(options, url=url)
        return create_engine("sqlite://")

    monkeypatch.setattr("ittybatch.sinks.sql_database.create_engine", create)
    monkeypatch.setattr(
        "ittybatch.sinks.sql_database.importlib.util.find_spec", lambda name: name == driver or None
    )
    engine = Database("app", "mysql://app@db/app?init_command=SET+sql_mode=ANSI").engine
    cursor = SimpleNamespace(execute=said.append, close=lambda: None)
    [*engine.pool.dispatch.connect][-1](SimpleNamespace(cursor=lambda: cursor), None)
    [at_start] = said
    assert at_start == "SET time_zone = '+00:00', innodb_lock_wait_timeout = 5"
    assert made["url"].query["init_command"] == "SET sql_mode=ANSI"
    assert "init_command" not in made["connect_args"]
