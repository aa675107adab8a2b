"""Manifest to planned jobs, beside pandas, which writes the rows as they stand."""

import tempfile
from pathlib import Path

from bench.databases import NewLedger
from bench.figure import Figure
from bench.manifests import write_manifest
from bench.planned import Planned, planned, with_pandas

ROWS = 1_000_000
_MAX_ROUNDS = 2


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Rows a second of a manifest of a million, 3 % of them bad in ten ways."""
    ours: list[Planned] = []
    theirs: list[Planned] = []
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "items.csv"
        bad = write_manifest(manifest, ROWS)
        for _ in range(min(rounds, _MAX_ROUNDS)):
            theirs.append(with_pandas(manifest, new_ledger()))
            ours.append(planned(manifest, new_ledger()))
    for each in ours:
        if (each.jobs, each.rejected) != (ROWS - bad, bad):
            raise RuntimeError(f"Of {ROWS} rows, {bad} of them bad, came {each}.")
    return [
        Figure(
            bench="manifest",
            what=f"{database}: manifest to planned jobs",
            unit="rows/s",
            ours=[ROWS / each.took_s for each in ours],
            reference="pandas with `to_sql`",
            theirs=[ROWS / each.took_s for each in theirs],
            target="at least 50,000 rows/s on SQLite",
        )
    ]
