"""Results in a SQLite file of the user's app."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.dialects import mysql

from ittybatch.sinks.base import SinkUnavailable
from ittybatch.sinks.sql_table import TargetTable
from tests.sinks.conftest import OpenSql, Run
from tests.sinks.results import accepted, errors, failed, succeeded

TABLE = """CREATE TABLE media_jobs (
    id INTEGER PRIMARY KEY, task_id TEXT UNIQUE, status TEXT CHECK (status <> 'cancelled'),
    completed_at TIMESTAMPTZ, width INT, updated DATETIME, size INT
)"""
UPSERT: dict[str, Any] = {
    "table": "media_jobs",
    "mode": "upsert",
    "key": {"task_id": "{task_id}"},
    "columns": {
        "status": "{status}",
        "completed_at": "{completed_at}",
        "updated": "{completed_at}",
        "width": "{width}",
        "size": "{size_bytes}",
    },
}


def test_rows_are_inserted_updated_and_refused_alone(sqlite_app: Run, open_sql: OpenSql) -> None:
    """As in Postgres; a type that SQLite does not know is written as text."""
    sqlite_app(TABLE)
    sink = open_sql(**UPSERT)
    assert sink.check() is None
    sink.deliver([accepted(1), accepted(2)])
    given = [
        succeeded(1),
        failed(2),
        failed(3, status="cancelled"),
        succeeded(4),
        succeeded(5, size_bytes=2**70),
    ]
    outcomes = errors(sink.deliver(given))
    assert {number for number, error in outcomes.items() if error} == {3, 5}
    assert "CHECK" in str(outcomes[3])
    rows = sqlite_app("SELECT * FROM media_jobs ORDER BY task_id")
    assert [(row["task_id"], row["status"], row["width"]) for row in rows] == [
        ("task-1", "succeeded", 1280),
        ("task-2", "failed", None),
        ("task-4", "succeeded", 1280),
    ]
    assert rows[0]["completed_at"] == "2026-11-27T11:00:04.500Z"
    assert rows[0]["updated"] == "2026-11-27 11:00:04.500000"


def test_a_missing_row_is_not_refused_at_once(sqlite_app: Run, open_sql: OpenSql) -> None:
    """It may be inserted in a moment."""
    sqlite_app(TABLE)
    sqlite_app("INSERT INTO media_jobs (task_id) VALUES ('task-1')")
    sink = open_sql(**{**UPSERT, "mode": "update"})
    assert errors(sink.deliver([succeeded(1), succeeded(2)])) == {1: None}


def test_a_locked_file_makes_the_sink_unavailable(
    sqlite_app: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app writes for longer than a delivery waits."""
    monkeypatch.setattr("ittybatch.sinks.sql_database.CONNECT_TIMEOUT_S", 0.1)
    sqlite_app(TABLE)
    sink = open_sql(**UPSERT)
    assert sink.check() is None
    sqlite_app("BEGIN IMMEDIATE")
    with pytest.raises(SinkUnavailable, match="locked"):
        sink.deliver([succeeded(1)])
    sqlite_app("ROLLBACK")
    assert errors(sink.deliver([succeeded(1)])) == {1: None}


def test_no_file_is_created(
    tmp_path: Path, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong path would look like an empty database."""
    path = tmp_path / "missing.db"
    monkeypatch.setenv("APP_DATABASE_URL", f"sqlite:///{path}")
    with pytest.raises(SinkUnavailable, match="unable to open database file"):
        open_sql(**UPSERT).deliver([succeeded(1)])
    assert not path.exists()


def test_mysqls_upsert_names_its_columns_once() -> None:
    """Its statement differs; the values are parameters there, too."""
    target = TargetTable.__new__(TargetTable)
    target.key, target.upsert, target._dialect = ("task_id",), True, "mysql"
    columns = (Column("task_id", Text), Column("status", Text), Column("width", Integer))
    target._table = Table("media_jobs", MetaData(), *columns)
    written = ["task_id", "status"]
    compiled = target.statement(written).compile(dialect=mysql.dialect(), column_keys=written)
    assert str(compiled) == (
        "INSERT INTO media_jobs (task_id, status) VALUES (%s, %s) "
        "ON DUPLICATE KEY UPDATE status = VALUES(status)"
    )


def test_two_rows_of_one_key_do_not_stand_in_for_a_missing_row(
    sqlite_app: Run, open_sql: OpenSql
) -> None:
    """The key is not unique, so each result is looked for by itself."""
    sqlite_app("CREATE TABLE media (id TEXT, status TEXT)")
    sqlite_app("INSERT INTO media VALUES ('m1', 'old'), ('m1', 'old')")
    key, columns = {"id": "{metadata.media_id}"}, {"status": "ready"}
    sink = open_sql(table="media", mode="update", key=key, columns=columns)
    assert errors(sink.deliver([succeeded(1), succeeded(2)])) == {1: None}
    assert [row["status"] for row in sqlite_app("SELECT status FROM media")] == ["ready"] * 2
