"""The blocks: cheap to import, clear about what is asked, and discreet about secrets."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points

import pytest
from pydantic import SecretStr, ValidationError

from ittybatch.errors import ConfigurationError
from ittybatch.ledger import Ledger
from ittybatch.ledger.job_lookup import read_job
from ittybatch.ledger.settlement import settle
from ittybatch.prefect import IttybitCredentials, IttybitJob, IttybitJobRun
from ittybatch.prefect.job import JobFailed
from ittybatch.prefect.waiting import own_ledger
from tests.ledger import library

HEAVY = ("sqlalchemy", "boto3", "pyarrow", "pandas", "ittybatch.ledger", "ittybatch.engine")


def test_prefect_finds_the_blocks_by_an_entry_point_that_is_cheap_to_import() -> None:
    """Servers, workers and look-ups import it; what Prefect itself imports does not count."""
    (found,) = [
        each for each in entry_points(group="prefect.collections") if each.name == "ittybatch"
    ]
    assert found.value == "ittybatch.prefect"
    script = (
        "import sys, prefect.blocks.abstract; before = set(sys.modules); import ittybatch.prefect; "
        f"print([name for name in {HEAVY!r} if name in set(sys.modules) - before])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "either `profile` or `kind`"),
        ({"profile": "web", "kind": "video"}, "either `profile` or `kind`"),
        ({"profile": "web", "options": {"width": 1}}, "a profile has its own"),
    ],
)
def test_a_job_says_what_is_to_be_paid_for(given: dict[str, str], why: str) -> None:
    """Nothing is made that nobody asked for."""
    with pytest.raises(ValidationError, match=why):
        IttybitJob(input="s3://media/a.mov", **given)


def test_credentials_are_not_shown() -> None:
    """Neither in logs nor in errors; the client gets them."""
    block = IttybitCredentials(api_key=SecretStr("key-4711"), webhook_secret=SecretStr("hush-4711"))
    assert "4711" not in repr(block)
    assert block.settings().api_key == SecretStr("key-4711")
    assert block.settings().webhook_secrets == (b"hush-4711",)


def test_credentials_of_another_project_send_nothing(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its webhooks would not be believed, and its jobs would be made again as lost."""
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    monkeypatch.setenv("ITTYBIT_API_KEY", "key-of-ours")
    block = IttybitCredentials(api_key=SecretStr("key-of-theirs"))
    with pytest.raises(ConfigurationError, match="of one Ittybit project") as refused:
        IttybitJob(input="s3://media/a.mov", profile="web", credentials=block).trigger()
    assert "key-of" not in str(refused.value)


def test_a_job_of_another_ledger_is_no_success(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker without DATABASE_URL has an empty one of its own."""
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    with pytest.raises(JobFailed, match="not in this ledger"):
        IttybitJobRun("batch", [4711]).fetch_result()


def test_a_result_is_there_once_every_job_has_succeeded(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before that, and of a job that failed, the error says what to do next."""
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    chunk, submissions = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    good, bad = (IttybitJobRun("batch", [each.job_id]) for each in submissions)
    with pytest.raises(JobFailed, match="has not ended yet"):
        good.fetch_result()
    with pytest.raises(TimeoutError, match=f"Job {good.job_ids[0]} has not ended within 0 s"):
        good.wait_for_completion(0)
    ledger.write(settle, [library.remote("task-0")])
    ledger.write(settle, [library.failed("task-1", "invalid_input", "it is not media")])
    assert list(good.fetch_result().output_urls.values()) == ["https://cdn.test/out.mp4"]
    with pytest.raises(JobFailed, match="it is not media") as failed:
        bad.fetch_result()
    assert library.place(ledger, chunk).batch_id in str(failed.value.remedy)


def test_an_asynchronous_flow_opens_no_ledger_on_its_event_loop(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is slow to answer would stop everything else in the flow."""
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    monkeypatch.setenv("ITTYBIT_API_KEY", "key-of-ours")
    monkeypatch.setenv("ITTYBIT_API_URL", "http://127.0.0.1:9")
    opened: list[int] = []

    @contextmanager
    def noted() -> Iterator[Ledger]:
        opened.append(threading.get_ident())
        with own_ledger() as found:
            yield found

    monkeypatch.setattr("ittybatch.prefect.job.own_ledger", noted)

    async def trigger() -> tuple[int, IttybitJobRun]:
        block = IttybitJob(input="s3://media/a.mov", kind="image", options={"width": 96})
        return threading.get_ident(), await block.atrigger()

    loop, run = asyncio.run(trigger())
    assert opened
    assert loop not in opened
    assert [ledger.read(read_job, job) is not None for job in run.job_ids] == [True]
