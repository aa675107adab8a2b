"""Sessions with Postgres: one lost machine delays the others by seconds; poolers work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import func, make_url, select, text, update

from ittybatch.errors import ConfigurationError
from ittybatch.ledger import Ledger, Transaction, open_ledger, sessions
from ittybatch.ledger.batches import open_batch
from ittybatch.ledger.database import LedgerUnavailable, create_ledger_engine
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.models import Chunk
from ittybatch.ledger.sessions import SessionLimits
from ittybatch.ledger.states import Verdict
from ittybatch.settings import Settings
from tests.ledger import library
from tests.ledger.pooler import pooler

SHORT = SessionLimits(idle_transaction_s=1.0, lock_s=0.5, network_s=8)


def opened(url: str, limits: SessionLimits = SHORT, patience_s: float = 20) -> Ledger:
    """A ledger whose sessions have these limits."""
    return Ledger(create_ledger_engine(url, limits), patience_s=patience_s)


@pytest.fixture
def short(postgres_url: str) -> Iterator[Ledger]:
    """A ledger on Postgres that gives sessions up soon."""
    ledger = opened(postgres_url)
    yield ledger
    ledger.close()


def setting(tx: Transaction, name: str) -> str:
    """A setting of the server, as it is in this session now."""
    return str(tx.execute(text("SELECT current_setting(:name)"), {"name": name}).scalar_one())


def add_a_retry(tx: Transaction, chunk: int) -> None:
    """Change a chunk's row, which takes its lock."""
    tx.execute(update(Chunk).where(Chunk.id == chunk).values(retried=Chunk.retried + 1))


def test_a_process_stopped_in_a_transaction_delays_webhooks_by_seconds(
    short: Ledger, postgres_url: str
) -> None:
    """Its session is ended and its locks are free; when it goes on, it begins again."""
    chunk, _ = library.submitted(short, library.job("a.mov"))
    stopped = subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.stopped", str(chunk)],
        env={
            **os.environ,
            "DATABASE_URL": postgres_url.replace("+psycopg", ""),
            "ITTYBATCH_DB_IDLE_TRANSACTION_S": "1",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "locked\n"
        stopped.send_signal(signal.SIGSTOP)
        began_s = time.monotonic()
        arrival = Arrival(b"done", library.remote("task-0"))
        assert short.write(receive, [arrival]) == [Verdict.APPLIED]
        assert time.monotonic() - began_s < 10
        stopped.send_signal(signal.SIGCONT)
        out, _ = stopped.communicate("\n\n", timeout=60)
        assert out == "locked\ncommitted\n", "it locked again, and committed"
    finally:
        stopped.kill()
        stopped.wait()
    place = library.place(short, chunk)
    assert (place.sent, place.retried) == (1001, 1000), "each half of it happened once"


def test_a_transition_whose_session_was_ended_is_made_once(short: Ledger) -> None:
    """A process that was only slow does what it wanted, and not twice."""
    chunk = library.released_chunk(short, library.planned_batch(short, library.job("a.mov")))
    waits = iter([1.5, 0])

    def slowly(tx: Transaction) -> None:
        add_a_retry(tx, chunk)
        time.sleep(next(waits))
        add_a_retry(tx, chunk)

    short.write(slowly)
    assert library.place(short, chunk).retried == 2


def test_a_lock_that_is_held_for_long_is_tried_again(short: Ledger, postgres_url: str) -> None:
    """And where it stays held, that is an unavailable ledger: a webhook is answered 503."""
    chunk = library.released_chunk(short, library.planned_batch(short, library.job("a.mov")))
    impatient = opened(postgres_url, patience_s=0.2)
    tries = []

    def count(tx: Transaction) -> None:
        tries.append(1)
        add_a_retry(tx, chunk)

    patient = opened(postgres_url, SessionLimits(idle_transaction_s=30, lock_s=0.2))
    with patient.engine.connect() as holder, holder.begin():
        add_a_retry(Transaction(holder), chunk)
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            impatient.write(count)
        assert tries
    impatient.write(count)
    assert library.place(short, chunk).retried == 2
    for ledger in (impatient, patient):
        ledger.close()


def test_every_session_has_limits_of_its_own(postgres_url: str) -> None:
    """As the settings say, on both sides of the wire."""
    values = {"DATABASE_URL": postgres_url.replace("+psycopg", ""), "db_lock_timeout_s": 3}
    ledger = open_ledger(Settings(**values, db_idle_transaction_s=7, db_network_timeout_s=12))
    expected = {
        "idle_in_transaction_session_timeout": "7s",
        "lock_timeout": "3s",
        "tcp_user_timeout": "12000",
        "tcp_keepalives_idle": "6",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
    }
    for _ in range(2):
        with ledger.engine.begin() as first, ledger.engine.begin() as second:
            for connection in (first, second):
                told = {name: setting(Transaction(connection), name) for name in expected}
                assert told == expected
    with ledger.engine.connect() as connection:
        ours = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    assert ours["tcp_user_timeout"] == "12000"
    assert ours["keepalives_idle"] == "6"
    ledger.close()


def prepared(ledger: Ledger) -> int:
    """How many statements the server has prepared for a session that repeats some."""
    with ledger.engine.connect() as connection:
        for _ in range(20):
            connection.execute(select(Chunk.id))
        count = text("SELECT count(*) FROM pg_prepared_statements")
        return int(connection.execute(count).scalar_one())


def test_behind_a_pooler_nothing_is_left_in_a_session(postgres_url: str) -> None:
    """The next transaction may run in another session, and the next client in this one."""
    direct = opened(postgres_url)
    assert prepared(direct) > 0
    direct.close()
    pooled = opened(f"{postgres_url}?pgbouncer=true")
    assert prepared(pooled) == 0
    assert pooled.read(setting, "lock_timeout") == "500ms"
    assert pooled.write(setting, "idle_in_transaction_session_timeout") == "1s"
    with pooled.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        outside = connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
    assert outside == "0"
    pooled.close()


def test_a_pooler_that_nobody_declared_is_noticed(postgres_url: str) -> None:
    """It greets with a number that is not the session's."""
    url = make_url(postgres_url)
    assert url.port is not None
    with pooler(url.port) as port:
        ledger = opened(url.set(port=port).render_as_string(hide_password=False))
        assert prepared(ledger) == 0
        assert ledger.read(setting, "lock_timeout") == "500ms"
        ledger.close()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("schema=public", "'schema' is not one of PostgreSQL's.*search_path"),
        ("connection_limit=5", "'connection_limit'.*Remove it"),
        ("pgbouncer=true&pool_timeout=10", "'pool_timeout'.*Remove it"),
        ("ssl=true", "'ssl'.*sslmode=require"),
        ("sslmode=no-verify", "sslmode is 'no-verify'.*verify-full"),
    ],
)
def test_what_an_orm_wrote_into_the_url_is_told_in_a_sentence(query: str, words: str) -> None:
    """Without the password."""
    with pytest.raises(ConfigurationError, match=words) as told:
        create_ledger_engine(f"postgresql+psycopg://u:hidden-word@127.0.0.1:9/l?{query}")
    assert "hidden-word" not in str(told.value)


