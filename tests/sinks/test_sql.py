"""Results in a table of the user's own Postgres database."""

import threading
import time
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import ValidationError

from ittybatch.sinks import sql as sql_sink
from ittybatch.sinks.base import SinkUnavailable
from ittybatch.sinks.sql import SqlOptions
from tests.sinks.conftest import OpenSql, Run
from tests.sinks.results import COMPLETED, accepted, errors, failed, succeeded

UPDATE: dict[str, Any] = {
    "table": "media",
    "mode": "update",
    "key": {"id": "{metadata.media_id}"},
    "columns": {
        "status": {"status": {"succeeded": "ready", "default": "failed"}},
        "outputUrl": {"status": {"succeeded": "{output_url}"}},
    },
}
UPSERT: dict[str, Any] = {
    "table": "media_jobs",
    "mode": "upsert",
    "key": {"task_id": "{task_id}"},
    "columns": {"status": "{status}", "output_url": "{output_url}"},
}
MEDIA = """CREATE TABLE media (
    id TEXT PRIMARY KEY, status TEXT NOT NULL DEFAULT 'processing', "outputUrl" TEXT
)"""
MEDIA_JOBS = """CREATE TABLE media_jobs (
    id SERIAL PRIMARY KEY, task_id TEXT UNIQUE, status TEXT CHECK (status <> 'cancelled'),
    output_url TEXT
)"""


def media(run: Run, *ids: str) -> None:
    """The app's table with its rows."""
    run(MEDIA)
    for each in ids:
        run(f"INSERT INTO media (id) VALUES ('{each}')")


def test_a_row_is_updated_by_a_key_of_the_metadata(run: Run, open_sql: OpenSql) -> None:
    """Its camel-case columns are quoted; a case that is not listed leaves its column alone."""
    media(run, "m1", "m2", "m3")
    run("""UPDATE media SET "outputUrl" = 'https://old.test/2.mp4' WHERE id = 'm2'""")
    outcomes = open_sql(**UPDATE).deliver([succeeded(1), failed(2)])
    assert errors(outcomes) == {1: None, 2: None}
    assert run("SELECT * FROM media ORDER BY id") == [
        {"id": "m1", "status": "ready", "outputUrl": "https://cdn.test/1.mp4"},
        {"id": "m2", "status": "failed", "outputUrl": "https://old.test/2.mp4"},
        {"id": "m3", "status": "processing", "outputUrl": None},
    ]


def test_a_job_without_the_key_is_left_out(run: Run, open_sql: OpenSql) -> None:
    """Libraries at night and uploads by day share one receiver; only uploads have rows."""
    media(run, "m1")
    given = [succeeded(1, metadata={}), succeeded(2, metadata={"media_id": ""})]
    assert errors(open_sql(**UPDATE).deliver(given)) == {1: None, 2: None}
    assert run("SELECT status FROM media") == [{"status": "processing"}]


def test_conditions_choose_the_rendition_of_a_column(run: Run, open_sql: OpenSql) -> None:
    """A profile makes several outputs of one upload, and the table has one row for it."""
    media(run, "m1")
    sink = open_sql(**UPDATE, only={"rendition": ["sd", "hd"], "kind": "video"})
    thumb = succeeded(2, rendition="thumb", kind="image", metadata={"media_id": "m1"})
    assert errors(sink.deliver([succeeded(1), thumb])) == {1: None, 2: None}
    assert run('SELECT "outputUrl" FROM media') == [{"outputUrl": "https://cdn.test/1.mp4"}]


def test_an_upsert_inserts_and_then_updates(run: Run, open_sql: OpenSql) -> None:
    """The row stands when the job is accepted; what is delivered again changes nothing."""
    run(MEDIA_JOBS)
    sink = open_sql(**UPSERT)
    sink.deliver([accepted(1)])
    assert run("SELECT task_id, status FROM media_jobs") == [
        {"task_id": "task-1", "status": "processing"}
    ]
    for _ in range(2):
        assert errors(sink.deliver([accepted(1), succeeded(2, task_id="task-1")])) == {
            1: None,
            2: None,
        }
    assert run("SELECT task_id, status, output_url FROM media_jobs") == [
        {"task_id": "task-1", "status": "succeeded", "output_url": "https://cdn.test/2.mp4"}
    ]


