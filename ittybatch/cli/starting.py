"""Commands that start batches, or tell what one would do."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args
from uuid import uuid4

from cyclopts import Parameter
from pydantic import ValidationError

from ittybatch.cli.following import follow_run
from ittybatch.cli.output import Json, Profile, console, print_json, print_table, refused
from ittybatch.cli.sourcing import NO_OPTIONS, SourceOptions, SourceText, source_of
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.amounts import format_total
from ittybatch.engine.estimate import Estimate, estimate
from ittybatch.engine.flow_runs import open_flow_runs
from ittybatch.engine.options import BatchOptions, Priority
from ittybatch.engine.plan_counts import NOT_SUBMITTED
from ittybatch.engine.planning import Preview, preview, wanted_of
from ittybatch.engine.saving import save_plan
from ittybatch.engine.scope import settle
from ittybatch.errors import IttybatchError
from ittybatch.ledger import open_ledger
from ittybatch.ledger.queries import find_batch, past_durations
from ittybatch.ledger.retrying import ended_jobs
from ittybatch.profiles import load_profile, refuse_overlap
from ittybatch.settings import Settings
from ittybatch.sources import FailedJobsSource, scanned_folders
from ittybatch.sources.failed import EVERY_BATCH, RetryableState
from ittybatch.sources.rules import Litter, describe_rule, left_out_by_rule, nothing_left

Follow = Annotated[bool, Parameter(negative="", help="Show progress until the batch has ended.")]
Skip = Annotated[
    bool,
    Parameter(negative="", help="Look at each destination; leave out jobs whose output is there."),
]
_RENDITION = "rendition:"
_PLAN_LINES = (
    ("found", "items found"),
    ("items", "items with something to do"),
    ("jobs", "jobs to submit"),
    *((name, f"jobs {why}") for name, why in NOT_SUBMITTED.items()),
    ("skipped", "renditions that a condition excludes"),
    ("without_rendition", "items that no rendition wants"),
    ("rejected", "rows and items that could not be used"),
)


def plan(
    source: SourceText,
    *,
    profile: Profile = "web",
    options: SourceOptions = NO_OPTIONS,
    save: Annotated[
        bool, Parameter(negative="", help="Keep the plan as a batch; `approve` begins it.")
    ] = False,
    name: Annotated[str | None, Parameter(help="What to call a saved plan.")] = None,
    skip_standing: Skip = False,
    json: Json = False,
) -> int:
    """Tell what a run would do, what it would skip and why, and what it may take and cost.

    Nothing is submitted. A saved plan submits, once it is approved, just what it told.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    wanted = source_of(source, options)
    try:
        asked = BatchOptions.model_validate({"name": name, "skip_standing": skip_standing})
    except ValidationError as error:
        raise refused(error) from error
    with console.status("Reading the source ...") as status:

        def tell(counts: Mapping[str, int]) -> None:
            status.update(f"{counts['found']:,} items read ...")

        if save:
            batch = save_plan(ledger, settings, wanted, profile, asked, on_page=tell)
            found = Preview(counts=Counter(batch.counts))
        else:
            batch = None
            wanted, chosen = settle(ledger, wanted, profile, settings.profiles_dir)
            found = preview(
                ledger,
                wanted,
                chosen,
                settings.profiles_dir,
                on_page=tell,
                skip_existing=skip_standing,
            )
    expected = estimate(found.counts, asked, settings, ledger.read(past_durations))
    if json:
        rejects = [
            {"line": each.line, "field": each.field, "reason": each.reason, "row": each.row}
            for each in found.rejects
        ]
        told: dict[str, Any] = {"counts": found.counts, "estimate": asdict(expected)}
        told |= {"batch": batch.id} if batch else {"sample": found.sample, "rejects": rejects}
        print_json(told)
    else:
        _print_plan(found, expected)
        if batch:
            console.print(f"Saved as batch {batch.id}. Begin it: ittybatch approve {batch.id}")
    return SUCCEEDED


