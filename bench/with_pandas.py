"""Writes a manifest's rows into one table with pandas, and prints what it took as JSON.

For a Python that has pandas and nothing of this product: nothing else is imported here.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
from sqlalchemy import create_engine

_ROWS_A_BLOCK = 5000


def _main() -> None:
    manifest, url = sys.argv[1:]
    began_s = time.perf_counter()
    engine = create_engine(url)
    written = 0
    # As people do it: what has too many cells is dropped, everything else is text.
    for block in pd.read_csv(manifest, dtype=str, on_bad_lines="skip", chunksize=_ROWS_A_BLOCK):
        block.to_sql("plain_jobs", engine, if_exists="append", index=False)
        written += len(block)
    engine.dispose()
    took_s = time.perf_counter() - began_s
    # What `getrusage` tells begins with the peak of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [peak] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    json.dump(
        {"jobs": written, "rejected": 0, "took_s": took_s, "peak_mb": int(peak) / 1024}, sys.stdout
    )


if __name__ == "__main__":
    _main()
