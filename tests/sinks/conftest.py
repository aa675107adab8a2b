"""Databases and an address of a user's own."""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from ittybatch.sinks.http import HttpOptions, HttpSink
from ittybatch.sinks.sql import SqlOptions, SqlSink
from ittybatch_local.postgres import PostgresCluster
from tests.sinks.server import Address, serving

Rows: TypeAlias = list[dict[str, Any]]
Run: TypeAlias = Callable[[str], Rows]
OpenSql: TypeAlias = Callable[..., SqlSink]
OpenHttp: TypeAlias = Callable[..., HttpSink]
SECRET = "a-secret-of-the-app"


@pytest.fixture
def app_url(postgres: PostgresCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of the app's own Postgres database, which `APP_DATABASE_URL` holds."""
    name = f"app_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = postgres.url(name)
    for variable in ("APP_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL"):
        monkeypatch.setenv(variable, url)
    yield url
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def run(app_url: str) -> Iterator[Run]:
    """Runs statements of the app in its database."""
    with psycopg.connect(app_url, autocommit=True, row_factory=dict_row) as connection:

        def execute(statement: str) -> Rows:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        yield execute


@pytest.fixture
def sqlite_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs statements of an app that has a SQLite file."""
    path = tmp_path / "app.db"
    monkeypatch.setenv("APP_DATABASE_URL", f"sqlite:///{path}")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    yield lambda statement: [dict(row) for row in connection.execute(statement)]
    connection.close()


@pytest.fixture
def open_sql() -> Iterator[OpenSql]:
    """Opens sinks on `APP_DATABASE_URL`, and closes them."""
    opened: list[SqlSink] = []

    def open_sink(**options: Any) -> SqlSink:  # noqa: ANN401
        values = {"name": "app", "kind": "sql", "url": "${APP_DATABASE_URL}", **options}
        opened.append(SqlOptions.model_validate(values).open())
        return opened[-1]

    yield open_sink
    for sink in opened:
        sink.close()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    """The app's address."""
    monkeypatch.setenv("RESULTS_SECRET", SECRET)
    with serving() as served:
        monkeypatch.setenv("RESULTS_URL", served.url)
        yield served


@pytest.fixture
def open_http() -> Iterator[OpenHttp]:
    """Opens sinks, and closes them."""
    opened: list[HttpSink] = []

    def open_sink(url: str = "${RESULTS_URL}", **options: Any) -> HttpSink:  # noqa: ANN401
        values = {"name": "app", "kind": "http", "secret": "${RESULTS_SECRET}", "url": url}
        opened.append(HttpOptions.model_validate({**values, **options}).open())
        return opened[-1]

    yield open_sink
    for sink in opened:
        sink.close()
