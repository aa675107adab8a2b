"""The commands as a user types them: output, JSON, exit status."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import end_batch
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.models import Batch, Delivery
from ittybatch.ledger.settlement import settle
from tests.ledger import library

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, sqlite_url: str) -> Run:
    """Runs a command against an empty ledger, with no settings but its own."""
    home = tmp_path / "home"

    def call(
        *arguments: str, stdout: int = subprocess.PIPE, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ittybatch", *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "ITTYBATCH_HOME": str(home),
                "DATABASE_URL": sqlite_url,
                **environment,
            },
            cwd=tmp_path,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    return call


@pytest.fixture
def batch(sqlite_url: str) -> str:
    """A batch of three jobs: one succeeded, one failed, one at Ittybit."""
    ledger = Ledger(create_ledger_engine(sqlite_url))
    chunk, _ = library.submitted(ledger, *map(library.job, ("a.mov", "b[1].mov", "c.mov")))
    bad = library.failed("task-1", "invalid_input", "could not decode the input")
    ledger.write(settle, [library.remote("task-0"), bad])
    found = library.place(ledger, chunk).batch_id
    ledger.close()
    return found


def test_help_names_every_command_and_exit_status(run: Run) -> None:
    """Without importing what the commands need."""
    told = run("--help")
    assert told.returncode == 0
    commands = "plan run retry resume cancel status jobs failures report up demo receiver sandbox"
    for name in [*commands.split(), "deploy", "reconcile", "doctor", "db"]:
        assert f" {name} " in told.stdout
    assert "0 all succeeded, 1 some failed, 2 usage, 3" in told.stdout


@pytest.mark.parametrize(
    "arguments", [("no-such-command",), ("run",), ("status", "--no-such-option"), ("jobs",)]
)
def test_a_mistyped_command_is_a_usage_error(run: Run, arguments: tuple[str, ...]) -> None:
    """Exit status 2, and the mistake on standard error."""
    told = run(*arguments)
    assert told.returncode == 2
    assert told.stderr.strip()
    assert "Traceback" not in told.stderr


def test_a_usage_error_is_told_in_full(run: Run) -> None:
    """However narrow the screen: what does not fit goes to the next line."""
    told = run("retry", "latest", "--state", "lost", COLUMNS="50").stderr
    assert all(f'"{state}"' in told for state in ("failed", "expired", "cancelled"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PORT", "abc"), ("ITTYBATCH_KIND_COSTS", "abc"), ("DATABASE_URL", "mysql://x:s3cr3t@h/y")],
)
def test_a_setting_that_cannot_be_used_is_named(run: Run, variable: str, value: str) -> None:
    """In one line, by its variable; what it holds may be a secret."""
    told = run("status", **{variable: value})
    assert told.returncode == 3
    assert told.stderr.startswith(f"error: {variable} cannot be used")
    assert told.stderr.count("\n") == 1
    assert "s3cr3t" not in told.stderr
    assert run("status", "--help", **{variable: value}).returncode == 0


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
    assert run("tune", batch, "--submit-per-s", "5", "--max-active-chunks", "2").returncode == 0
    ledger.write(lambda tx: tx.execute(update(Batch).values(wants_room=True)))
    told = run("status", batch, COLUMNS="200").stdout
    assert "max_active_chunks: 2, submit_per_s: 5.0" in told
    assert "ITTYBATCH_MAX_IN_FLIGHT" in told
    assert json.loads(run("status", batch, "--json").stdout)["waits_for_room"] is True

    ledger.write(hold_batch, batch, "Paused.")
    ledger.close()
    assert "ITTYBATCH_MAX_IN_FLIGHT" not in run("status", batch, COLUMNS="200").stdout


@pytest.mark.parametrize("limit", ["-1", "99999999999999999999"])
@pytest.mark.parametrize("command", ["status", "jobs", "failures", "quarantine list"])
def test_a_limit_that_is_none_is_refused(run: Run, batch: str, command: str, limit: str) -> None:
    """Neither the database nor Python can count so."""
    of_one = [batch] if command in {"jobs", "failures"} else []
    told = run(*command.split(), *of_one, "--limit", limit)
    assert told.returncode == 3
    assert told.stderr.startswith(f"error: --limit: {limit} ")


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


@pytest.mark.parametrize("output", ["", ".", "/"])
def test_a_report_needs_the_name_of_a_file(run: Run, batch: str, output: str) -> None:
    """An empty variable in a script is no name."""
    told = run("report", batch, "-o", output)
    assert told.returncode == 3
    assert "names no file" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("form", ["csv", "json", "html"])
def test_a_report_that_nobody_reads_on_ends_quietly(run: Run, batch: str, form: str) -> None:
    """As under `head`, which goes when it has seen enough."""
    unread, written = os.pipe()
    os.close(unread)
    told = run("report", batch, "--format", form, stdout=written)
    os.close(written)
    assert told.returncode == 141
    assert "Traceback" not in told.stderr
    assert "BrokenPipe" not in told.stderr


def test_plan_reads_a_manifest_and_submits_nothing(run: Run, tmp_path: Path) -> None:
    """Counts, a sample, and what is wrong with bad rows."""
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("input\ns3://media/a.mov\n\nftp://media/b.mov\ns3://media/c.wav\n")
    told = run("plan", str(manifest), "--profile", "web", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["counts"]["jobs"] == 5
    assert found["rejects"][0]["line"] == 4
    assert "jobs to submit" in run("plan", str(manifest)).stdout
    assert json.loads(run("status", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "nonsense"), "it is not an s3:// prefix"),
        (("plan", "s3://media/", "--profile", "no-such"), "no-such"),
        (("plan", "missing.csv"), "missing.csv"),
        (("plan", "list.csv", "--suffix", ".mov"), "--suffix"),
        (("run", "s3://media/", "--chunk-size", "0"), "--chunk-size"),
        (("plan", "s3://media/", "--save", "--name", "x" * 400), "--name"),
        (("plan", "s3://media/", "--modified-since", "99999999d"), "--modified-since"),
        (("retry", "all", "--ended-since", "99999999999d"), "--ended-since"),
        (("tune", "latest", "--max-active-chunks", "0"), "--max-active-chunks"),
        (("tune", "latest", "--submit-per-s", "-1"), "--submit-per-s"),
        (("tune", "latest", "--submit-per-s", "inf"), "--submit-per-s"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    """In one line, with exit status 3 and no traceback."""
    told = run(*arguments, AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
    assert told.returncode == 3, told.stderr
    assert said in told.stderr
    assert "Traceback" not in told.stderr


def test_cancel_tells_what_may_still_bill(run: Run, batch: str) -> None:
    """Ittybit knows no cancel."""
    told = run("cancel", batch)
    assert told.returncode == 0
    assert "1 are at Ittybit already: they may still run, and be billed" in told.stdout
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


def test_db_upgrade_makes_an_empty_database_usable(run: Run, tmp_path: Path) -> None:
    """And is named by whatever needs it first."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    told = run("status", DATABASE_URL=url)
    assert told.returncode == 3
    assert "ittybatch db upgrade" in told.stderr
    assert json.loads(run("db", "upgrade", "--json", DATABASE_URL=url).stdout)["revision"]
    assert run("status", DATABASE_URL=url).returncode == 0