def test_only_the_row_that_the_database_refuses_is_refused(run: Run, open_sql: OpenSql) -> None:
    """With the database's own words; all others of its group are written."""
    run(MEDIA_JOBS)
    given = [succeeded(n) for n in range(1, 101)]
    given[41] = failed(42, status="cancelled")
    given[77] = succeeded(78, output_url="with a \0 in it")
    outcomes = errors(open_sql(**UPSERT).deliver(given))
    assert {number for number, error in outcomes.items() if error} == {42, 78}
    assert "media_jobs_status_check" in str(outcomes[42])
    assert "NUL" in str(outcomes[78])
    assert run("SELECT count(*) FROM media_jobs") == [{"count": 98}]


def test_a_refused_row_of_a_slow_table_does_not_stop_the_others(
    run: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing the whole group takes longer than a delivery may, and is undone at its last row."""
    monkeypatch.setattr(sql_sink, "GROUP_S", 0.1)
    media(run, *(f"m{number}" for number in range(10, 50)))
    run("""ALTER TABLE media ADD CONSTRAINT no_failure
        CHECK (pg_sleep(0.005) IS NOT NULL AND status <> 'failed')""")
    sink, outcomes = open_sql(**UPDATE), dict[int, str | None]()
    for _ in range(60):
        given = [*map(succeeded, range(10, 49)), failed(49)]
        outcomes |= errors(sink.deliver([each for each in given if each.job_id not in outcomes]))
    assert "no_failure" in str(outcomes.pop(49))
    assert outcomes == dict.fromkeys(range(10, 49))


def test_a_constraint_that_commit_checks_refuses_its_row_alone(run: Run, open_sql: OpenSql) -> None:
    """A savepoint would not notice it."""
    run("CREATE TABLE owners (id TEXT PRIMARY KEY)")
    run("INSERT INTO owners VALUES ('m1')")
    run("""CREATE TABLE media_jobs (task_id TEXT PRIMARY KEY, owner TEXT
        REFERENCES owners DEFERRABLE INITIALLY DEFERRED)""")
    sink = open_sql(**{**UPSERT, "columns": {"owner": "{metadata.media_id}"}})
    outcomes = errors(sink.deliver([succeeded(1), succeeded(2)]))
    assert outcomes[1] is None
    assert "media_jobs_owner_fkey" in str(outcomes[2])
    assert run("SELECT task_id FROM media_jobs") == [{"task_id": "task-1"}]


def test_values_become_what_the_columns_hold(run: Run, open_sql: OpenSql) -> None:
    """Times stay times, numbers numbers, and nothing is NULL."""
    run("""CREATE TABLE media_jobs (
        id UUID PRIMARY KEY, done TIMESTAMPTZ, done_utc TIMESTAMP, day DATE, done_ms BIGINT,
        done_text TEXT, width INT, seconds DOUBLE PRECISION, cost NUMERIC(6, 2), details JSONB,
        title VARCHAR(20), hd BOOLEAN, nothing TEXT)""")
    sink = open_sql(
        table="media_jobs",
        mode="upsert",
        key={"id": "{metadata.id}"},
        columns={
            "done": "{completed_at}",
            "done_utc": "{completed_at}",
            "day": "{completed_at}",
            "done_ms": "{completed_at_ms}",
            "done_text": "{completed_at_iso}",
            "width": "{width}",
            "seconds": "{duration_s}",
            "cost": 1.25,
            "details": "{metadata}",
            "title": "{rendition}-{width}",
            "nothing": "{error}",
            "hd": {"rendition": {"hd": True, "default": False}},
        },
    )
    identifier = "0b5d5b2e-7c1f-4a57-9a53-1df1d6a3a001"
    result = succeeded(metadata={"id": identifier, "tags": ["a", 1]})
    assert errors(sink.deliver([result])) == {1: None}
    [row] = run("SELECT * FROM media_jobs")
    assert row["id"] == UUID(identifier)
    assert (row["done"], row["done_utc"]) == (COMPLETED, COMPLETED.replace(tzinfo=None))
    assert (row["day"], row["done_ms"]) == (COMPLETED.date(), 1_795_777_204_500)
    assert row["done_text"] == "2026-11-27T11:00:04.500Z"
    assert (row["width"], row["seconds"], str(row["cost"])) == (1280, 124.5, "1.25")
    assert row["details"] == {"id": identifier, "tags": ["a", 1]}
    assert (row["title"], row["hd"], row["nothing"]) == ("sd-1280", False, None)


def test_a_value_that_is_not_of_the_columns_type_refuses_its_row(
    run: Run, open_sql: OpenSql
) -> None:
    """The message names the column."""
    run("CREATE TABLE jobs (id UUID PRIMARY KEY, status TEXT)")
    sink = open_sql(**{**UPDATE, "table": "jobs", "columns": {"status": "{status}"}})
    [error] = errors(sink.deliver([succeeded(metadata={"media_id": "42"})])).values()
    assert error == "Not written: column id: '42' is not of the type UUID."


def test_a_row_that_is_not_there_yet_is_waited_for(
    run: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app's transaction may commit after the webhook; but not minutes later."""
    media(run, "m1")
    sink = open_sql(**UPDATE)
    assert errors(sink.deliver([succeeded(1), succeeded(2)])) == {1: None}
    run("INSERT INTO media (id) VALUES ('m2')")
    assert errors(sink.deliver([succeeded(2), succeeded(3)])) == {2: None}
    monkeypatch.setattr(sql_sink, "_MISSING_ROW_S", 0.0)
    [error] = errors(sink.deliver([succeeded(3)])).values()
    assert error == "No row with id=m3 in media after 0 s."


@pytest.mark.parametrize("table", ["media", "seen"])
def test_two_rows_of_one_key_do_not_stand_in_for_a_missing_row(
    run: Run, open_sql: OpenSql, table: str
) -> None:
    """In a table or a view whose key is not unique, each result is looked for by itself."""
    run("CREATE TABLE media (id TEXT, status TEXT)")
    run("INSERT INTO media VALUES ('m1', 'old'), ('m1', 'old')")
    run("CREATE VIEW seen AS SELECT * FROM media")
    sink = open_sql(**{**UPDATE, "table": table, "columns": {"status": "ready"}})
    assert errors(sink.deliver([succeeded(1), succeeded(2)])) == {1: None}
    run("INSERT INTO media VALUES ('m2', 'old')")
    assert errors(sink.deliver([succeeded(2)])) == {2: None}
    assert [row["status"] for row in run("SELECT status FROM media")] == ["ready"] * 3


def test_a_statement_that_waits_for_a_lock_gives_up(
    app_url: str, run: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sink is unavailable, and nothing is refused."""
    media(run, "m1")
    monkeypatch.setattr("ittybatch.sinks.sql_database._POSTGRES_LIMITS", {"lock_timeout": "100ms"})
    with psycopg.connect(app_url) as other:
        other.execute("LOCK TABLE media")
        with pytest.raises(SinkUnavailable, match="lock timeout"):
            open_sql(**UPDATE).deliver([succeeded(1)])


def test_the_sink_works_again_after_the_server_ended_its_session(
    run: Run, open_sql: OpenSql
) -> None:
    """A restarted database is not noticed, or makes one delivery unavailable."""
    media(run, "m1")
    sink = open_sql(**UPDATE)
    sink.deliver([failed(1)])
    run("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND datname = current_database()""")
    assert errors(sink.deliver([succeeded(1)])) == {1: None}
    assert run("SELECT status FROM media") == [{"status": "ready"}]


def test_two_sinks_on_the_same_rows_do_not_block_each_other(run: Run, open_sql: OpenSql) -> None:
    """They lock the rows in the same order."""
    media(run, *(f"m{n}" for n in range(200)))
    given = [succeeded(n) for n in range(200)]
    found: list[dict[int, str | None]] = []

    def deliver(results: list[Any]) -> None:
        sink = open_sql(**UPDATE)
        found.extend(errors(sink.deliver(results)) for _ in range(5))

    threads = [
        threading.Thread(target=deliver, args=(each,)) for each in (given, list(reversed(given)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 10
    assert all(not any(each.values()) for each in found)


def test_an_unreachable_database_makes_the_sink_unavailable(
    open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message has the password."""
    monkeypatch.setenv("APP_DATABASE_URL", "postgresql://app:hunter22@127.0.0.1:1/app")
    sink = open_sql(**UPDATE)
    with pytest.raises(SinkUnavailable, match=r"127\.0\.0\.1") as caught:
        sink.deliver([succeeded()])
    assert "hunter22" not in str(caught.value)
    assert "hunter22" not in str(sink.check())


def test_a_missing_table_is_no_reason_to_refuse_results(run: Run, open_sql: OpenSql) -> None:
    """They wait until the migration has run."""
    sink = open_sql(**UPDATE)
    with pytest.raises(SinkUnavailable, match="no table media"):
        sink.deliver([succeeded()])
    assert "no table media" in str(sink.check())
    media(run, "m1")
    assert sink.check() is None
    assert errors(sink.deliver([succeeded()])) == {1: None}


def test_a_column_that_is_dropped_is_no_reason_to_refuse_results(
    run: Run, open_sql: OpenSql
) -> None:
    """And it is found again once it is back."""
    media(run, "m1")
    sink = open_sql(**UPDATE)
    sink.deliver([failed(1)])
    run('ALTER TABLE media DROP COLUMN "outputUrl"')
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match="outputUrl"):
            sink.deliver([succeeded(1)])
    run('ALTER TABLE media ADD COLUMN "outputUrl" TEXT')
    assert errors(sink.deliver([succeeded(1)])) == {1: None}


def test_an_upsert_needs_a_unique_key(run: Run, open_sql: OpenSql) -> None:
    """Or each delivery would insert one more row."""
    run("CREATE TABLE media_jobs (task_id TEXT, status TEXT, output_url TEXT)")
    sink = open_sql(**UPSERT)
    assert "unique index on (task_id)" in str(sink.check())
    run("CREATE UNIQUE INDEX ON media_jobs (task_id) WHERE status = 'failed'")
    assert "unique index on (task_id)" in str(sink.check())
    run("CREATE UNIQUE INDEX ON media_jobs (task_id)")
    assert sink.check() is None


def test_the_ledgers_own_table_is_never_written_to(
    open_sql: OpenSql, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called `jobs`, as the table of a guide is."""
    monkeypatch.setenv("APP_DATABASE_URL", postgres_url)
    sink = open_sql(**{**UPDATE, "table": "jobs", "columns": {"state": "failed"}})
    assert "ittybatch's own ledger" in str(sink.check())
    with pytest.raises(SinkUnavailable, match="own ledger"):
        sink.deliver([succeeded()])


def test_the_parameters_of_prismas_url_are_understood(
    app_url: str, run: Run, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the URL that the app has."""
    run("CREATE SCHEMA app")
    run(MEDIA.replace("media", "app.media"))
    run("INSERT INTO app.media (id) VALUES ('m1')")
    separator = "&" if "?" in app_url else "?"
    parameters = "schema=app&pgbouncer=true&connection_limit=1"
    monkeypatch.setenv("APP_DATABASE_URL", f"{app_url}{separator}{parameters}")
    assert errors(open_sql(**UPDATE).deliver([succeeded(1)])) == {1: None}
    assert run("SELECT status FROM app.media") == [{"status": "ready"}]


def test_a_variable_that_is_not_set_is_named(
    open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed when the sink is used: commands do without it."""
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    sink = open_sql(**UPDATE)
    assert "APP_DATABASE_URL" in str(sink.check())
    with pytest.raises(SinkUnavailable, match="APP_DATABASE_URL"):
        sink.deliver([succeeded()])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://app@127.0.0.1/app", "pip install pymysql"),
        ("mssql://app@127.0.0.1/app", "Postgres, SQLite and MySQL"),
        ("not a url", "postgresql://user:password@host"),
        ("sqlite:////nowhere/app.db", "unable to open database file"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_can(
    url: str, message: str, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that is not installed is named with its package."""
    monkeypatch.setenv("APP_DATABASE_URL", url)
    assert message in str(open_sql(**UPDATE).check())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "postgresql://app:hunter22@db/app"}, "holds a password"),
        ({"key": {"id": "{metdata.id}"}}, "column id: {metdata.id} is not a field"),
        ({"columns": {"status": "{state}"}}, "did you mean {status}?"),
        ({"columns": {"status": {"status": {}}}}, "column status: it is neither a constant"),
        ({"columns": {"status": ["a"]}}, "column status: it is neither a constant"),
        ({"columns": {"id": "{job_id}"}}, "the column id is in `key` and in `columns`"),
        ({"columns": {}}, "names no column to update"),
        ({"only": {"rendtion": "sd"}}, "did you mean {rendition}?"),
        ({"name": "My sink"}, "name"),
        ({"key": {}}, "key"),
        ({"colums": {}}, "colums"),
    ],
)
def test_what_cannot_work_is_refused_when_the_file_is_read(
    change: dict[str, Any], message: str
) -> None:
    """With the column, and without the password."""
    options = {"name": "app", "kind": "sql", "url": "${APP_DATABASE_URL}", **UPDATE, **change}
    with pytest.raises(ValidationError) as caught:
        SqlOptions.model_validate(options)
    assert message in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_thousands_of_results_are_written_each_second(run: Run, open_sql: OpenSql) -> None:
    """So that a sink that was down for hours catches up."""
    run(MEDIA_JOBS)
    sink = open_sql(**UPSERT)
    given = [[succeeded(n + 500 * page) for n in range(500)] for page in range(6)]
    began = time.monotonic()
    for page in given:
        sink.deliver(page)
    assert len(given) * 500 / (time.monotonic() - began) > 1000
    assert run("SELECT count(*) FROM media_jobs") == [{"count": 3000}]
