"""`python -m tests.soak.backfill`: a whole backfill, on real processes, with all that befalls it.

It is slowed, made fast again, paused, resumed, passed by a nightly batch, and killed together
with everything around it. Exit status 0 if it ends by itself all the same, and ledger, report
and the other side of the wire agree on every job.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import ittybatch
from ittybatch_local import LocalStack
from tests.end_to_end.system import System
from tests.soak.alone import DATABASES, alone
from tests.soak.passing import Passing
from tests.soak.sizes import Sizes
from tests.soak.story import Story

_FAULTS = {
    "seed": 20_000,
    # An answer and a job take their time, as they do at Ittybit: something is under way whenever
    # somebody pauses, or everything dies.
    "api": {"slow": {"probability": 1, "seconds": 0.5}},
    "webhooks": {"delayed": {"probability": 1, "seconds": 4}},
    # Some jobs fail once, a few for good: a report of successes alone would prove less.
    "jobs": [
        {"action": "fail_once", "probability": 0.01},
        {
            "action": "fail_always",
            "probability": 0.001,
            "error": {"kind": "invalid_input", "message": "the file is not media"},
        },
    ],
}
_ENDS_WITHIN_S = 1800.0
console = Console()


def main() -> int:
    """Take one backfill through everything that may befall it."""
    asked = _arguments()
    sizes = Sizes.of(asked.jobs)
    # Not a private folder: PostgreSQL does not run as root, and must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="ittybatch-backfill-"))
    folder.chmod(0o755)
    console.rule(f"{asked.jobs:,} jobs, ledger on {asked.database}")
    _tell(f"in {folder}, with the product in {Path(ittybatch.__file__).parent}; {sizes}")
    with (
        alone(folder, asked.database, sizes.settings),
        LocalStack(folder / "home", instant=True, on_event=_tell) as stack,
    ):
        system = System(stack)
        passing = Passing(system, sizes, folder, _tell)
        try:
            with system.wire.faults(_FAULTS):
                story = passing.go_through(end_within_s=_ENDS_WITHIN_S)
        except AssertionError as error:
            story = passing.story
            story.wrong.append(str(error))
        finally:
            system.close()
    _report(story)
    if story.wrong:
        console.print(f"Kept: {folder}", highlight=False)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.backfill", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, help="of the backfill (20000)")
    parser.add_argument("--database", choices=DATABASES, default="postgres", help="of the ledger")
    return parser.parse_args()


def _report(story: Story) -> None:
    table = Table(title="Backfill", title_justify="left", show_header=False)
    for what, figure in story.figures.items():
        table.add_row(what, figure)
    console.print(table)
    for line in story.wrong:
        console.print(f"WRONG: {line}", style="red", highlight=False, markup=False)
    told = "IT DOES NOT HOLD" if story.wrong else "All holds: report, ledger and sandbox agree"
    console.print(f"{told}.", style="bold red" if story.wrong else "green")


def _tell(line: str) -> None:
    console.print(f"  {time.strftime('%H:%M:%S')} {line}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
