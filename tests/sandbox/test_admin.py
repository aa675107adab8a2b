"""What only this machine may ask."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from ittybit_sandbox import SandboxConfig, create_app
from tests.sandbox.harness import Running, running


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Host": "rebound.example.com"},
        {"Origin": "https://example.com"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["/_sandbox/jobs", "/_sandbox/summary", "/_sandbox/faults"])
def test_a_request_that_may_come_from_elsewhere_is_refused(
    instant: Running, headers: dict[str, str], path: str
) -> None:
    """A proxy, a tunnel, a page in a browser, a name that was made to point here."""
    answer = httpx.get(instant.url + path, headers=headers)
    assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden")


def test_another_address_of_this_machine_is_elsewhere(tmp_path: Path) -> None:
    """The client's address decides, whatever the server listens on."""
    app = create_app(
        SandboxConfig(instant=True, public_url="http://127.0.0.1:8400", state_dir=tmp_path)
    )
    for client, status in (("127.0.0.1", 200), ("192.0.2.7", 403)):
        # Not every machine has a second address, so the request pretends to come from one.
        transport = httpx.ASGITransport(app, client=(client, 40_000))

        async def ask(transport: httpx.ASGITransport = transport) -> int:
            base_url = "http://127.0.0.1:8400"
            async with httpx.AsyncClient(transport=transport, base_url=base_url) as web:
                return (await web.get("/_sandbox/summary")).status_code

        assert asyncio.run(ask()) == status


def test_every_job_is_listed_with_its_key_and_count() -> None:
    """Thousands come as one stream; a part of them can be asked for."""
    with running(instant=True) as sandbox:
        ids = [sandbox.create(key=f"key{n}", metadata={"n": n}) for n in range(1100)]
        sandbox.create(key="key0", metadata={"n": 0})
        rows = sandbox.all_jobs()
        assert [row["id"] for row in rows] == ids
        assert {row["created_by_key"] for row in rows} == {1}
        assert [row["metadata"]["n"] for row in rows[:3]] == [0, 1, 2]
        part = sandbox.client.get(f"/_sandbox/jobs?after={ids[9]}&limit=2").json()
        assert [row["id"] for row in part] == ids[10:12]
        assert sandbox.client.get("/_sandbox/jobs?after=x").status_code == 400
        assert sandbox.client.get("/_sandbox/jobs?limit=x").status_code == 400
        summary = sandbox.summary()
    assert (summary["jobs_created"], summary["replays"]) == (1100, 1)
    assert summary["requests"] == {"POST /jobs 200": 1, "POST /jobs 201": 1100}
    assert summary["keys"] == {"distinct": 1100, "most_jobs_for_one_key": 1}


def test_health_needs_no_key(instant: Running) -> None:
    """A supervisor can ask whether it is up."""
    assert re.search("ok", httpx.get(f"{instant.url}/healthz").text)


def test_a_job_that_has_not_ended_is_not_redelivered() -> None:
    """There is nothing to deliver yet."""
    with running(instant=True, instant_latency_s=60) as sandbox:
        job_id = sandbox.create()
        assert sandbox.job(job_id)["status"] == "queued"
        assert sandbox.client.post(f"/_sandbox/redeliver/{job_id}").status_code == 409
