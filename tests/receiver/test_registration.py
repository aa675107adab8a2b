"""Registering a real receiver with the sandbox, as the webhook commands do."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from ittybatch.engine.finding import Grade
from ittybatch.engine.registration import (
    RegistrationNotOffered,
    UnknownEndpoint,
    check_registration,
    register,
    registered,
    remove,
)
from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.settings import Settings
from tests.command_line import Done, typed
from tests.receiver.harness import PATH, SECRET, deliveries, wait_until
from tests.receiver.harness import Running as Receiver
from tests.receiver.harness import running as run_receiver
from tests.sandbox.harness import KEY, serving
from tests.sandbox.harness import Running as Sandbox
from tests.sandbox.harness import running as run_sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Ittybit's side."""
    with run_sandbox(instant=True) as started:
        yield started


@pytest.fixture
def receiver(sqlite_url: str) -> Iterator[Receiver]:
    """Our side; which database it has makes no difference here."""
    with run_receiver(sqlite_url) as up:
        yield up


@pytest.fixture
def settings(sandbox: Sandbox, receiver: Receiver) -> Settings:
    """Settings that lead to both."""
    return _settings(sandbox.url, f"{receiver.url}{PATH}")


def _settings(api_url: str, webhook_url: str | None) -> Settings:
    given: dict[str, Any] = {
        "api_key": SecretStr(KEY),
        "api_url": api_url,
        "webhook_url": webhook_url,
        "webhook_secret": SecretStr(SECRET),
    }
    return Settings(**given)


def test_a_registered_receiver_gets_jobs_that_name_no_webhook_url(
    sandbox: Sandbox, settings: Settings, sqlite_url: str
) -> None:
    """Signed, and kept, although another program submitted them."""
    assert asyncio.run(register(settings)).created
    job_id = sandbox.create()
    ledger = Ledger(create_ledger_engine(sqlite_url))
    wait_until(lambda: deliveries(ledger))
    assert [each.task_id for each in deliveries(ledger)] == [job_id]
    ledger.close()


def test_registering_twice_is_registering_once(sandbox: Sandbox, settings: Settings) -> None:
    """Ittybit would send every webhook twice otherwise."""
    first, second = asyncio.run(register(settings)), asyncio.run(register(settings))
    assert (first.created, second.created) == (True, False)
    assert first.endpoint == second.endpoint
    assert len(sandbox.client.get("/webhooks").json()) == 1


def test_an_endpoint_for_fewer_events_is_not_taken_for_ours(settings: Settings) -> None:
    """The error says which event is missing, and how to replace it."""
    asyncio.run(register(settings, events=["job.failed"]))
    with pytest.raises(IttybatchError, match=r"does not receive job.succeeded") as caught:
        asyncio.run(register(settings))
    assert "ittybatch webhook remove we_" in str(caught.value.remedy)
    [finding] = asyncio.run(check_registration(settings))
    assert finding.grade is Grade.WARNING
    assert "job.succeeded" in finding.what


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://app.test/webhooks/ittybit", "not HTTPS"),
        ("ftp://app.test/", "not HTTPS"),
        ("https://[", "not HTTPS"),
    ],
)
def test_an_address_that_ittybit_refuses_is_not_sent(
    sandbox: Sandbox, settings: Settings, url: str, why: str
) -> None:
    """Only https, and http for a sandbox on this machine."""
    with pytest.raises(ConfigurationError, match=why):
        asyncio.run(register(settings, url))
    assert sandbox.client.get("/webhooks").json() == []


def test_an_address_of_this_machine_is_no_address_for_the_real_ittybit() -> None:
    """It is found before Ittybit is asked."""
    settings = _settings("https://api.ittybit.com", "http://127.0.0.1:8300/webhooks/ittybit")
    with pytest.raises(ConfigurationError, match="cannot reach"):
        asyncio.run(register(settings))