def run(
    source: SourceText,
    *,
    profile: Profile = "web",
    options: SourceOptions = NO_OPTIONS,
    name: Annotated[str | None, Parameter(help="What to call the batch.")] = None,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Let the flow only tell what it would do.")
    ] = False,
    chunk_size: Annotated[int | None, Parameter(help="Items a chunk.")] = None,
    max_active_chunks: Annotated[
        int | None, Parameter(help="Chunks at Ittybit at the same time.")
    ] = None,
    canary_items: Annotated[
        int | None, Parameter(help="So many items go first; the rest once they ended well.")
    ] = None,
    max_submissions: Annotated[
        int | None, Parameter(help="Hold the batch after so many, retries included.")
    ] = None,
    max_cost: Annotated[
        float | None, Parameter(help="Hold it at this cost, by --cost-per-job, in your unit.")
    ] = None,
    cost_per_job: Annotated[
        float | None, Parameter(help="What a job costs you, in your unit.")
    ] = None,
    approve_above_jobs: Annotated[
        int | None, Parameter(help="Ask in the Prefect UI before more jobs than this; 0: always.")
    ] = None,
    approve_above_cost: Annotated[
        float | None, Parameter(help="The same for the estimated cost, in your unit.")
    ] = None,
    priority: Annotated[
        Priority | None, Parameter(help="Who goes first where jobs in flight are limited.")
    ] = None,
    submit_per_s: Annotated[
        float | None, Parameter(help="Submissions a second, of the whole batch.")
    ] = None,
    skip_standing: Skip = False,
    deployment: Annotated[
        str, Parameter(help="The deployment of run-batch to start: adhoc, backfill, ...")
    ] = "adhoc",
    follow: Follow = False,
    json: Json = False,
) -> int:
    """Start a batch: a flow run of a deployment, which a worker takes up."""
    if dry_run and follow:
        raise IttybatchError(
            "`--follow` shows a batch, and `--dry-run` makes none.",
            remedy="Leave out one of them; `ittybatch plan` tells here what a run would do.",
        )
    settings = Settings()
    wanted = source_of(source, options)
    # A mistake is told here and now, not in the log of a flow run.
    chosen = load_profile(profile, settings.profiles_dir)
    if folders := scanned_folders(wanted):
        refuse_overlap(chosen, folders)
    given = {
        "name": name,
        "dry_run": dry_run or None,
        "chunk_size": chunk_size,
        "max_active_chunks": max_active_chunks,
        "canary_items": canary_items,
        "max_submissions": max_submissions,
        "max_cost": max_cost,
        "cost_per_job": cost_per_job,
        "approve_above_jobs": approve_above_jobs,
        "approve_above_cost": approve_above_cost,
        "priority": priority,
        "submit_per_s": submit_per_s,
        "skip_standing": skip_standing or None,
    }
    parameters = {
        # Prefect refuses a null where its form offers a choice.
        "source": wanted.model_dump(mode="json", exclude_none=True),
        "profile": _findable(profile),
    }
    if limits := _options({key: value for key, value in given.items() if value is not None}):
        parameters["options"] = limits
    return _start(settings, deployment, parameters, follow=follow, json=json)