def test_db_tidy_counts_first_and_then_removes(run: Run, sqlite_url: str) -> None:
    """Of batches that ended longer ago than was asked for."""
    ledger = Ledger(create_ledger_engine(sqlite_url))
    ledger.write(receive, [Arrival(b"nobody's", library.remote("task-x"))])
    then = datetime.now(UTC) - timedelta(days=15)
    ledger.write(lambda tx: tx.execute(update(Delivery).values(last_received_at=then)))
    ledger.close()
    counted = json.loads(run("db", "tidy", "--older-than", "2w", "--dry-run", "--json").stdout)
    assert counted["deliveries"] == 1
    assert "0  webhooks" in run("db", "tidy").stdout, "by itself it keeps 30 days"
    done = run("db", "tidy", "--older-than", "2w")
    assert (done.returncode, "1  webhooks" in done.stdout) == (0, True)
    assert "0  webhooks" in run("db", "tidy", "--older-than", "2w").stdout
    refused = run("db", "tidy", "--older-than", "soon")
    assert refused.returncode == 3
    assert "such as 30d" in refused.stderr


def test_a_url_written_for_an_orm_is_told_in_a_sentence(run: Run) -> None:
    """Not as a traceback."""
    url = "postgresql://u:hidden-word@127.0.0.1:9/ledger?schema=public"
    done = run("status", DATABASE_URL=url)
    assert done.returncode == 3
    assert "'schema'" in done.stderr
    assert "search_path" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hidden-word" not in done.stderr


def test_the_receiver_refuses_to_start_without_a_secret(run: Run) -> None:
    """Unless it is told so by name."""
    told = run("receiver", "--port", "0")
    assert told.returncode == 3
    assert "ITTYBIT_WEBHOOK_SECRET" in told.stderr


def test_doctor_says_what_is_wrong_and_how_to_mend_it(run: Run) -> None:
    """With nothing set, nearly everything; exit status 3, and no secret in sight."""
    told = run("doctor", "--json", ITTYBIT_WEBHOOK_SECRET="whsec_hidden")
    assert told.returncode == 3
    found = {each["check"]: each for each in json.loads(told.stdout)}
    assert found["API key"]["grade"] == "broken"
    assert "ITTYBIT_API_KEY" in found["API key"]["remedy"]
    assert found["Webhook secret"]["grade"] == "ok"
    assert found["Ledger"]["grade"] == "ok"
    assert found["Prefect API"]["grade"] == "broken"
    assert "whsec_hidden" not in told.stdout + told.stderr


@pytest.mark.parametrize(
    ("url", "grade", "said"),
    [
        ("http://example.com/webhooks/ittybit", "broken", "not HTTPS"),
        ("http://127.0.0.1:9/webhooks/ittybit", "broken", "this machine"),
    ],
)
def test_doctor_refuses_webhook_urls_that_cannot_work(
    run: Run, url: str, grade: str, said: str
) -> None:
    """HTTPS beyond loopback; and loopback is of no use to the real service."""
    told = run("doctor", "--json", WEBHOOK_URL=url, ITTYBIT_API_URL="https://api.test.invalid")
    found = {each["check"]: each for each in json.loads(told.stdout)}
    assert found["Webhook URL"]["grade"] == grade
    assert said in found["Webhook URL"]["what"]
