"""The whole stack: real PostgreSQL, Prefect, worker and S3; stand-ins for our own services."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from ittybatch_local import LocalStack, StackError
from ittybatch_local.services import api_headers

PROGRAM = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
SERVICES = ("postgres", "prefect-server", "s3", "sandbox", "receiver", "worker")
IsRunning = Callable[[int], bool]


@pytest.fixture(autouse=True)
def _bare_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "PORT", "WEBHOOK_URL", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


def _get(url: str | None) -> httpx.Response:
    assert url is not None
    return httpx.get(url, trust_env=False)


def test_the_whole_stack_runs_mends_itself_and_ends(
    home: Path, events: list[str], is_running: IsRunning
) -> None:
    """Everything answers, a killed worker comes back, and nothing is left at the end."""
    media = home / "media"
    media.mkdir()
    (media / "a.mp4").write_bytes(b"1234")
    faults = home / "faults.yaml"
    with LocalStack(
        home,
        worker_limit=3,
        seed=5,
        instant=True,
        faults=faults,
        dialect="envelope",
        on_event=events.append,
        program=PROGRAM,
    ) as stack:
        pids = {name: stack.pid(name) for name in SERVICES}
        assert all(is_running(pid) for pid in pids.values())
        assert _get(stack.prefect_url).is_success
        assert _get(stack.receiver_url).is_success
        assert _get(stack.sandbox_url).is_success
        assert stack.upload(media, "library", "media/").count == 1

        shared = stack.environment()
        assert (home / "migrated").read_text() == shared["DATABASE_URL"]
        assert shared["DATABASE_URL"].endswith("/ledger")
        assert (
            f"--seed 5 --faults {faults} --dialect envelope"
            in (home / "sandbox-arguments").read_text()
        )
        pool = httpx.get(
            f"{shared['PREFECT_API_URL']}/work_pools/ittybatch",
            headers=api_headers(shared),
            trust_env=False,
        ).json()
        assert pool["concurrency_limit"] == 3
        _refuses_strangers(shared["PREFECT_API_URL"])
        assert home.stat().st_mode & 0o076 == 0, "others may at most search it, as the database"
        for path in home.iterdir():
            is_ours = path.stat().st_uid == os.geteuid()
            assert not is_ours or path.stat().st_mode & 0o077 == 0, path

        with pytest.raises(StackError, match=f"process {os.getpid()}"), LocalStack(home):
            pass

        stack.kill("worker", signal.SIGKILL)
        stack.await_ready("worker")
        assert stack.pid("worker") != pids["worker"]
        assert events == ["worker died (exit -9), restarted"]
        pids |= {"new worker": stack.pid("worker")}
    assert not any(is_running(pid) for pid in pids.values())


def _refuses_strangers(api_url: str) -> None:
    """A page in the browser cannot start a flow run, which may have its own command."""
    for authorization in ({}, {"Authorization": "Basic YWRtaW46cGFzcw=="}):
        answer = httpx.post(
            f"{api_url}/deployments/filter", json={}, headers=authorization, trust_env=False
        )
        assert answer.status_code == 401
    own = api_url.removesuffix("/api")
    for origin, allowed in (("https://evil.test", None), ("null", None), (own, own)):
        answer = httpx.options(
            f"{api_url}/deployments/filter",
            headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
            trust_env=False,
        )
        assert answer.headers.get("access-control-allow-origin") == allowed


def test_a_killed_stack_leaves_nothing_and_starts_again(
    home: Path, is_running: IsRunning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL of the stack itself; the next start waits for its guards and finds its data."""
    program = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from ittybatch_local import LocalStack
        with LocalStack(Path({str(home)!r}), server=False, worker=False, sandbox=True,
                        program={PROGRAM!r}) as stack:
            print(*(stack.pid(name) for name in ("postgres", "s3", "receiver")), flush=True)
            time.sleep(600)
    """)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        ports = (home / "ports.json").read_text()
        parent.kill()
    with LocalStack(home, server=False, worker=False, program=PROGRAM):
        assert not any(is_running(pid) for pid in pids)
        assert (home / "ports.json").read_text() == ports


def test_a_start_that_fails_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the step's own, and the home is free again."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    failing = (sys.executable, "-c", "raise SystemExit('no such table')")
    for _ in range(2):
        with (
            pytest.raises(StackError, match=r"(?s)db-upgrade failed \(exit 1\).*no such table"),
            LocalStack(home, server=False, worker=False, s3=False, program=failing),
        ):
            pass
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_before_its_start_a_stack_has_no_environment(home: Path) -> None:
    """The error says so."""
    with pytest.raises(StackError, match="has not been started"):
        LocalStack(home).environment()


def test_a_users_own_port_is_the_receivers(
    home: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """A tunnel leads to it."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PORT", str(port))
    with LocalStack(home, server=False, worker=False, s3=False, program=PROGRAM) as stack:
        assert stack.receiver_url == f"http://127.0.0.1:{port}"
        assert stack.environment()["WEBHOOK_URL"].startswith(f"http://127.0.0.1:{port}/")
