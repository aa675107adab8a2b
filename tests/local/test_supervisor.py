"""What the supervisor promises, seen on real child processes."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ittybatch_local.errors import StackError
from ittybatch_local.probes import is_healthy
from ittybatch_local.process import LOG_LIMIT_BYTES, GuardedProcess, ProcessSpec
from ittybatch_local.supervisor import Supervisor

Until = Callable[[Callable[[], object]], None]
IsRunning = Callable[[int], bool]
MakeSpec = Callable[..., ProcessSpec]


def _children(home: Path) -> list[int]:
    return [int(pid) for pid in (home / "children").read_text().split()]


def test_a_killed_service_is_restarted_and_said_so(
    supervisor: Supervisor, web: ProcessSpec, events: list[str]
) -> None:
    """A service that dies of SIGKILL is restarted as another process."""
    supervisor.launch(web)
    supervisor.await_ready("web")
    first = supervisor.pid("web")

    supervisor.kill("web", signal.SIGKILL)
    supervisor.await_ready("web")

    assert supervisor.pid("web") != first
    assert events == ["web died (exit -9), restarted"]


def test_a_stopped_service_stays_down_until_started(
    supervisor: Supervisor, web: ProcessSpec, is_running: IsRunning, events: list[str]
) -> None:
    """`stop` causes no restart."""
    supervisor.launch(web)
    supervisor.await_ready("web")
    first = supervisor.pid("web")

    supervisor.stop("web")
    assert not is_running(first)
    with pytest.raises(StackError, match="web is not running"):
        supervisor.pid("web")

    supervisor.start("web")
    assert supervisor.pid("web") != first
    assert events == []


def test_restart_replaces_the_process(supervisor: Supervisor, web: ProcessSpec) -> None:
    """A restart returns once the new process answers."""
    supervisor.launch(web)
    supervisor.await_ready("web")
    first = supervisor.pid("web")
    supervisor.restart("web")
    assert supervisor.pid("web") != first


def test_stopping_ends_children_in_other_sessions_too(
    supervisor: Supervisor, spec: MakeSpec, port: int, home: Path, is_running: IsRunning
) -> None:
    """A child that left the process group is stopped with the rest."""
    url = f"http://127.0.0.1:{port}/"
    supervisor.launch(spec("with-children", "--port", str(port), is_ready=is_healthy(url)))
    supervisor.await_ready("web")
    assert all(is_running(pid) for pid in _children(home))

    supervisor.stop("web")

    assert not any(is_running(pid) for pid in _children(home))


def test_what_ignores_sigterm_is_killed_after_the_grace(
    supervisor: Supervisor, spec: MakeSpec, port: int, home: Path, is_running: IsRunning
) -> None:
    """A service cannot refuse to end."""
    url = f"http://127.0.0.1:{port}/"
    supervisor.launch(spec("stubborn", "--port", str(port), is_ready=is_healthy(url), grace_s=0.3))
    supervisor.await_ready("web")
    pids = [supervisor.pid("web"), *_children(home)]

    supervisor.stop("web")

    assert not any(is_running(pid) for pid in pids)


def test_a_dead_service_takes_its_children_along(
    supervisor: Supervisor, spec: MakeSpec, port: int, home: Path, is_running: IsRunning
) -> None:
    """Left-over children could occupy the port."""
    url = f"http://127.0.0.1:{port}/"
    supervisor.launch(spec("with-children", "--port", str(port), is_ready=is_healthy(url)))
    supervisor.await_ready("web")
    before = _children(home)

    supervisor.kill("web")
    supervisor.await_ready("web")

    assert not any(is_running(pid) for pid in before)


def test_orphans_that_are_kept_live_on_until_the_stop(
    supervisor: Supervisor, spec: MakeSpec, port: int, home: Path, is_running: IsRunning
) -> None:
    """Flow runs outlive a worker that died, but never the stack."""
    url = f"http://127.0.0.1:{port}/"
    arguments = ("with-children", "--port", str(port))
    supervisor.launch(spec(*arguments, is_ready=is_healthy(url), keeps_orphans=True))
    supervisor.await_ready("web")
    before = _children(home)

    supervisor.kill("web")
    supervisor.await_ready("web")
    assert all(is_running(pid) for pid in before)

    supervisor.stop("web")
    assert not any(is_running(pid) for pid in [*before, *_children(home)])


def test_a_service_that_dies_at_once_names_its_log_and_its_reason(
    supervisor: Supervisor, spec: MakeSpec, home: Path
) -> None:
    """The message alone is enough to see what went wrong."""
    supervisor.launch(spec("fail", name="broken", is_ready=lambda: False))
    with pytest.raises(StackError) as caught:
        supervisor.await_ready("broken")
    assert "broken died before it was ready (exit 7)" in str(caught.value)
    assert str(home / "logs" / "broken.log") in str(caught.value)
    assert "the reason stands here" in str(caught.value)


def test_a_service_that_never_answers_is_given_up(supervisor: Supervisor, spec: MakeSpec) -> None:
    """Waiting has a deadline."""
    supervisor.launch(spec("silent", is_ready=lambda: False, ready_within_s=0.3))
    with pytest.raises(StackError, match=r"web was not ready within 0.3 s"):
        supervisor.await_ready("web")


def test_a_command_that_does_not_exist_says_so(supervisor: Supervisor, spec: MakeSpec) -> None:
    """A missing program is named."""
    with pytest.raises(StackError, match=r"web cannot be started: .*no-such-program"):
        supervisor.launch(spec(command=("/no-such-program",)))


def test_a_failed_step_shows_what_it_said(supervisor: Supervisor, spec: MakeSpec) -> None:
    """A command that is run once reports its exit status and its last lines."""
    with pytest.raises(StackError, match=r"(?s)step failed \(exit 7\).*the reason stands here"):
        supervisor.run_step(spec("fail", name="step"))


def test_a_step_that_hangs_is_ended(supervisor: Supervisor, spec: MakeSpec) -> None:
    """A command that is run once has a deadline too."""
    with pytest.raises(StackError, match=r"step did not end within 0.3 s"):
        supervisor.run_step(spec("silent", name="step", ready_within_s=0.3))


def test_an_unknown_service_is_named_with_the_known_ones(
    supervisor: Supervisor, web: ProcessSpec
) -> None:
    """A misspelt name is answered with the right ones."""
    supervisor.launch(web)
    with pytest.raises(StackError, match="'wob' is not part of this stack, which runs web"):
        supervisor.kill("wob")


def test_services_are_stopped_in_reverse(spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database goes last, because it was started first."""
    order: list[str] = []
    stop = GuardedProcess.stop

    def recorded(process: GuardedProcess) -> None:
        order.append(process.spec.name)
        stop(process)

    monkeypatch.setattr(GuardedProcess, "stop", recorded)
    with Supervisor() as supervisor:
        for name in ("first", "second", "third"):
            supervisor.launch(spec("silent", name=name))
    assert order == ["third", "second", "first"]


