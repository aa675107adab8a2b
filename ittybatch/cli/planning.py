"""The command that shows what a run would do."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter

from ittybatch.cli.output import Json, Profile, Wide, console, errors, print_json
from ittybatch.cli.plan_table import print_plan
from ittybatch.cli.sourcing import (
    NO_OPTIONS,
    USUAL,
    Options,
    SourceOptions,
    SourceText,
    source_of,
)
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.estimate import Estimate, estimate
from ittybatch.engine.options import BatchOptions, RunOptions
from ittybatch.engine.planning import Preview, preview
from ittybatch.engine.saving import save_plan
from ittybatch.engine.scope import settle
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.queries import past_durations
from ittybatch.settings import Settings
from ittybatch.sources import Source


def plan(
    source: SourceText,
    *,
    profile: Profile = "web",
    source_options: SourceOptions = NO_OPTIONS,
    options: Options = USUAL,
    save: Annotated[
        bool, Parameter(negative="", help="Save the plan as a batch; `approve` starts it.")
    ] = False,
    wide: Wide = False,
    json: Json = False,
) -> int:
    """Show what a run would submit and skip, and its estimated time and cost.

    Nothing is submitted. A saved plan, once approved, submits exactly what it showed.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    wanted = source_of(source, source_options)
    batch = None
    if save:
        with _reading() as show:
            asked = BatchOptions.model_validate(options.model_dump(exclude_unset=True))
            batch = save_plan(ledger, settings, wanted, profile, asked, on_page=show)
        found = Preview(counts=Counter(batch.counts))
        expected = estimate(found.counts, options, settings, ledger.read(past_durations))
    else:
        found, expected = preview_batch(settings, ledger, wanted, profile, options)
    if json:
        rejects = [
            {"line": each.line, "field": each.field, "reason": each.reason, "row": each.row}
            for each in found.rejects
        ]
        answer: dict[str, Any] = {"counts": found.counts, "estimate": asdict(expected)}
        answer |= {"batch": batch.id} if batch else {"sample": found.sample, "rejects": rejects}
        print_json(answer)
        return SUCCEEDED
    print_plan(found, expected, wide=wide)
    if batch:
        console.print(f"Saved as batch {batch.id}. Start it: ittybatch approve {batch.id}")
    return SUCCEEDED


def preview_batch(
    settings: Settings, ledger: Ledger, source: Source, profile: str, options: RunOptions
) -> tuple[Preview, Estimate]:
    """Read a source to its end; count the jobs of a run and estimate its time and cost.

    Raises:
        SourceError: The source cannot be read.
        ProfileError: The profile is missing or invalid.
    """
    with _reading() as show:
        settled, chosen = settle(ledger, source, profile, settings.profiles_dir)
        found = preview(
            ledger,
            settled,
            chosen,
            settings.profiles_dir,
            on_page=show,
            skip_existing=options.skip_existing,
            again=options.again,
        )
    return found, estimate(found.counts, options, settings, ledger.read(past_durations))


@contextmanager
def _reading() -> Iterator[Callable[[Mapping[str, int]], None]]:
    """Show a spinner on standard error, to keep standard output clean for programs."""
    with errors.status("Reading the source ...") as status:
        yield lambda counts: status.update(f"{counts['found']:,} items read ...")
