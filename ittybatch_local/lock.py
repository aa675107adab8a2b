"""One stack per home: a lock that is held until a stack and its services have ended."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ittybatch_local.errors import StackError

# The guards of a killed stack hold the lock until they have cleaned up.
CLEANUP_WAIT_S = 30.0
LOOK_EVERY_S = 0.1


@contextlib.contextmanager
def home_lock(home: Path) -> Iterator[int]:
    """Lock a home; yields the file descriptor, which the guards keep open, too.

    Raises:
        StackError: Another stack runs there.
    """
    path = home / "stack.lock"
    lock_fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(lock_fd, home)
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, f"{os.getpid()}\n".encode(), 0)
        try:
            yield lock_fd
        finally:
            # A waiting stack then knows that this one has ended and only its guards remain.
            os.ftruncate(lock_fd, 0)
    finally:
        os.close(lock_fd)


def _acquire(lock_fd: int, home: Path) -> None:
    deadline = time.monotonic() + CLEANUP_WAIT_S
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(lock_fd)
            if owner is not None and _is_alive(owner):
                raise StackError(
                    f"Another local stack (process {owner}) runs in {home}.",
                    remedy="Stop it, or set ITTYBATCH_HOME to another folder.",
                ) from None
            if time.monotonic() > deadline:
                raise StackError(
                    f"The services of an earlier stack in {home} have not ended after "
                    f"{CLEANUP_WAIT_S:g} s.",
                    remedy=f"List them with `fuser -v {home / 'stack.lock'}` and end them.",
                ) from None
            time.sleep(LOOK_EVERY_S)
        else:
            return


def _owner(lock_fd: int) -> int | None:
    text = os.pread(lock_fd, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another account
        pass
    return True
