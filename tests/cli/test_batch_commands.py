"""The commands about batches as a user types them: output, JSON, exit status."""

import csv
import io
import json
from pathlib import Path

from sqlalchemy import update

from ittybatch.engine.options import BatchOptions
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import end_batch
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.models import Batch
from tests.cli.conftest import Run
from tests.ledger import library


def test_status_lists_batches_and_shows_one(run: Run, batch: str) -> None:
    """By its id, its beginning, or `latest`."""
    told = run("status").stdout
    assert batch in told
    assert "running" in told
    for name in (batch, batch[:12], "latest"):
        assert json.loads(run("status", name, "--json").stdout)["counts"]["jobs"] == 3
    [row] = json.loads(run("status", "--json").stdout)
    assert (row["id"], row["counts"]["succeeded"]) == (batch, 1)


def test_status_tells_how_a_batch_runs_and_what_it_waits_for(
    run: Run, batch: str, sqlite_url: str
) -> None:
    """Somebody has slowed it, and another batch has taken the room."""
    ledger = Ledger(create_ledger_engine(sqlite_url))
    stored = BatchOptions().to_store()
    ledger.write(lambda tx: tx.execute(update(Batch).values(options=stored)))
    assert "skip_" not in run("status", batch).stdout, "it is as for every batch"
    assert run("tune", batch, "--submit-per-s", "5", "--max-active-chunks", "2").returncode == 0
    ledger.write(lambda tx: tx.execute(update(Batch).values(wants_room=True)))
    told = run("status", batch, COLUMNS="200").stdout
    assert "max_active_chunks: 2, submit_per_s: 5.0" in told
    assert "ITTYBATCH_MAX_IN_FLIGHT" in told
    assert json.loads(run("status", batch, "--json").stdout)["waits_for_room"] is True

    ledger.write(hold_batch, batch, "Paused.")
    ledger.close()
    assert "ITTYBATCH_MAX_IN_FLIGHT" not in run("status", batch, COLUMNS="200").stdout


def test_an_unknown_batch_says_how_to_find_one(run: Run) -> None:
    """Exit status 3: it could not run."""
    told = run("status", "nowhere")
    assert told.returncode == 3
    assert "`ittybatch status` lists the batches" in told.stderr


def test_jobs_are_listed_with_names_as_they_are(run: Run, batch: str) -> None:
    """Brackets in a key are no markup."""
    assert "b[1].mov" in run("jobs", batch).stdout
    rows = json.loads(run("jobs", batch, "--state", "failed", "--json").stdout)
    assert [row["input"] for row in rows] == ["s3://media/b[1].mov"]


def test_failures_tell_the_reason_and_the_next_command(run: Run, batch: str) -> None:
    """The most frequent first."""
    told = run("failures", batch)
    assert "could not decode the input" in told.stdout
    assert f"ittybatch retry {batch}" in told.stdout
    found = json.loads(run("failures", batch, "--json").stdout)
    assert found["reasons"][0]["jobs"] == 1
    assert found["jobs"][0]["error"]["kind"] == "invalid_input"


def test_a_report_is_written_in_every_form(run: Run, batch: str, tmp_path: Path) -> None:
    """To standard output, or to a file."""
    assert len(json.loads(run("report", batch).stdout)["jobs"]) == 3
    rows = list(csv.DictReader(io.StringIO(run("report", batch, "--format", "csv").stdout)))
    assert [row["status"] for row in rows] == ["succeeded", "failed", "submitted"]
    told = run("report", batch, "--format", "parquet", "-o", str(tmp_path / "r.parquet"))
    assert told.returncode == 0
    assert (tmp_path / "r.parquet").read_bytes()[:4] == b"PAR1"
    only = json.loads(run("report", batch, "--only-failures").stdout)
    assert [job["status"] for job in only["jobs"]] == ["failed"]


