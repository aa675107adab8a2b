"""What a job costs the database: room, and how much of it an update writes."""

import time

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.migrate import _config, upgrade
from ittybatch.ledger.states import Verdict
from ittybatch.ledger.submission import claim_due
from tests.ledger import library

JOBS = 300
DEADLINE_S = 30


def _in_place(ledger: Ledger, table: str) -> float:
    """The share of a table's updates that left its indexes alone."""
    query = text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = :table")
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        updates, in_place = ledger.read(lambda tx: tx.execute(query, {"table": table}).one())
        if updates >= 2 * JOBS:
            return float(in_place / updates)
        time.sleep(0.1)
    raise AssertionError(f"{updates} updates of {table} were counted.")


def test_a_job_is_updated_in_place_all_its_life(postgres_url: str) -> None:
    """Planned, submitting, submitted, succeeded: no index is written for any of it."""
    ledger = Ledger(create_ledger_engine(postgres_url))
    jobs = [library.job(f"{number:03}.mov") for number in range(JOBS)]
    chunk = library.released_chunk(ledger, library.planned_batch(ledger, *jobs))
    number = 0
    while sent := ledger.write(claim_due, chunk, 50):
        library.accept(ledger, sent, f"group{number}")
        tasks = [f"group{number}-{each}" for each in range(len(sent))]
        for task in tasks:
            arrival = Arrival(task.encode(), library.remote(task))
            assert ledger.write(receive, [arrival]) == [Verdict.APPLIED]
        number += 1
    ledger.close()  # a session tells of its updates at its end
    assert _in_place(ledger, "jobs") > 0.95
    assert _in_place(ledger, "attempts") > 0.45, "only the acceptance, which has an index, is not"
    ledger.close()


def test_a_ledger_full_of_rows_is_brought_up_to_date(ledger: Ledger) -> None:
    """And back, should somebody have to."""
    chunk, _ = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    config = _config()
    before = ScriptDirectory.from_config(config).get_revision("0006").down_revision

    def downgrade(tx: Transaction) -> None:
        config.attributes["connection"] = tx.connection
        command.downgrade(config, str(before))

    ledger.write(downgrade)
    upgrade(ledger)
    done = Arrival(b"done", library.remote("task-0"))
    assert ledger.write(receive, [done]) == [Verdict.APPLIED]
    assert library.place(ledger, chunk).succeeded == 1
