"""What the processes that there are most of load before their first line."""

import subprocess
import sys

import pytest

from ittybatch.settings import CHECKOUT

# For those who analyse results. numpy comes with pandas, and libraries use it where it is there.
ANALYSIS = {"pandas", "numpy"}


def loaded(code: str) -> set[str]:
    """The modules that a new process has loaded after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {*done.stdout.split()}


def test_a_chunks_leg_loads_no_source() -> None:
    """A backfill has thousands of them, and the readers of sources take a sixth of the CPU."""
    found = loaded("import ittybatch.flows.process_chunk")
    assert "ittybatch.engine.dispatch" in found
    unwanted = {"ittybatch.sources", "ittybatch.engine.planning", "boto3", "pyarrow"}
    assert not (unwanted | ANALYSIS) & found


@pytest.mark.parametrize("module", ["ittybatch.receiver.app", "ittybatch.flows.run_batch"])
def test_nothing_loads_parquet_before_it_is_read_or_written(module: str) -> None:
    """Receivers hardly ever do; pyarrow and numpy take 40 MB of memory."""
    assert not {"pyarrow", "prefect.workers", *ANALYSIS} & loaded(f"import {module}")


@pytest.mark.parametrize("code", ["import ittybatch", "import ittybatch.cli.app"])
def test_a_command_starts_without_what_it_may_not_need(code: str) -> None:
    """The package offers its functions by name, and loads them when they are used."""
    heavy = {"prefect", "pyarrow", "ittybatch.analysis"}
    assert not (heavy | ANALYSIS) & loaded(code)
    assert {"results", "compare"} <= {*dir(__import__("ittybatch"))}


def test_pandas_is_loaded_when_a_frame_is_made() -> None:
    """Not by importing what makes them."""
    before = "from ittybatch.analysis.frames import TEXT, frame_of, page_of"
    assert "pandas" not in loaded(f"import ittybatch; ittybatch.results\n{before}")
    frame = "frame_of(page_of({'input': TEXT}, [{'input': 'a.mov'}]))"
    assert loaded(f"{before}\n{frame}") >= ANALYSIS
