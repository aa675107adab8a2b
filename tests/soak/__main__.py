"""`python -m tests.soak`: the long soak, on real processes. Exit status 0 if all of it holds."""

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ittybatch_local import LocalStack
from tests.end_to_end.system import System
from tests.soak.alone import DATABASES, alone
from tests.soak.operator import random_steps
from tests.soak.plan import CORE, Plan, random_kills
from tests.soak.run import LEASE_S, Soaked, reconciling, soak

SETTINGS = {
    "ITTYBATCH_LEASE_S": f"{LEASE_S:g}",
    # Longer than any deadline here: lost webhooks are found out by their deadline.
    "ITTYBATCH_POLL_AFTER_S": "300",
}
_RECONCILE_EVERY_S = 20.0
_WITHIN_S = 1200.0
console = Console()


def main() -> int:
    """Soak once for each seed."""
    asked = _arguments()
    first = asked.seed if asked.seed is not None else secrets.randbelow(1_000_000)
    results = []
    for seed in range(first, first + asked.seeds):
        console.rule(f"seed {seed}, ledger on {asked.database}")
        results.append(_soak_once(seed, asked))
    verdicts = [verdict for each in results for verdict in each.verdicts]
    lost = sum(len(each.lost) for each in verdicts)
    doubled = sum(len(each.doubled) for each in verdicts)
    holds = all(each.holds for each in results)
    console.print(
        f"{'All holds' if holds else 'IT DOES NOT HOLD'}: {len(results)} soaks on "
        f"{asked.database} from seed {first}, lost {lost}, doubled {doubled}.",
        style="green" if holds else "bold red",
    )
    return 0 if holds else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=main.__doc__)
    parser.add_argument("--jobs", type=int, default=3000, help="jobs a batch (3000)")
    parser.add_argument("--seed", type=int, help="of the first soak; a random one if not given")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds in a row (3)")
    parser.add_argument("--kills", type=int, default=12, help="SIGKILLs a soak (12)")
    parser.add_argument("--acts", type=int, default=2, help="rounds of an operator's acts (2)")
    parser.add_argument("--database", choices=DATABASES, default="postgres", help="of the ledger")
    return parser.parse_args()


def _soak_once(seed: int, asked: argparse.Namespace) -> Soaked:
    # Not a private folder: PostgreSQL does not run as root, and must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix=f"ittybatch-soak-{seed}-"))
    folder.chmod(0o755)
    kills = random_kills(seed, asked.kills, with_database=asked.database == "postgres")
    steps = random_steps(seed, asked.acts) if asked.acts else ()
    plan = Plan(seed, asked.jobs, tuple(kills), steps)
    console.print(f"seed {seed}, in {folder}: {plan.told()}", highlight=False)
    with (
        alone(folder, asked.database, SETTINGS),
        LocalStack(folder / "home", instant=True, seed=seed, on_event=_tell) as stack,
    ):
        system = System(stack)
        try:
            with reconciling(system, _RECONCILE_EVERY_S):
                soaked = soak(system, plan, folder, within_s=_WITHIN_S, tell=_tell)
        finally:
            system.close()
    _report(soaked)
    if soaked.holds:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(
            f"Kept: {folder}\nAgain: python -m tests.soak --database {asked.database} "
            f"--jobs {asked.jobs} --kills {asked.kills} --acts {asked.acts} --seeds 1 "
            f"--seed {seed}",
            highlight=False,
        )
    return soaked


def _report(soaked: Soaked) -> None:
    verdict = soaked.verdict
    table = Table(title=f"seed {soaked.plan.seed}, batch {soaked.batch}", title_justify="left")
    table.add_column("what")
    table.add_column("how many", justify="right")
    table.add_row("seconds from start to end", f"{soaked.took_s:,.0f}")
    table.add_row("SIGKILLs", str(soaked.kills.total()), end_section=False)
    for part in sorted({*soaked.kills, *CORE}):
        table.add_row(f"  of the {part}", str(soaked.kills[part]))
    table.add_row("acts of the operator", str(soaked.acts.total()))
    for act, count in sorted(soaked.acts.items()):
        table.add_row(f"  {act}", str(count))
    table.add_row("  too late", str(soaked.too_late))
    table.add_section()
    for what, count in verdict.wire.items():
        table.add_row(what, f"{count:,}")
    table.add_section()
    table.add_row("jobs", f"{sum(verdict.states.values()):,}")
    for state, count in sorted(verdict.states.items()):
        table.add_row(f"  {state}", f"{count:,}")
    table.add_row("attempts accepted", f"{verdict.attempts:,}")
    table.add_section()
    for name, beside in soaked.beside.items():
        table.add_row(f"{name}: jobs", f"{sum(beside.states.values()):,}")
        for state, count in sorted(beside.states.items()):
            table.add_row(f"  {state}", f"{count:,}")
    table.add_section()
    wrong = sum(len(each.wrong) for each in soaked.verdicts) + len(soaked.notes)
    table.add_row("lost", str(sum(len(each.lost) for each in soaked.verdicts)))
    table.add_row("doubled", str(sum(len(each.doubled) for each in soaked.verdicts)))
    table.add_row("wrong otherwise", str(wrong))
    console.print(table)
    if not soaked.holds:
        console.print(soaked.told(), style="red", highlight=False, markup=False)


def _tell(line: str) -> None:
    console.print(f"  {line}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
