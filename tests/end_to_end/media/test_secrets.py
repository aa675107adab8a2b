"""Nothing that a run leaves behind tells a secret: searched, table by table and file by file."""

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.end_to_end.media.first_batches import First, FirstBatches
from tests.end_to_end.media.leftovers import (
    Needles,
    in_command_lines,
    in_database,
    in_files,
    needles,
    readable_by_others,
)
from tests.end_to_end.system import System

pytestmark = pytest.mark.timeout(600)

# The two files whose purpose it is to hold them, for their owner alone.
KEEPERS = {"secrets.json", "stack.env"}


@pytest.fixture(scope="module")
def wanted(running: System) -> Needles:
    """The API key, the webhook secret, the AWS secret key and the databases' password."""
    environment = running.environment
    password = unquote(urlsplit(environment["DATABASE_URL"]).password or "")
    found = {
        "API key": environment["ITTYBIT_API_KEY"],
        "webhook secret": environment["ITTYBIT_WEBHOOK_SECRET"],
        "AWS secret key": environment["AWS_SECRET_ACCESS_KEY"],
        "database password": password,
    }
    assert min(map(len, found.values())) >= 16, "too short to be told from other text"
    return needles(found)


def test_no_database_holds_a_secret(
    system: System, first_batches: FirstBatches, wanted: Needles
) -> None:
    """Parameters, states, logs, artifacts, events, variables and blocks at Prefect; the ledger."""
    assert first_batches.library.batch
    ledger_url = re.sub(r"^\w+(\+\w+)?://", "postgresql://", system.environment["DATABASE_URL"])
    prefect_url = ledger_url.rpartition("/")[0] + "/prefect"
    for url in (ledger_url, prefect_url):
        assert list(in_database(url, wanted)) == []
    # The search finds what is there: the batch, in both.
    batch = needles({"batch": first_batches.library.batch})
    assert {"public.batches", "public.jobs"} & {
        table for table, _ in in_database(ledger_url, batch)
    }
    at_prefect = {table for table, _ in in_database(prefect_url, batch)}
    assert at_prefect >= {"public.flow_run", "public.artifact", "public.log", "public.events"}


def test_no_file_tells_a_secret_to_others(
    system: System, first_batches: FirstBatches, wanted: Needles
) -> None:
    """Logs of every process, reports, databases' own files, whatever lies in the home."""
    assert first_batches.broken.batch
    found = list(in_files(system.stack.home, wanted))
    assert {path.name for path, _ in found} == KEEPERS, found
    assert not [path for path, _ in found if readable_by_others(path)]
    batch = needles({"batch": first_batches.broken.batch})
    endings = {path.suffix for path, _ in in_files(system.stack.home, batch)}
    assert endings >= {".json", ".html"}, "the search finds what is there"
    logs = (system.stack.home / "logs").glob("*.log")
    assert {path.stem for path in logs if path.stat().st_size} >= {"worker", "receiver", "s3"}


def test_no_command_prints_or_carries_a_secret(
    system: System, first_batches: FirstBatches, wanted: Needles
) -> None:
    """Neither what was said, nor a failure's text, nor a command line that anybody can list."""
    every: list[First] = [first_batches.library, first_batches.broken, first_batches.in_place]
    said = [each.said for each in every]
    said += [system.command("doctor").stdout, system.command("status", "--json").stdout]
    wrong = {
        "DATABASE_URL": system.environment["DATABASE_URL"].replace("/ledger", "/no-such-ledger"),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    for name, value in wrong.items():
        failed = system.command(
            "plan", first_batches.library.source, "--profile", "web", **{name: value}
        )
        assert failed.returncode == 3, (name, failed.stdout)
        said.append(failed.stdout + failed.stderr)
    for text in said:
        assert not [name for name, secret in wanted.items() if secret.decode() in text]
    assert list(in_command_lines(wanted)) == []


def test_the_report_finds_every_output_where_it_should_be(
    system: System, first_batches: FirstBatches, tmp_path: Path
) -> None:
    """By a look at each, beside the report, which goes to a file or to the bucket alike."""
    batch = first_batches.library.batch
    place = tmp_path / "report.json"
    done = system.command("report", batch, "--check-outputs", "-o", str(place))
    assert done.returncode == 0, done.stderr
    assert "Outputs looked at: 20 ok." in done.stdout
    assert json.loads(place.read_bytes())["checks"] == {"ok": 20}
    done = system.command("report", batch, "-o", "s3://media/reports/report.html")
    assert done.stdout == "Wrote s3://media/reports/report.html.\n", done.stderr
