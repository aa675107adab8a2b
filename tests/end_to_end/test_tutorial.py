"""The tutorial's commands, one after the other, as a reader types them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import fences
from tests.end_to_end.system import System

# Each command is a process or two; it takes a minute on a machine with nothing else to do.
_WITHIN_S = 400

pytestmark = pytest.mark.timeout(500)


def test_the_tutorial_runs_as_it_is_written(system: System, tmp_path: Path) -> None:
    """From an empty folder to a nightly batch with a report."""
    (tmp_path / ".ittybatch").symlink_to(system.stack.home)
    commands = [
        each.text for each in fences("sh", what="tutorial") if each.page == "docs/tutorial.md"
    ]
    log = tmp_path / "log.txt"
    bin_folder = Path(sys.executable).parent
    with log.open("w") as output:
        ended = subprocess.run(
            ["timeout", str(_WITHIN_S), "bash", "-euxo", "pipefail", "-c", "\n".join(commands)],
            cwd=tmp_path,
            env={"PATH": f"{bin_folder}:{os.environ['PATH']}", "HOME": str(tmp_path)},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    said = log.read_text()
    assert ended.returncode == 0, said
    assert "s3://tutorial/uploads/red.png" in said
    assert "0 of 0 jobs succeeded" in said, "the second run submits nothing"
    assert "run-batch/nightly" in said, "deploy says what it applied"
    assert "uploads/blue.png" in (tmp_path / "report.html").read_text()
    assert "reports/" in said
    assert "report.csv" in said
    assert '"output_url":"http' in said, "the request for a format of its own has its result"
    newest = system.newest("s3://tutorial/uploads/")
    assert {job.input for job in system.jobs(newest)} == {"s3://tutorial/uploads/blue.png"}
