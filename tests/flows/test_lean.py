"""What the process of a chunk's leg loads before its first line."""

import subprocess
import sys

from ittybatch.settings import CHECKOUT

_TOLD = "import ittybatch.flows.process_chunk, sys; print(*sys.modules)"


def test_a_chunks_leg_loads_no_source() -> None:
    """A backfill has thousands of them, and the readers of sources take a sixth of the CPU."""
    done = subprocess.run(
        [sys.executable, "-c", _TOLD], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "ittybatch.engine.dispatch" in loaded
    assert not {"ittybatch.sources", "ittybatch.engine.planning", "boto3", "pyarrow"} & {*loaded}
