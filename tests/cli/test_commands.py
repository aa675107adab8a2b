"""The commands as a user types them: usage, mistakes, exit status."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.inbox import Arrival, receive
from ittybatch.ledger.models import Delivery
from tests.cli.conftest import Run
from tests.ledger import library


def test_help_names_every_command_and_exit_status(start: Run) -> None:
    """Without importing what the commands need."""
    told = start("--help")
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


@pytest.mark.parametrize("limit", ["-1", "99999999999999999999"])
@pytest.mark.parametrize("command", ["status", "jobs", "failures", "quarantine list"])
def test_a_limit_that_is_none_is_refused(run: Run, batch: str, command: str, limit: str) -> None:
    """Neither the database nor Python can count so."""
    of_one = [batch] if command in {"jobs", "failures"} else []
    told = run(*command.split(), *of_one, "--limit", limit)
    assert told.returncode == 3
    assert told.stderr.startswith(f"error: --limit: {limit} ")


@pytest.mark.parametrize("output", ["", ".", "/"])
def test_a_report_needs_the_name_of_a_file(run: Run, batch: str, output: str) -> None:
    """An empty variable in a script is no name."""
    told = run("report", batch, "-o", output)
    assert told.returncode == 3
    assert "names no file" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("form", ["csv", "json", "html"])
def test_a_report_that_nobody_reads_on_ends_quietly(start: Run, batch: str, form: str) -> None:
    """As under `head`, which goes when it has seen enough."""
    unread, written = os.pipe()
    os.close(unread)
    told = start("report", batch, "--format", form, stdout=written)
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


def test_the_receiver_refuses_to_start_without_a_secret(start: Run) -> None:
    """Unless it is told so by name."""
    told = start("receiver", "--port", "0")
    assert told.returncode == 3
    assert "ITTYBIT_WEBHOOK_SECRET" in told.stderr


def test_doctor_says_what_is_wrong_and_how_to_mend_it(start: Run) -> None:
    """With nothing set, nearly everything; exit status 3, and no secret in sight."""
    told = start("doctor", "--json", ITTYBIT_WEBHOOK_SECRET="whsec_hidden")
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
        ("https://exam..ple/webhooks/ittybit", "broken", "a host that cannot exist"),
        (f"https://{'a' * 64}.test/webhooks/ittybit", "broken", "a host that cannot exist"),
    ],
)
def test_doctor_refuses_webhook_urls_that_cannot_work(
    run: Run, url: str, grade: str, said: str
) -> None:
    """HTTPS beyond loopback; and loopback is of no use to the real service."""
    told = run(
        "doctor",
        "--json",
        WEBHOOK_URL=url,
        ITTYBIT_API_URL="https://api.test.invalid",
        ITTYBATCH_API_TOKEN="token-of-the-receivers-api",
    )
    found = {each["check"]: each for each in json.loads(told.stdout)}
    assert found["Webhook URL"]["grade"] == grade
    assert said in found["Webhook URL"]["what"]
