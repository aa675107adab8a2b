"""A nightly batch over a bucket in which nothing has changed, beside the bare listing of it.

The first night plans everything, unmeasured. Then one object changes, and its renditions are
all that is planned.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.databases import NewLedger, open_at
from bench.figure import Figure
from bench.listing import BUCKET, bucket, list_ours
from bench.objects import PREFIX
from ittybatch.engine.planning import plan_batch
from ittybatch.engine.scope import settle
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import open_batch
from ittybatch.sources import BucketSource

OBJECTS = 100_000
CHANGED = 4_711
RENDITIONS = 2
_PROFILE = """
name: bench
renditions:
  - { name: 720p, kind: video, options: { format: mp4, height: 720 } }
  - { name: poster, kind: image, options: { format: webp, start: 2 } }
"""


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Measure nights and listings in turn, after a first night that plans everything."""
    nights: list[float] = []
    listings: list[float] = []
    ledger = open_at(new_ledger())
    try:
        with bucket(OBJECTS):
            _night(ledger, OBJECTS * RENDITIONS)
            for _ in range(rounds):
                nights.append(_night(ledger, 0))
                listings.append(_listing())
        with bucket(OBJECTS, changed=CHANGED):
            _night(ledger, RENDITIONS)
    finally:
        ledger.close()
    what = f"a night over {OBJECTS:,} unchanged objects on {database}"
    return [Figure("nightly", what, "s", nights, "listing them", listings, "at most 1.5")]


def _night(ledger: Ledger, expected_jobs: int) -> float:
    """Plan the bucket as a nightly batch does; gives the seconds it took."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "bench.yaml").write_text(_PROFILE, encoding="utf-8")
        began = time.perf_counter()
        source = BucketSource(uri=f"s3://{BUCKET}/{PREFIX}")
        source, profile = settle(ledger, source, "bench", Path(folder))  # type: ignore[assignment]
        batch = ledger.write(
            open_batch,
            flow_run_id=None,
            deployment_id=None,
            name="nightly",
            source=source.model_dump(mode="json", exclude_none=True),
            profile=profile.model_dump(mode="json"),
            options={},
        )
        planned = plan_batch(ledger, batch, source, Path(folder), chunk_size=200)
        taken_s = time.perf_counter() - began
    jobs = planned.counts.get("jobs", 0)
    if planned.counts["found"] != OBJECTS or jobs != expected_jobs:
        raise RuntimeError(f"{jobs} jobs were planned, and not {expected_jobs}: {planned.counts}")
    return taken_s


def _listing() -> float:
    began = time.perf_counter()
    if list_ours() != OBJECTS:
        raise RuntimeError("Not every object was listed.")
    return time.perf_counter() - began