def test_without_an_address_there_is_nothing_to_register(sandbox: Sandbox) -> None:
    """The error names the setting and the argument."""
    with pytest.raises(ConfigurationError, match="WEBHOOK_URL"):
        asyncio.run(register(_settings(sandbox.url, None)))


def test_an_endpoint_is_removed_by_its_id_or_its_url(settings: Settings) -> None:
    """An unknown one is an error, and nothing is removed."""
    asyncio.run(register(settings))
    with pytest.raises(UnknownEndpoint, match="we_0"):
        asyncio.run(remove(settings, "we_0"))
    assert asyncio.run(remove(settings, str(settings.webhook_url)))
    endpoint = asyncio.run(register(settings)).endpoint
    assert asyncio.run(remove(settings, endpoint.id)) == [endpoint]
    assert asyncio.run(registered(settings)) == []


def test_doctor_says_whether_we_are_among_them(settings: Settings) -> None:
    """Not being registered is no error: our own jobs name their address."""
    [before] = asyncio.run(check_registration(settings))
    assert (before.grade, before.what.partition(":")[0]) == (Grade.OK, "not registered")
    asyncio.run(register(settings))
    [after] = asyncio.run(check_registration(settings))
    assert (after.grade, "is registered as we_" in after.what) == (Grade.OK, True)


@pytest.mark.parametrize("status", [404, 405])
def test_an_api_without_the_route_is_no_error_for_doctor(status: int) -> None:
    """The current reference of Ittybit's API does not list it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = orjson.dumps({"kind": "not_found", "message": "no such route"})
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            return

    with serving(Handler) as url:
        settings = _settings(url, "http://127.0.0.1:9/webhooks/ittybit")
        [finding] = asyncio.run(check_registration(settings))
        assert finding.grade is Grade.OK
        with pytest.raises(RegistrationNotOffered, match="has no /webhooks route"):
            asyncio.run(register(settings))


def test_a_refused_key_is_left_to_the_check_of_the_key(
    sandbox: Sandbox, settings: Settings
) -> None:
    """One problem, one finding."""
    assert settings.webhook_url
    given: dict[str, Any] = {"api_key": SecretStr("wrong"), "api_url": sandbox.url}
    refused = Settings(webhook_url=settings.webhook_url, **given)
    assert asyncio.run(check_registration(refused)) == []


def test_the_commands_register_list_and_remove(
    sandbox: Sandbox, receiver: Receiver, sqlite_url: str, tmp_path: Path
) -> None:
    """As they are typed, with a token in the URL that is never printed."""
    url = f"{receiver.url}{PATH}?token=s3cr3t"

    def run(*arguments: str) -> Done:
        return typed(
            "webhook",
            *arguments,
            environment={
                "HOME": str(tmp_path),
                "ITTYBATCH_HOME": str(tmp_path / "home"),
                "DATABASE_URL": sqlite_url,
                "ITTYBIT_API_URL": sandbox.url,
                "ITTYBIT_API_KEY": KEY,
                "ITTYBIT_WEBHOOK_SECRET": SECRET,
                "WEBHOOK_URL": url,
            },
            cwd=tmp_path,
        )

    first, again = run("register"), run("register")
    assert (first.returncode, again.returncode) == (0, 0)
    assert first.stdout.startswith("Registered as we_")
    assert f"POST {receiver.url}{PATH}?... for job.succeeded, job.failed" in first.stdout
    assert again.stdout.startswith("Already registered as we_")
    listed = run("list")
    assert "yes" in listed.stdout
    [row] = orjson.loads(run("list", "--json").stdout)
    assert row["active"] is True
    assert run("remove").returncode == 2
    assert run("remove", "we_0").returncode == 3
    assert run("remove", row["id"]).stdout.startswith(f"Removed {row['id']}")
    assert orjson.loads(run("list", "--json").stdout) == []
    told = [first, again, listed]
    assert not any("s3cr3t" in each.stdout + each.stderr for each in told)
