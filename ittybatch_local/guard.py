"""The parent process of one service. It stops the service when the stack ends, even by SIGKILL.

The stack runs this file as a script. The script's standard input is a pipe that only the stack
has the write end of, so the kernel closes it when the stack ends. At end of file, the guard stops
the service and all its descendants. The stack's own `stop` closes the pipe, too.

A process group is not enough: Prefect starts each flow run in a session of its own. On Linux the
guard is a subreaper: orphans below it become its children, whatever their session. If the guard
itself is killed, the kernel kills the service (PR_SET_PDEATHSIG, prctl(2)). The guard sets that
signal and not the stack, because it depends on the *thread* that forked, and the guard has one.

It uses the standard library without site-packages, because every service has a guard.
"""

import argparse
import contextlib
import ctypes
import os
import pwd
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

IS_LINUX = sys.platform.startswith("linux")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIFELINE_FD = 0
ORPHANS_GRACE_S = 2.0
TICK_S = 0.05


class Row(NamedTuple):
    """One row of the system's process table."""

    pid: int
    parent: int
    group: int
    is_zombie: bool


def main() -> int:
    """Run the service until it and its descendants have ended."""
    options = _parse(sys.argv[1:])
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.set_inheritable(options.status_fd, False)
    woken_fd = _wake_on_signals()
    # Load libc before the fork: the child may not import or load anything.
    die_with_guard = _prctl_later(PR_SET_PDEATHSIG, signal.SIGKILL)
    user = pwd.getpwnam(options.user) if options.user else None
    try:
        service = subprocess.Popen(  # noqa: S603 - the stack's own command line
            options.command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_guard,  # noqa: PLW1509 - this process has a single thread
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _report(options.status_fd, f"failed {error}")
        return 127
    _report(options.status_fd, f"pid {service.pid}")
    guard = Guard(service.pid, options)
    guard.watch(woken_fd)
    service.returncode = guard.exit_code
    return 0


class Guard:
    """Watches one service and its descendants."""

    def __init__(self, service: int, options: argparse.Namespace) -> None:
        self.exit_code: int | None = None
        self._service = service
        self._status_fd: int = options.status_fd
        self._stop_signal: int = options.stop_signal
        self._grace_s: float = options.grace_s
        self._keeps_orphans: bool = options.keep_orphans
        self._reported = False

    def watch(self, woken_fd: int) -> None:
        """Return when all processes have ended, by themselves or because the pipe was closed."""
        with selectors.DefaultSelector() as selector:
            selector.register(LIFELINE_FD, selectors.EVENT_READ)
            selector.register(woken_fd, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                signals = set(os.read(woken_fd, 4096)) if woken_fd in ready else set()
                self._reap()
                is_cut = LIFELINE_FD in ready and not os.read(LIFELINE_FD, 4096)
                if is_cut or signals & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
                    self._stop()
                    return
                if self.exit_code is not None and not self._keeps_orphans:
                    self._end_rest()
                    self._report_exit()
                    return
                if self.exit_code is not None:
                    self._report_exit()
                    if not self._family():
                        return

    def _stop(self) -> None:
        """Send the stop signal to the service, and SIGKILL to what is left after the grace."""
        if self.exit_code is None:
            _send(self._service, self._stop_signal)
            self._until(lambda: self.exit_code is not None, self._grace_s)
        self._end_rest()
        self._report_exit()

    def _end_rest(self) -> None:
        if self.exit_code is not None:
            for pid in self._family():
                _send(pid, signal.SIGTERM)
            if self._until(lambda: not self._family(), ORPHANS_GRACE_S):
                return

        def kill_all() -> bool:
            # Each pass may find processes that were forked since the last one.
            family = self._family()
            for pid in family:
                _send(pid, signal.SIGKILL)
            return not family

        self._until(kill_all, self._grace_s)

    def _until(self, condition: Callable[[], bool], wait_s: float) -> bool:
        deadline = time.monotonic() + wait_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(TICK_S)
            self._reap()
        return True

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._service:
                    self.exit_code = os.waitstatus_to_exitcode(ended[1])

    def _report_exit(self) -> None:
        if not self._reported:
            self._reported = True
            _report(self._status_fd, f"exit {self.exit_code}")

    def _family(self) -> list[int]:
        """The descendants of this process, and the process group of the service."""
        rows = [row for row in _process_table() if not row.is_zombie]
        known, found = {os.getpid()}, True
        while found:
            found = False
            for row in rows:
                belongs = row.parent in known or row.group == self._service
                if belongs and row.pid not in known:
                    known.add(row.pid)
                    found = True
        return sorted(known - {os.getpid()})


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--status-fd", type=int, required=True)
    parser.add_argument("--stop-signal", type=int, default=signal.SIGTERM)
    parser.add_argument("--grace-s", type=float, default=10.0)
    parser.add_argument("--keep-orphans", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def _wake_on_signals() -> int:
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, not SIG_IGN, which the service would inherit.
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    return read_fd


def _prctl_later(option: int, value: int) -> Callable[[], None] | None:
    if not IS_LINUX:
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(option, ctypes.c_ulong(value), 0, 0, 0) and None


def _prctl(option: int, value: int) -> None:
    if call := _prctl_later(option, value):
        call()


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _report(status_fd: int, line: str) -> None:
    # A killed stack does not read any more.
    with contextlib.suppress(OSError):
        os.write(status_fd, f"{line}\n".encode())


def _process_table() -> list[Row]:
    if IS_LINUX:
        names = os.listdir("/proc")  # noqa: PTH208 - pathlib costs start-up
        return [row for name in names if name.isdigit() and (row := _stat(name))]
    command = ["/bin/ps", "-A", "-o", "pid=,ppid=,pgid=,stat="]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listing:  # noqa: S603
        assert listing.stdout is not None  # noqa: S101 - for the type checker
        fields = [line.split() for line in listing.stdout]
    rows = [Row(int(f[0]), int(f[1]), int(f[2]), f[3].startswith("Z")) for f in fields]
    return [row for row in rows if row.pid != listing.pid]


def _stat(pid: str) -> Row | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib costs start-up
            # The name is in brackets and may contain spaces and brackets.
            state, parent, group = file.read().rpartition(b")")[2].split()[:3]
    except OSError:
        return None
    return Row(int(pid), int(parent), int(group), state == b"Z")


if __name__ == "__main__":
    raise SystemExit(main())