def test_a_large_log_is_moved_aside(supervisor: Supervisor, web: ProcessSpec) -> None:
    """Each start appends to the log, which is rotated."""
    web.log.parent.mkdir()
    web.log.write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))
    supervisor.launch(web)
    supervisor.await_ready("web")
    assert web.log.stat().st_size < 10_000
    assert web.log.with_name("web.log.1").stat().st_size == LOG_LIMIT_BYTES + 1


def test_nothing_survives_a_parent_that_is_killed(
    home: Path, port: int, until: Until, is_running: IsRunning
) -> None:
    """The guards stop everything after SIGKILL of their parent."""
    program = textwrap.dedent(f"""
        import os, sys, time
        from pathlib import Path
        from ittybatch_local.probes import is_healthy
        from ittybatch_local.process import ProcessSpec
        from ittybatch_local.supervisor import Supervisor
        home = Path({str(home)!r})
        with Supervisor() as supervisor:
            supervisor.launch(ProcessSpec(
                name="web", log=home / "web.log", cwd=home, grace_s=1.0,
                command=(sys.executable, {str(Path(__file__).with_name("stand_in.py"))!r},
                         "with-children", "--port", "{port}"),
                environment={{**os.environ, "STAND_IN_HOME": str(home)}},
                is_ready=is_healthy("http://127.0.0.1:{port}/"),
            ))
            supervisor.await_ready("web")
            print(supervisor.pid("web"), flush=True)
            time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()), *_children(home)]
        assert all(is_running(pid) for pid in pids)
        parent.kill()
    until(lambda: not any(is_running(pid) for pid in pids))


def test_a_service_does_not_survive_its_guard(
    supervisor: Supervisor, web: ProcessSpec, until: Until, is_running: IsRunning
) -> None:
    """Killing the guard kills the service, which is then restarted under another."""
    supervisor.launch(web)
    supervisor.await_ready("web")
    service = supervisor.pid("web")
    guard = int(Path(f"/proc/{service}/stat").read_text().rpartition(")")[2].split()[1])

    os.kill(guard, signal.SIGKILL)

    until(lambda: not is_running(service))
    supervisor.await_ready("web")
    assert supervisor.pid("web") != service