def test_a_password_in_the_urls_query_is_not_told() -> None:
    """The URL of a ledger that cannot be reached is shown to everyone who asks."""
    url = "postgresql+psycopg://127.0.0.1:9/l?user=u&password=hidden-word"
    ledger = opened(url, patience_s=0)
    with pytest.raises(LedgerUnavailable, match="The ledger at postgresql") as told:
        ledger.read(setting, "lock_timeout")
    assert "hidden-word" not in str(told.value)


def test_parameters_of_postgres_itself_are_passed_on(postgres_url: str) -> None:
    """Such as the name that an administrator sees."""
    ledger = opened(f"{postgres_url}?sslmode=prefer&application_name=nightly")
    assert ledger.read(setting, "application_name") == "nightly"
    ledger.close()


@pytest.mark.parametrize("check_after_s", [0.0, 1000.0], ids=["idle", "just used"])
def test_a_connection_that_the_server_closed_meanwhile_is_replaced_unnoticed(
    short: Ledger, postgres_url: str, monkeypatch: pytest.MonkeyPatch, check_after_s: float
) -> None:
    """One that has been idle is checked before it is used; a query on one that was not is repeated.

    So a restart of the server costs no leg its work.
    """

    def backend(tx: Transaction) -> int:
        found: int = tx.execute(select(func.pg_backend_pid())).scalar_one()
        return found

    monkeypatch.setattr(sessions, "_CHECK_AFTER_S", check_after_s)
    old = short.read(backend)
    other = opened(postgres_url)
    other.write(lambda tx: tx.execute(select(func.pg_terminate_backend(old, 5000))).all())
    other.close()
    assert short.read(backend) != old


@pytest.mark.parametrize("work", ["write", "read"])
def test_after_a_failover_the_server_that_only_reads_is_left(short: Ledger, work: str) -> None:
    """The pool still has connections to the old primary, and the address leads to the new one."""

    def demote(tx: Transaction) -> None:
        tx.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))

    def plan(tx: Transaction) -> str:
        return open_batch(
            tx, flow_run_id=None, deployment_id=None, name="a", source={}, profile={}, options={}
        ).id

    short.write(demote)
    assert (short.write if work == "write" else short.read)(plan)


def test_a_server_that_only_reads_is_an_unavailable_ledger(postgres_url: str) -> None:
    """A webhook is answered 503, and a leg leaves its work to another, without a traceback."""
    only_reads = f"{postgres_url}?options=-c%20default_transaction_read_only%3Don"
    ledger = opened(only_reads, patience_s=0.2)
    with pytest.raises(LedgerUnavailable, match=r"read-only.*standby"):
        library.new_batch(ledger)
    ledger.close()
