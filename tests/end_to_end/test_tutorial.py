"""The tutorial's commands, one after the other, as a reader types them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import fences
from tests.end_to_end.system import System

_WITHIN_S = 150


def test_the_tutorial_runs_as_it_is_written(system: System, tmp_path: Path) -> None:
    """From an empty folder to a nightly batch with a report."""
    (tmp_path / ".ittybatch").symlink_to(system.stack.home)
    commands = [
        each.text for each in fences("sh", what="tutorial") if each.page == "docs/tutorial.md"
    ]
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=tmp_path,
        env={"PATH": f"{bin_folder}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "s3://tutorial/uploads/red.png" in done.stdout
    assert "0 of 0 jobs succeeded" in done.stdout, "the second run submits nothing"
    assert "run-batch/nightly" in done.stdout, "deploy says what it applied"
    assert "uploads/blue.png" in (tmp_path / "report.html").read_text()
    assert "reports/" in done.stdout
    assert "report.csv" in done.stdout
    newest = system.newest("s3://tutorial/uploads/")
    assert {job.input for job in system.jobs(newest)} == {"s3://tutorial/uploads/blue.png"}
