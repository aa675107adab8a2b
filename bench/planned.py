"""Plans one manifest, in a process of its own, and prints what it took as JSON."""

import csv
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.databases import open_at
from ittybatch.engine.planning import plan_batch
from ittybatch.engine.reports.rejects import write_rejects_file
from ittybatch.ledger.batches import open_batch
from ittybatch.settings import CHECKOUT
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
_WITH_PANDAS = CHECKOUT / ".venv-bench" / "bin" / "python"


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


def planned(manifest: Path, url: str) -> Planned:
    """Plan a manifest, in a process of its own."""
    return _told_by([sys.executable, "-m", "bench.planned", str(manifest), url])


def with_pandas(manifest: Path, url: str) -> Planned:
    """Write a manifest's rows as they stand into one table, with pandas.

    Nothing is checked, keyed, rejected or kept from being made twice.

    Raises:
        RuntimeError: pandas is not installed.
    """
    if not _WITH_PANDAS.exists():
        raise RuntimeError(f"{_WITH_PANDAS} is missing: `make bench` installs pandas there.")
    return _told_by(
        [str(_WITH_PANDAS), str(CHECKOUT / "bench" / "with_pandas.py"), str(manifest), url]
    )


def _told_by(command: list[str]) -> Planned:
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=1800)
    return Planned(**json.loads(done.stdout))


def _plan(manifest: str, url: str) -> tuple[int, int]:
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


def _peak_mb() -> float:
    # What `getrusage` tells begins with the peak of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [peak] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak) / 1024


def _main() -> None:
    manifest, url = sys.argv[1:]
    began_s = time.perf_counter()
    jobs, rejected = _plan(manifest, url)
    took_s = time.perf_counter() - began_s
    json.dump(
        {"jobs": jobs, "rejected": rejected, "took_s": took_s, "peak_mb": _peak_mb()}, sys.stdout
    )


if __name__ == "__main__":
    _main()
