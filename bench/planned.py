"""Plans one manifest, in a process of its own, and prints what it took as JSON."""

import csv
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, Table, Text, insert

from bench.databases import open_at
from ittybatch.engine.planning import plan_batch
from ittybatch.engine.reports.rejects import write_rejects_file
from ittybatch.ledger.batches import open_batch
from ittybatch.sources import ManifestSource

_PROFILE = {
    "name": "bench",
    "renditions": [
        {
            "name": "480p",
            "kind": "video",
            "options": {"height": 480, "format": "mp4"},
            "destination": "s3://out/{key}/{rendition}.{ext}",
        }
    ],
}
_CHUNK_ITEMS = 500
_ROWS_A_BLOCK = 5000


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning a manifest took.

    Args:
        jobs: Jobs planned, or rows written.
        rejected: Rows in the rejects file.
        took_s: From opening the manifest to the rejects file's end.
        peak_mb: The most memory that the process ever had.
    """

    jobs: int
    rejected: int
    took_s: float
    peak_mb: float


def planned(how: str, manifest: Path, url: str) -> Planned:
    """Plan a manifest with `ittybatch` or the `reference`, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.planned", how, str(manifest), url],
        stdout=subprocess.PIPE,
        check=True,
        timeout=1800,
    )
    return Planned(**json.loads(done.stdout))


def _ittybatch(manifest: str, url: str) -> tuple[int, int]:
    ledger = open_at(url)
    source = ManifestSource(uri=manifest)
    batch = ledger.write(
        open_batch,
        flow_run_id=None,
        deployment_id=None,
        name="bench",
        source=source.model_dump(mode="json"),
        profile=_PROFILE,
        options={},
    )
    with tempfile.TemporaryDirectory() as folder:
        batch = plan_batch(ledger, batch, source, Path(folder), chunk_size=_CHUNK_ITEMS)
        rejects = write_rejects_file(ledger, batch.id, Path(folder))
        lines = 0
        if rejects is not None:
            with rejects.open(encoding="utf-8", newline="") as file:
                lines = sum(1 for _ in csv.DictReader(file))
    ledger.close()
    return int(batch.counts["jobs"]), lines


def _reference(manifest: str, url: str) -> tuple[int, int]:
    """Rows as they stand into one table: nothing is checked, keyed, rejected or kept apart."""
    engine = open_at(url).engine
    written = 0
    with Path(manifest).open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, restkey="more")
        table = Table(
            "plain_jobs",
            metadata := MetaData(),
            Column("id", Integer, primary_key=True),
            *(Column(name, Text) for name in _columns(manifest)),
        )
        metadata.create_all(engine)
        while block := list(islice(rows, _ROWS_A_BLOCK)):
            for row in block:
                row.pop("more", None)
            with engine.begin() as connection:
                connection.execute(insert(table), block)
            written += len(block)
    engine.dispose()
    return written, 0


def _columns(manifest: str) -> list[str]:
    with Path(manifest).open(encoding="utf-8") as file:
        return file.readline().strip().split(",")


def _peak_mb() -> float:
    # What `getrusage` tells begins with the peak of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [peak] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak) / 1024


def _main() -> None:
    how, manifest, url = sys.argv[1:]
    began_s = time.perf_counter()
    jobs, rejected = (_ittybatch if how == "ittybatch" else _reference)(manifest, url)
    took_s = time.perf_counter() - began_s
    json.dump(
        {"jobs": jobs, "rejected": rejected, "took_s": took_s, "peak_mb": _peak_mb()}, sys.stdout
    )


if __name__ == "__main__":
    _main()
