"""The notebook of the documentation, cell by cell, against a real stack."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ittybatch.settings import CHECKOUT
from tests.end_to_end.system import System

NOTEBOOK = CHECKOUT / "docs" / "analysis.ipynb"
_WITHIN_S = 300

pytestmark = pytest.mark.timeout(360)


def test_the_notebook_runs_as_it_is_written(system: System, tmp_path: Path) -> None:
    """From a DataFrame, by the worker, to results: one picture is broken, the others are made."""
    copy = tmp_path / NOTEBOOK.name
    shutil.copy(NOTEBOOK, copy)
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "scripts" / "notebook.py"), str(copy)],
        cwd=tmp_path,
        env=system.stack.process_environment(),
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cells = [
        json.dumps(cell["outputs"])
        for cell in json.loads(copy.read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    said = "\n".join(cells)
    assert "'jobs': 12, 'succeeded': 10, 'failed': 2" in said
    assert "would fail again" in said
    assert "must be an s3://" in said
    [batch] = [each for each in system.recent() if each.name == "pictures"]
    system.assert_both_sides_agree(batch.id)
    assert (system.stack.home / "manifests").is_dir()
