"""One stack a home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ittybatch_local.errors import StackError
from ittybatch_local.lock import home_lock

HOLDER = """
import sys, time
from pathlib import Path
from ittybatch_local.lock import home_lock
with home_lock(Path(sys.argv[1])) as lock_fd:
    if sys.argv[2:] == ["leave a guard"]:
        import subprocess
        subprocess.Popen(["sleep", "1"], pass_fds=[lock_fd], stdout=subprocess.DEVNULL)
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_stack_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    """Two stacks on one home would share a database's files."""
    holder = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(holder, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(StackError) as caught, home_lock(tmp_path):
            pass
        first.kill()
    assert f"process {first.pid}" in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert "ITTYBATCH_HOME" in str(caught.value)


def test_a_home_is_free_again_after_its_stack(tmp_path: Path) -> None:
    """A normal end releases the lock."""
    for _ in range(2):
        with home_lock(tmp_path) as lock_fd:
            assert os.pread(lock_fd, 32, 0).decode().strip() == str(os.getpid())


def test_a_killed_stack_is_waited_for_while_its_guards_clean_up(tmp_path: Path) -> None:
    """The next start waits until its services have ended."""
    holder = [sys.executable, "-c", HOLDER, str(tmp_path), "leave a guard"]
    with subprocess.Popen(holder, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        first.kill()
    with home_lock(tmp_path):
        pass


def test_guards_that_never_end_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting has a deadline, and the message says where to look."""
    monkeypatch.setattr("ittybatch_local.lock.CLEANUP_WAIT_S", 0.2)
    holder = [sys.executable, "-c", HOLDER, str(tmp_path), "leave a guard"]
    with subprocess.Popen(holder, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        first.kill()
    with pytest.raises(StackError, match=r"have not ended.*stack\.lock"), home_lock(tmp_path):
        pass