def retry(
    batch: Annotated[
        str, Parameter(help="Id of a batch, its beginning or end, `latest`, or `all`.")
    ],
    *,
    state: Annotated[
        list[RetryableState] | None,
        Parameter(negative="", help="Which jobs: failed, expired, cancelled. May be repeated."),
    ] = None,
    reason: Annotated[
        str | None, Parameter(help="Only jobs with this in their error, such as timeout.")
    ] = None,
    ended_since: Annotated[
        str | None, Parameter(help="Only jobs that ended since: 2d, or 2026-01-31T00:00:00Z.")
    ] = None,
    ended_before: Annotated[
        str | None, Parameter(help="Only jobs that ended before that, written likewise.")
    ] = None,
    follow: Follow = False,
    json: Json = False,
) -> int:
    """Start a batch of what failed or expired in an earlier one, each under a new attempt.

    An expired job was given up without an answer: Ittybit may have made and billed it.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    found = batch if batch == EVERY_BATCH else ledger.read(find_batch, batch)
    given = {
        "batch": found,
        "states": state or None,
        "reason": reason,
        "ended_since": ended_since,
        "ended_before": ended_before,
    }
    try:
        source = FailedJobsSource.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        raise refused(error) from error
    if not ledger.read(ended_jobs, wanted_of(source.at(datetime.now(UTC))), after=0, limit=1):
        if json:
            print_json({"flow_run_id": None, "url": None})
        else:
            console.print(f"There is nothing to retry: {_no_job(source)}.")
        return SUCCEEDED
    parameters = {
        "source": source.model_dump(mode="json", exclude_none=True),
        "options": _options({}),
    }
    return _start(settings, "retry-failed", parameters, follow=follow, json=json)


def _no_job(source: FailedJobsSource) -> str:
    batch = "no batch has a" if source.batch == EVERY_BATCH else f"batch {source.batch} has no"
    states = " or ".join(
        "was cancelled" if state is RetryableState.CANCELLED else state.value
        for state in source.states
    )
    narrowed = source.reason or source.ended_since or source.ended_before
    return f"{batch} job that {states}{' and fits the other options' if narrowed else ''}"


def _start(
    settings: Settings, deployment: str, parameters: dict[str, Any], *, follow: bool, json: bool
) -> int:
    name = f"run-batch/{deployment}"
    with open_flow_runs() as flow_runs:
        if "options" in parameters:
            # Prefect would let one option replace all of the deployment's own.
            usual = flow_runs.defaults(name).get("options") or {}
            parameters = {**parameters, "options": {**usual, **parameters["options"]}}
        flow_run = flow_runs.make(
            name,
            parameters=parameters,
            name=None,
            tags=["started-by:cli"],
            idempotency_key=str(uuid4()),
        )
        if follow:
            ledger = open_ledger(settings)
            return follow_run(ledger, flow_runs, flow_run, home=settings.home, json=json)
        if json:
            print_json({"flow_run_id": flow_run, "url": flow_runs.url(flow_run)})
        else:
            console.print(f"Started flow run {flow_run}: {flow_runs.url(flow_run)}")
            if parameters.get("options", {}).get("dry_run"):
                console.print("It makes no batch: its plan is among the flow run's artifacts.")
            else:
                console.print("`ittybatch status` shows how far it is.")
    return SUCCEEDED


def _findable(profile: str) -> str:
    """A profile as a worker finds it, which runs in another folder; names are its own affair."""
    is_path = "/" in profile or profile.endswith((".yaml", ".yml"))
    # Not `resolve`: a link's own name is the profile's.
    return str(Path(profile).expanduser().absolute()) if is_path else profile


def _options(given: dict[str, Any]) -> dict[str, Any]:
    try:
        return BatchOptions.model_validate(given).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        raise refused(error) from error


def _print_plan(found: Preview, expected: Estimate) -> None:
    rows = [
        (found.counts[name], what)
        for name, what in _PLAN_LINES
        if found.counts[name] or name in {"found", "items", "jobs"}
    ]
    rows += [
        (count, f"jobs of rendition {what.removeprefix(_RENDITION)}")
        for what, count in sorted(found.counts.items())
        if what.startswith(_RENDITION)
    ]
    left_out = left_out_by_rule(found.counts)
    rows += [
        (count, f"left out by {name}: {describe_rule(name)}") for name, count in left_out.items()
    ]
    if nothing := nothing_left(found.counts):
        console.print(nothing, markup=False)
    print_table("Plan", ("Count>", "What"), rows)
    if litter := [name for name in left_out if name in get_args(Litter)]:
        wanted = " ".join(f"--include {name}" for name in litter)
        console.print(f"To plan what a rule leaves out: {wanted}", markup=False)
    size = format_total(found.counts["bytes"], found.counts["items"])
    console.print(f"Size of the sources: {size}")
    console.print(f"Cost: {expected.describe_cost()}", markup=False)
    console.print(f"Time: {expected.describe_time()}", markup=False)
    if found.sample:
        columns = ("Input", "Rendition", "Kind", "Destination")
        print_table("First jobs", columns, [tuple(row.values()) for row in found.sample])
    if found.rejects:
        print_table(
            "First rejected rows",
            ("Line>", "Field", "Reason", "Row"),
            [(each.line, each.field, each.reason, each.row) for each in found.rejects],
        )
