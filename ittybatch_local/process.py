"""Starts, signals and stops one service through its guard, a supervising parent process.

`guard.py` is the guard's program.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ittybatch_local.errors import StackError

GUARD = Path(__file__).with_name("guard.py")
LOG_LIMIT_BYTES = 10_000_000
TAIL_LINES = 20
TAIL_BYTES = 8_192
START_WAIT_S = 15.0
KILL_WAIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """How to run one service.

    Args:
        name: The service's name, also of its log.
        command: The argument vector.
        log: The file that its output is appended to.
        environment: The complete environment; nothing is inherited.
        cwd: The working directory.
        is_ready: Checks whether it answers; None if being alive is enough.
        ready_within_s: Seconds after which a service that does not answer has failed.
        stop_signal: The signal that stops it.
        grace_s: Seconds between that signal and SIGKILL.
        keeps_orphans: Whether its children may finish their work after it dies.
        user: The account to run as, if started as root.
        shared_fds: File descriptors that its guard keeps open: the lock of the stack's home.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]
    cwd: Path
    is_ready: Callable[[], bool] | None = None
    ready_within_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    keeps_orphans: bool = False
    user: str | None = None
    shared_fds: tuple[int, ...] = ()


class GuardedProcess:
    """A service's process and its descendants.

    Args:
        spec: How to run the service.
        on_exit: Called once when the started service ends, from the status thread.
    """

    def __init__(
        self, spec: ProcessSpec, on_exit: Callable[["GuardedProcess"], None] | None = None
    ) -> None:
        self.spec = spec
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.failure: str | None = None
        self._on_exit = on_exit
        # Set once the pid or a failure is known.
        self._start_settled = threading.Event()
        self._exited = threading.Event()
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the service and wait for its process id.

        Raises:
            StackError: The command does not start.
        """
        spec = self.spec
        status_read, status_write = os.pipe()
        try:
            with _open_log(spec.log) as log:
                self._guard = subprocess.Popen(  # noqa: S603 - the stack's own command lines
                    [*_guard_command(spec, status_write), "--", *spec.command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=dict(spec.environment),
                    cwd=spec.cwd,
                    pass_fds=(status_write, *spec.shared_fds),
                    start_new_session=True,
                    umask=0o077,  # logs, outputs and databases are private
                )
        except OSError as error:
            os.close(status_read)
            raise StackError(f"{spec.name} cannot be started: {error}.") from error
        finally:
            os.close(status_write)
        reader = threading.Thread(
            target=self._follow, args=(status_read,), name=f"{spec.name}-status", daemon=True
        )
        reader.start()
        if not self._start_settled.wait(START_WAIT_S):
            self.stop()
            raise StackError(f"{spec.name} did not start within {START_WAIT_S:g} s.")
        if self.pid is None:
            self.stop()
            reason = self.failure or "its guard ended immediately"
            raise StackError(f"{spec.name} cannot be started: {reason}.")

    @property
    def is_alive(self) -> bool:
        """Whether the service itself runs, apart from its children."""
        return self.pid is not None and not self._exited.is_set()

    @property
    def is_gone(self) -> bool:
        """Whether the service and all its descendants have ended."""
        return self._guard is None or self._guard.poll() is not None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the service to end; returns its exit code, or None at the timeout."""
        self._exited.wait(timeout_s)
        return self.exit_code

    def kill(self, signum: signal.Signals) -> None:
        """Send a signal to the service itself.

        Raises:
            StackError: It does not run.
        """
        if self.pid is None or not self.is_alive:
            raise StackError(f"{self.spec.name} is not running.")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)
        if signum is signal.SIGKILL:
            # Wait, so that the next caller does not see the dead process as alive.
            self._exited.wait(KILL_WAIT_S)

    def request_stop(self) -> None:
        """Make the guard stop the service and all its descendants, without waiting."""
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()

    def stop(self) -> None:
        """Stop the service and all its descendants, finally by SIGKILL."""
        if self._guard is None:
            return
        self.request_stop()
        try:
            self._guard.wait(2 * self.spec.grace_s + 5)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
            self._kill_group()
        self._exited.wait(1)

    def tail(self) -> str:
        """The last lines of the service's log."""
        with contextlib.suppress(OSError), self.spec.log.open("rb") as file:
            file.seek(max(0, self.spec.log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
            return "\n".join(lines[-TAIL_LINES:])
        return ""

    def _follow(self, status_fd: int) -> None:
        with os.fdopen(status_fd, encoding="utf-8") as status:
            for line in status:
                word, _, rest = line.strip().partition(" ")
                if word == "pid":
                    self.pid = int(rest)
                    self._start_settled.set()
                elif word == "failed":
                    self.failure = rest
                elif word == "exit":
                    self._finish(None if rest == "None" else int(rest))
        if not self._exited.is_set():
            # The guard ended without reporting an exit: it was killed, or the command did not
            # start. A killed guard takes the service with it (Linux), but not the children.
            self._kill_group()
            self._finish(-signal.SIGKILL)

    def _finish(self, exit_code: int | None) -> None:
        self.exit_code = -signal.SIGKILL if exit_code is None else exit_code
        was_started = self.pid is not None
        self._exited.set()
        self._start_settled.set()
        if was_started and self._on_exit is not None:
            self._on_exit(self)

    def _kill_group(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


def _guard_command(spec: ProcessSpec, status_fd: int) -> list[str]:
    command = [
        # Isolated and without site-packages, a guard starts in 20 ms.
        *(sys.executable, "-I", "-S", str(GUARD)),
        *("--status-fd", str(status_fd)),
        *("--stop-signal", str(int(spec.stop_signal))),
        *("--grace-s", str(spec.grace_s)),
    ]
    if spec.keeps_orphans:
        command.append("--keep-orphans")
    if spec.user is not None:
        command += ["--user", spec.user]
    return command


def _open_log(log: Path) -> IO[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
