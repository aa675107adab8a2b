"""The memory of planning: a manifest of a million rows beside one of ten thousand."""

import tempfile
from pathlib import Path

from bench.databases import NewLedger
from bench.figure import Figure
from bench.manifests import write_manifest
from bench.planned import planned

MANY, FEW = 1_000_000, 10_000


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Peak memory of the process that plans; once, for it hardly varies."""
    del rounds
    with tempfile.TemporaryDirectory() as folder:
        peaks_mb = []
        for rows in (MANY, FEW):
            manifest = Path(folder) / f"{rows}.csv"
            write_manifest(manifest, rows)
            peaks_mb.append(planned(manifest, new_ledger()).peak_mb)
    many, few = peaks_mb
    return [
        Figure(
            bench="memory",
            what=f"{database}: peak memory of planning {MANY:,} rows",
            unit="MB",
            ours=[many],
            reference=f"{FEW:,} rows",
            theirs=[few],
            target="at most 100 MB above",
        )
    ]
