"""Reports as their readers find them, beside the ledger's rows."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ittybatch.ledger.results import JobRow

_CELLS = ("input", "rendition", "kind", "status", "attempts", "task_id", "output_url")


def compare(report: Path, rows: Iterable[JobRow]) -> tuple[int, int]:
    """Compare a report in JSON or CSV with a batch's jobs.

    Returns:
        How many jobs it tells of, and how many of either side the other has not, or otherwise.
    """
    told = Counter(map(_texts, _entries(report)))
    ours = Counter(_texts(_row(row)) for row in rows)
    return told.total(), (told - ours).total() + (ours - told).total()


def _entries(report: Path) -> list[Mapping[str, Any]]:
    if report.suffix == ".json":
        entries: list[Mapping[str, Any]] = json.loads(report.read_text())["jobs"]
        return entries
    with report.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _row(row: JobRow) -> dict[str, Any]:
    same = {name: getattr(row, name) for name in _CELLS if name != "status"}
    return {**same, "status": row.state.value}


def _texts(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple("" if entry[name] is None else str(entry[name]) for name in _CELLS)
