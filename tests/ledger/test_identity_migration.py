"""A ledger that took ETags in another form: its claims stay, and nothing is paid for again.

`data/before_identity.json` is a ledger as the version before wrote it, over four nights of a
store that writes `&#34;` around ETags. The quick listing took that for a part of the ETag; boto3,
which read the second and the fourth night after a 503, did not, and found everything new.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from alembic import command
from psycopg import sql
from sqlalchemy import DateTime, LargeBinary, MetaData, select, text

from ittybatch.engine.planning import plan_batch
from ittybatch.ledger import Ledger, Transaction, migrate
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.identity import idempotency_key
from ittybatch.ledger.models import Chunk, Item, Job
from ittybatch.ledger.submission import claim_due, unanswered
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles.job import item_key
from ittybatch.sources import BucketSource
from tests.conftest import PSYCOPG
from tests.ledger import library
from tests.sources.store import Answered, Asked, entry, listing, serving

if TYPE_CHECKING:
    from ittybatch_local.postgres import PostgresCluster

DATA = Path(__file__).parent / "data" / "before_identity.json"
WAS = json.loads(DATA.read_text("utf-8"))
KEYS = "abcdefgh"


def _restore(transaction: Transaction) -> None:
    config = migrate._config()
    config.attributes["connection"] = transaction.connection
    command.upgrade(config, "0001")
    tables = MetaData()
    tables.reflect(transaction.connection)
    for name, rows in WAS.items():
        table = tables.tables[name]
        for row in rows:
            given = {}
            for column, value in row.items():
                kind = table.c[column].type
                if value is not None and isinstance(kind, DateTime):
                    moment = datetime.fromisoformat(value)
                    value = moment if transaction.postgres else moment.replace(tzinfo=None)  # noqa: PLW2901
                assert not isinstance(kind, LargeBinary)
                given[column] = value
            transaction.connection.execute(table.insert().values(given))
    if transaction.postgres:
        for name in ("jobs", "chunks"):
            top = f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))"
            transaction.connection.execute(text(top))


@pytest.fixture(params=["sqlite", "postgres"])
def before(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """The ledger as the version before wrote it, on each database in turn."""
    if request.param == "sqlite":
        ledger = Ledger(create_ledger_engine(f"sqlite:///{tmp_path}/before.db"))
        ledger.write(_restore)
        yield ledger
        ledger.close()
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres")
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE before_identity"))
        ledger = Ledger(create_ledger_engine(cluster.url("before_identity", scheme=PSYCOPG)))
        ledger.write(_restore)
        yield ledger
        ledger.close()
        admin.execute(sql.SQL("DROP DATABASE before_identity WITH (FORCE)"))


class Row(NamedTuple):
    """A job, with what it is of."""

    letter: str
    batch: str
    state: str
    claim: bool | None
    key: str
    uri: str
    fingerprint: str | None


def jobs_of(ledger: Ledger) -> list[Row]:
    statement: Any = (
        select(Item.uri, Chunk.batch_id, Job.state, Job.claim, Job.job_key, Item.fingerprint)
        .join(Item, (Item.chunk_id == Job.chunk_id) & (Item.number == Job.item_number))
        .join(Chunk, Chunk.id == Job.chunk_id)
        .where(Job.rendition == "sd")
        .order_by(Job.id)
    )
    with ledger.engine.connect() as connection:
        rows = connection.execute(statement).all()
    return [
        Row(r.uri[-5], r.batch_id, r.state, r.claim, r.job_key, r.uri, r.fingerprint) for r in rows
    ]


def test_every_item_has_the_identity_that_every_reader_gives_it(before: Ledger) -> None:
    """And every job the key that a new one of it would get."""
    assert sum("&#34;" in str(row.fingerprint) for row in jobs_of(before)) == 8
    migrate.upgrade(before)
    for row in jobs_of(before):
        assert row.fingerprint == f"{KEYS.index(row.letter) + 1:032x}"
        assert row.key.startswith(item_key(SourceItem(row.uri, row.fingerprint)))


def test_of_jobs_that_are_one_the_claim_stays_with_what_is_paid_for(before: Ledger) -> None:
    """One claim a job; what was not sent beside it is cancelled, and counted so."""
    migrate.upgrade(before)
    rows = jobs_of(before)
    claims = {
        letter: [row.state for row in rows if row.letter == letter and row.claim] for letter in KEYS
    }
    assert claims == {
        "a": ["succeeded"],
        "b": ["succeeded"],
        "c": ["failed"],
        "d": ["submitted"],
        "e": ["submitted"],
        "f": ["submitting"],
        "g": ["planned"],
        "h": ["succeeded"],
    }
    states = {letter: [row.state for row in rows if row.letter == letter] for letter in "eg"}
    assert states == {"e": ["submitted", "cancelled"], "g": ["cancelled", "planned"]}
    for batch in {row.batch for row in rows}:
        assert before.write(recount, batch) == []


def _plainly(body: bytes, _: Asked) -> Answered:
    return Answered(body)


def _only_boto3(body: bytes, asked: Asked) -> Answered:
    return Answered(b"", 503) if asked.quickly else Answered(body)


def test_the_same_source_planned_again_submits_nothing(
    before: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On whichever way the listing is read."""
    migrate.upgrade(before)
    source = BucketSource(uri="s3://media/in/")
    body = listing(
        *(entry(f"in/{letter}.mov", f"&#34;{n:032x}&#34;") for n, letter in enumerate(KEYS, 1))
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    profile = WAS["batches"][0]["profile"]
    with serving(lambda _: Answered(body)) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
        for answer in (_plainly, _only_boto3):
            store.answer = partial(answer, body)
            opened = library.new_batch(
                before, source=source.model_dump(mode="json"), profile=profile
            )
            batch = plan_batch(before, opened, source, tmp_path, chunk_size=100).id
            counts: dict[str, Any] = dict(before.read(read_batch, batch).counts)
            assert counts["found"] == len(KEYS)
            assert counts.get("jobs", 0) == 0
            assert counts["already_done"] == 3 * 2
            assert counts["held_back"] == 2
            assert counts["in_flight_elsewhere"] == 4 * 2


def test_what_may_have_been_sent_goes_again_under_the_key_that_it_was_sent_under(
    before: Ledger,
) -> None:
    """Ittybit knows a job by that key, and would make another one under another."""
    sent = {row["idempotency_key"] for row in WAS["attempts"] if row["state"] == "sending"}
    migrate.upgrade(before)
    chunk = next(row["chunk_id"] for row in WAS["jobs"] if row["state"] == "submitting")
    again = before.read(unanswered, chunk)
    assert {each.idempotency_key for each in again} == sent
    assert {each.input for each in again} == {"s3://media/in/f.mov"}


def test_a_later_attempt_has_a_key_of_its_own(before: Ledger) -> None:
    """Its number counts on from every attempt under either form of the job's key."""
    migrate.upgrade(before)
    batch = next(row.batch for row in jobs_of(before) if row.letter == "g" and row.claim)
    [chunk] = {row["id"] for row in WAS["chunks"] if row["batch_id"] == batch}
    assert library.released_chunk(before, batch) == chunk
    claimed = before.write(claim_due, chunk, 10)
    assert {(each.input, each.attempt) for each in claimed} == {("s3://media/in/g.mov", 2)}
    assert all(each.idempotency_key == idempotency_key(each.job_key, 2) for each in claimed)
