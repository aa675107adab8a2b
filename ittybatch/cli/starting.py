"""The command that starts a batch."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from cyclopts import Parameter
from rich.prompt import Confirm

from ittybatch.cli.following import await_batch, follow_run
from ittybatch.cli.output import Json, Profile, console, errors, print_json
from ittybatch.cli.planning import preview_batch
from ittybatch.cli.recording import recorded_if_possible
from ittybatch.cli.sourcing import (
    NO_OPTIONS,
    USUAL,
    Options,
    SourceOptions,
    SourceText,
    source_of,
)
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.amounts import format_count
from ittybatch.engine.flow_runs import open_flow_runs, require_prefect
from ittybatch.engine.options import RunOptions
from ittybatch.engine.recording import Record
from ittybatch.engine.starting import start_batch
from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import shown_source
from ittybatch.ledger import open_ledger
from ittybatch.profiles import load_profile, refuse_overlap
from ittybatch.profiles.registry import find_profile
from ittybatch.project import CHECKOUT, PROFILES_DIR
from ittybatch.settings import Settings
from ittybatch.sources import Source, scanned_folders
from ittybatch.sources.failed import EVERY_BATCH

_AWAIT_BATCH_S = 15.0


Follow = Annotated[bool, Parameter(negative="", help="Show progress until the batch has ended.")]


def run(
    source: SourceText,
    *,
    profile: Profile = "web",
    source_options: SourceOptions = NO_OPTIONS,
    options: Options = USUAL,
    deployment: Annotated[
        str, Parameter(help="The deployment of run-batch to start: adhoc, backfill, ...")
    ] = "adhoc",
    follow: Follow = False,
    yes: Annotated[
        bool, Parameter(negative="", help="With --again: do not ask for confirmation.")
    ] = False,
    json: Json = False,
) -> int:
    """Start a batch: create a flow run of a deployment, which a worker starts.

    Options that are not given are those of the deployment. `--again` first shows the number and
    estimated cost of jobs, and asks for confirmation.
    """
    if options.dry_run and follow:
        raise IttybatchError(
            "`--follow` shows a batch, but `--dry-run` creates none.",
            remedy="Leave out one of them; `ittybatch plan` shows here what a run would do.",
        )
    settings = Settings()
    wanted = source_of(source, source_options)
    # Report mistakes here and now, not in the log of a flow run.
    chosen = load_profile(profile, settings.profiles_dir)
    if folders := scanned_folders(wanted):
        refuse_overlap(chosen, folders)
    parameters: dict[str, Any] = {
        # Prefect refuses nulls for parameters that offer a choice.
        "source": wanted.model_dump(mode="json", exclude_none=True),
        "profile": _shared_profile(profile, settings),
    }
    given = options_given(options)
    if options.again and not options.dry_run:
        count = _confirm_again(settings, wanted, profile, options, yes=yes)
        if count is None:
            return SUCCEEDED
        # The flow asks for approval if it finds more jobs than were confirmed here. With --yes
        # nobody saw the count, so a lower limit still applies.
        limit = given.get("approve_above_jobs") if yes else None
        given["approve_above_jobs"] = count if limit is None else min(count, limit)
    if given:
        parameters["options"] = given
    return start(settings, deployment, parameters, follow=follow, json=json)


def options_given(options: RunOptions) -> dict[str, Any]:
    """Return the options that were given, as parameters of a flow run."""
    return options.model_dump(mode="json", exclude_unset=True)


def start(
    settings: Settings, deployment: str, parameters: dict[str, Any], *, follow: bool, json: bool
) -> int:
    """Start a flow run of a deployment of run-batch, and print its batch's id.

    Args:
        settings: Settings with the address of the ledger.
        deployment: The deployment's name, without the flow's name.
        parameters: The flow run's parameters.
        follow: Whether to show progress until the batch has ended.
        json: Whether to print JSON.

    Returns:
        The exit status.
    """
    require_prefect()
    with open_flow_runs() as flow_runs:
        with _recorded(settings, deployment, parameters) as record:
            flow_run = start_batch(
                flow_runs,
                deployment,
                parameters,
                tags=["started-by:cli"],
                idempotency_key=str(uuid4()),
            )
            record.outcome = f"Started flow run {flow_run}."
            # A dry run creates no batch that the page could wait for.
            if not parameters.get("options", {}).get("dry_run"):
                record.details["flow_run_id"] = flow_run
        if follow:
            ledger = open_ledger(settings)
            return follow_run(ledger, flow_runs, flow_run, home=settings.home, json=json)
        url = flow_runs.url(flow_run)
        if json:
            print_json({"flow_run_id": flow_run, "url": url})
            return SUCCEEDED
        console.print(f"Started flow run {flow_run}: {url}")
        if parameters.get("options", {}).get("dry_run"):
            console.print("It creates no batch. Its plan is among the flow run's artifacts.")
            return SUCCEEDED
        try:
            batch = await_batch(open_ledger(settings), flow_runs, flow_run, within_s=_AWAIT_BATCH_S)
        except (KeyboardInterrupt, IttybatchError):
            # The flow run has started anyway.
            batch = None
    if batch is None:
        errors.print(
            "No worker has started it yet. `ittybatch doctor` shows whether a worker is running."
        )
    else:
        console.print(f"Batch {batch}")
    console.print(f"Follow it: ittybatch follow {batch or flow_run}")
    return SUCCEEDED


def _recorded(
    settings: Settings, deployment: str, parameters: Mapping[str, Any]
) -> AbstractContextManager[Record]:
    """Record what is started: a batch, or a retry of another one's jobs."""
    source = shown_source(parameters["source"])
    of_batch = source.get("batch")
    return recorded_if_possible(
        settings,
        "run" if of_batch is None else "retry",
        batch=None if of_batch == EVERY_BATCH else of_batch,
        details={**parameters, "source": source, "deployment": deployment},
    )


def _confirm_again(
    settings: Settings, source: Source, profile: str, options: RunOptions, *, yes: bool
) -> int | None:
    """Show what `--again` would submit and what it may cost, and ask.

    Returns:
        The number of confirmed jobs; None if there is nothing to do or the user declined.
    """
    found, expected = preview_batch(settings, open_ledger(settings), source, profile, options)
    count, before = found.counts["jobs"], found.counts["again"]
    errors.print(
        f"{format_count(count, 'job')} to submit; {before:,} of them were made before. Each may "
        "be billed again, and overwrites its output.\n"
        f"Cost: {expected.describe_cost()}",
        markup=False,
    )
    if not count or yes:
        return count or None
    if not sys.stdin.isatty():
        raise IttybatchError(
            "Nothing was started: --again asks before it submits, and there is no terminal to ask.",
            remedy="Add --yes to confirm.",
        )
    if Confirm.ask("Submit them?", console=errors, default=False):
        return count
    errors.print("Nothing was started.")
    return None


def _shared_profile(profile: str, settings: Settings) -> str:
    """Name a profile so that a worker, which runs in another folder, finds the same file."""
    if "/" in profile or profile.endswith((".yaml", ".yml")):
        # Not `resolve`: the profile is named after the link, not after its target.
        return str(Path(profile).expanduser().absolute())
    folder = settings.profiles_dir
    if "profiles_dir" in settings.model_fields_set or folder == CHECKOUT / PROFILES_DIR:
        return profile
    # Under this name the worker would find the package's profile instead.
    return str(find_profile(profile, folder).absolute())
