"""The counts of a plan as text, and the output of `ittybatch plan`."""

from collections.abc import Mapping
from typing import get_args

from ittybatch.cli.output import Column, console, print_table
from ittybatch.engine.amounts import format_total
from ittybatch.engine.estimate import Estimate
from ittybatch.engine.plan_counts import describe_counts
from ittybatch.engine.planning import Preview
from ittybatch.sources.rules import Litter, left_out_by_rule, nothing_left


def plan_lines(counts: Mapping[str, int]) -> list[str]:
    """Describe a plan's counts for `ittybatch status`, which shows renditions separately."""
    return [
        f"{count:,} {words}"
        for count, words in describe_counts(counts)
        if not words.startswith("jobs of rendition ")
    ]


def print_plan(found: Preview, expected: Estimate, *, wide: bool) -> None:
    """Print what a run would do, what it may cost, and the first jobs and rejected rows."""
    if nothing := nothing_left(found.counts):
        console.print(nothing, markup=False)
    columns = (Column.number("Count"), Column("What", prose=True))
    print_table("Plan", columns, describe_counts(found.counts), wide=wide)
    if litter := [name for name in left_out_by_rule(found.counts) if name in get_args(Litter)]:
        wanted = " ".join(f"--include {name}" for name in litter)
        console.print(f"To plan what a rule leaves out: {wanted}", markup=False)
    size = format_total(found.counts["bytes"], found.counts["items"])
    console.print(f"Size of the sources: {size}")
    console.print(f"Cost: {expected.describe_cost()}", markup=False)
    console.print(f"Time: {expected.describe_time()}", markup=False)
    if found.sample:
        print_table(
            "First jobs",
            (
                Column("Input", cut=True),
                "Rendition",
                Column("Kind", from_width=100),
                Column("Destination", cut=True),
            ),
            [tuple(row.values()) for row in found.sample],
            wide=wide,
        )
    if found.rejects:
        print_table(
            "First rejected rows",
            (
                Column.number("Line"),
                Column("Field", from_width=100),
                Column("Reason", prose=True),
                Column("Row", cut=True),
            ),
            [(each.line, each.field, each.reason, each.row) for each in found.rejects],
            wide=wide,
        )
