"""`python -m bench [NAME...]`: measure, and print each figure beside its reference."""

import argparse
import json
import sys
from collections.abc import Iterable
from statistics import median

from rich.console import Console
from rich.table import Table

from bench import (
    batch,
    dispatch,
    growth,
    intake,
    listing,
    manifest,
    memory,
    nightly,
    page,
    receiver,
    size,
    waiting,
    wake,
)
from bench.databases import DATABASES, is_available, ledgers
from bench.figure import Figure

BENCHES = {
    "dispatch": dispatch.measure,
    "intake": intake.measure,
    "listing": listing.measure,
    "manifest": manifest.measure,
    "memory": memory.measure,
    "nightly": nightly.measure,
    "receiver": receiver.measure,
}
# These take minutes, most of them for the whole system: measured when asked for by name.
WHOLE = {
    "batch": batch.measure,
    "growth": growth.measure,
    "page": page.measure,
    "size": size.measure,
    "waiting": waiting.measure,
    "wake": wake.measure,
}
notes = Console(stderr=True)


def main() -> int:
    """Measure what was asked for. Targets are told, never enforced: machines differ."""
    asked = _arguments()
    names = list(dict.fromkeys(asked.names)) or list(BENCHES)
    figures: list[Figure] = []
    for database in asked.database or DATABASES:
        if not is_available(database):
            notes.print(f"{database}: not installed, so not measured.", style="yellow")
            continue
        with ledgers(database) as new_ledger:
            for name in names:
                with notes.status(f"{name} on {database}: {asked.rounds} rounds ..."):
                    figures += (BENCHES | WHOLE)[name](database, new_ledger, asked.rounds)
    if asked.json:
        json.dump([figure.as_json() for figure in figures], sys.stdout, indent=2)
        print()
    else:
        Console().print(_table(figures))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=main.__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, *WHOLE, []], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (5)")
    parser.add_argument(
        "--database", action="append", choices=DATABASES, help="only this one; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    return parser.parse_args()


def _table(figures: Iterable[Figure]) -> Table:
    table = Table(title="medians of alternating rounds", title_justify="left")
    for heading in ("figure", "measured", "beside", "measured", "ratio", "lowest", "target"):
        table.add_column(heading, justify="right" if heading in {"measured", "ratio"} else "left")
    for figure in figures:
        table.add_row(
            figure.what,
            f"{median(figure.ours):,.0f} {figure.unit}",
            figure.reference,
            f"{median(figure.theirs):,.0f} {figure.unit}",
            f"{median(figure.ratios):.2f}",
            f"{min(figure.ratios):.2f}",
            figure.target,
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