def test_cancel_tells_what_may_still_bill(run: Run, batch: str) -> None:
    """Ittybit knows no cancel."""
    told = run("cancel", batch)
    assert told.returncode == 0
    assert "1 job at Ittybit already may still run, and be billed" in told.stdout
    again = json.loads(run("cancel", batch, "--json").stdout)
    assert (again["cancelled"], again["in_flight"]) == (0, 1)
    assert "has ended already" in run("pause", batch).stderr


def test_only_a_held_batch_is_resumed(run: Run, batch: str, sqlite_url: str) -> None:
    """And one that is held names the command."""
    told = run("resume", batch)
    assert told.returncode == 3
    assert "is not held; it is running" in told.stderr
    ledger = Ledger(create_ledger_engine(sqlite_url))
    ledger.write(hold_batch, batch, "402: no credit")
    ledger.close()
    assert "402: no credit" in run("status", batch).stdout
    assert f"`ittybatch resume {batch}` continues it." in run("pause", batch).stdout
    assert f"`ittybatch resume {batch}` continues it." in run("approve", batch).stderr


def _empty_drain(sqlite_url: str) -> str:
    """A batch that found nothing to do, and has ended."""
    ledger = Ledger(create_ledger_engine(sqlite_url))
    drained = library.planned_batch(ledger)
    ledger.write(end_batch, drained)
    ledger.close()
    return drained


def test_a_scan_that_found_nothing_is_not_the_latest(run: Run, batch: str, sqlite_url: str) -> None:
    """A queue is drained each minute: what failed before would be out of sight."""
    drained = _empty_drain(sqlite_url)
    assert "could not decode the input" in run("failures", "latest").stdout
    assert json.loads(run("status", "latest", "--json").stdout)["id"] == batch
    assert json.loads(run("status", drained, "--json").stdout)["id"] == drained
    listed = run("status").stdout
    assert batch in listed
    assert drained not in listed
    assert "1 scan found nothing to do" in listed
    assert drained in run("status", "--all").stdout
    shown = [row["id"] for row in json.loads(run("status", "--all", "--json").stdout)]
    assert shown == [drained, batch]


def test_where_no_scan_found_anything_the_newest_is_the_latest(run: Run, sqlite_url: str) -> None:
    """It is the only one there is."""
    _empty_drain(sqlite_url)
    drained = _empty_drain(sqlite_url)
    assert json.loads(run("status", "latest", "--json").stdout)["id"] == drained


def test_a_retry_of_nothing_says_so(run: Run, sqlite_url: str) -> None:
    """And starts no flow run."""
    drained = _empty_drain(sqlite_url)
    told = run("retry", drained)
    assert told.returncode == 0
    assert told.stdout == (
        f"There is nothing to retry: batch {drained} has no job that failed or expired.\n"
    )
    told = run("retry", "all", "--state", "cancelled", "--reason", "oops", "--json")
    assert json.loads(told.stdout) == {"flow_run_id": None, "url": None}
    told = run("retry", "all", "--state", "failed", "--state", "cancelled", "--reason", "oops")
    assert told.stdout == (
        "There is nothing to retry: no batch has a job that failed or was cancelled "
        "and fits the other options.\n"
    )


def test_quarantine_is_listed_and_released_only_by_name(run: Run, batch: str) -> None:
    """Releasing means paying again, so nothing is released by leaving something out."""
    [held] = json.loads(run("quarantine", "list", "--json").stdout)
    assert (held["input"], held["state"]) == ("s3://media/b[1].mov", "failed")
    assert "could not decode" in run("quarantine", "list", "--batch", batch).stdout
    assert run("quarantine", "release").returncode == 2
    elsewhere = run("quarantine", "release", "--input", "s3://elsewhere/", "--json")
    assert json.loads(elsewhere.stdout) == {"released": 0}
    assert json.loads(run("quarantine", "release", "--all", "--json").stdout) == {"released": 1}
    assert json.loads(run("quarantine", "list", "--json").stdout) == []


def test_a_paused_batch_is_held_until_it_is_resumed(run: Run, batch: str) -> None:
    """What Ittybit has already goes on."""
    assert "is held" in run("pause", batch).stdout
    assert json.loads(run("status", batch, "--json").stdout)["state"] == "held"
