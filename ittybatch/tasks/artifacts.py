"""Publish a batch's plan, progress, results and report as artifacts in the Prefect UI."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from textwrap import shorten
from typing import Any, ParamSpec
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from ittybatch.engine.advice import advise, outlook
from ittybatch.engine.amounts import format_bytes, format_count, format_duration, format_total
from ittybatch.engine.estimate import Estimate
from ittybatch.engine.flow_runs import PrefectUnavailable, translating_errors
from ittybatch.engine.naming import source_name
from ittybatch.engine.plan_counts import left_out
from ittybatch.engine.reporting import Written
from ittybatch.engine.reports.renditions import SUMMARY_TITLES
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.results import JobRow
from ittybatch.ledger.states import JobState
from ittybatch.profiles import Item
from ittybatch.sources.rules import nothing_left
from ittybatch.tasks.leg import this_run
from ittybatch.tasks.markdown import code, escaped, link, table

MOST_ROWS = 500
# Wider cells push other cells off the page. The failures artifact has the full texts.
_MAX_CELL_CHARS = 50
_ENDED = ("succeeded", "failed", "expired", "cancelled")

P = ParamSpec("P")


def _published(what: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Log a warning if Prefect does not take an artifact: people look at it, and nothing needs it.

    Args:
        what: The artifact, for the warning.
    """

    def make(show: Callable[P, None]) -> Callable[P, None]:
        @wraps(show)
        def call(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                with translating_errors(f"publish the {what}"):
                    show(*args, **kwargs)
            except (PrefectUnavailable, ObjectNotFound) as error:
                get_run_logger().warning("No artifact shows the %s: %s", what, error)

        return call

    return make


@_published("plan")
def show_plan(
    key: str,
    counts: Mapping[str, int],
    *,
    source: Mapping[str, Any],
    profile: str,
    expected: Estimate,
    sample: Sequence[Mapping[str, str]] = (),
    rejects: Path | None = None,
) -> None:
    """Publish the plan of a batch."""
    size = format_total(counts.get("bytes", 0), counts.get("items", 0))
    size = "size unknown" if size == "unknown" else size
    lines = [escaped(nothing), ""] if (nothing := nothing_left(counts)) else []
    lines += [f"Source: {code(source_name(source))}, {size}, profile: {code(profile)}"]
    lines += ["", f"- Cost: {escaped(expected.describe_cost())}"]
    lines += [f"- Time: {escaped(expected.describe_time())}"]
    if jobs := _named(counts, "rendition:"):
        lines += table(("Rendition", "Jobs>"), jobs)
    excluded = [(escaped(what), f"{count:,}") for count, what in left_out(counts)]
    if excluded:
        lines += table(("Nothing to do, or left out", "Count>"), excluded)
    if rejects:
        lines += ["", f"Rows and items that could not be used, and why: {code(rejects)}"]
    if sample:
        lines += ["", "The first jobs:"]
        titles = [name.capitalize() for name in sample[0]]
        lines += table(titles, [[escaped(cell) for cell in row.values()] for row in sample])
    create_markdown_artifact("\n".join(lines), key=f"plan-{key}", description=planned(counts))


def planned(counts: Mapping[str, int]) -> str:
    """Describe a plan in one line."""
    if nothing := nothing_left(counts):
        return nothing
    text = (
        f"{format_count(counts.get('jobs', 0), 'job')} to submit, "
        f"of {counts.get('items', 0):,} of {format_count(counts.get('found', 0), 'item')}"
    )
    done = counts.get("already_done", 0)
    return f"{text}; {format_count(done, 'job')} done before" if done else text


@_published("progress")
def show_progress(status: BatchStatus, text: str) -> None:
    """Publish a batch's progress as one bar per flow run. Each leg updates the bar."""
    key = f"progress-{status.id}"
    ended = sum(status.counts[name] for name in _ENDED)
    if status.counts["jobs"]:
        percent = 100.0 * ended / status.counts["jobs"]
    else:
        # A batch that was held or paused before its first job was planned has no progress.
        percent = 100.0 if status.state.ended else 0.0
    bar = _bar_of_this_run(key)
    if bar is None:
        create_progress_artifact(percent, key=key, description=text)
    else:
        update_progress_artifact(bar, percent, description=text)


def progress_of(status: BatchStatus) -> str:
    """Describe a batch's progress in one line."""
    counts = status.counts
    ended = sum(counts[name] for name in _ENDED)
    return (
        f"{ended:,} of {counts['jobs']:,} jobs ended, {counts['in_flight']:,} at Ittybit; "
        f"{status.chunks_done:,} of {status.chunks:,} chunks done"
    )


@_published("results")
def show_results(status: BatchStatus, rows: Sequence[JobRow]) -> None:
    """Publish the results of the first jobs."""
    root = _root(status)
    results = [
        {
            "Item": escaped(Item(row.input).shown.removeprefix(root)),
            "Rendition": escaped(row.rendition),
            "Status": row.state.value,
            "Output or error": _result_of(row),
            "Pixels": f"{row.width}x{row.height}" if row.width else "",
            "Duration": format_duration(row.duration_s),
            "Size": format_bytes(row.size_bytes),
            "Attempts": str(row.attempts),
        }
        for row in rows
    ]
    if results:
        text = f"Jobs of batch {status.id}"
        text += f", items under {code(root)}" if root else ""
        if len(results) < status.counts["jobs"]:
            text += f": the first {len(results):,} of {status.counts['jobs']:,}"
        create_table_artifact(results, key=f"results-{status.id}", description=text)


@_published("failures")
def show_failures(status: BatchStatus, reasons: Sequence[Mapping[str, Any]]) -> None:
    """Publish why jobs failed, most frequent reason first."""
    failures = [
        {
            "Jobs": str(reason["jobs"]),
            "Status": reason["state"],
            "Example": escaped(Item(str(reason["example"])).shown.removeprefix(_root(status))),
            "Again?": outlook(reason).value,
            "Reason": escaped(reason["error_message"] or reason["error_kind"] or "no reason given"),
        }
        for reason in reasons
    ]
    if failures:
        create_table_artifact(
            failures,
            key=f"failures-{status.id}",
            description=" ".join(["Why jobs did not succeed.", *advise(status.id, reasons)]),
        )


@_published("report")
def show_report(status: BatchStatus, text: str, written: Written) -> None:
    """Publish the outcome of a batch and the location of its completion report."""
    source = code(source_name(status.source))
    lines = [
        f"**{status.state.value.replace('_', ' ').capitalize()}**: {escaped(text)}",
        "",
        f"Batch {code(status.id)}, source: {source}, profile: {code(status.profile)}",
    ]
    renditions = [[escaped(cell) for cell in each.cells()] for each in written.tally.summary]
    if renditions:
        lines += table(SUMMARY_TITLES, renditions)
    if checks := written.tally.checks:
        lines += table(
            ("Checked outputs", "Count>"),
            [(escaped(check), f"{count:,}") for check, count in checks.most_common()],
        )
    lines += ["", "The completion report, on the machine that ran the last leg:", ""]
    lines += [f"- {what}: {code(place)}" for what, place in written.places.items()]
    lines += ["", f"Anywhere else, {code(f'ittybatch report {status.id} --format csv')} writes it."]
    lines += [f"\n**Not written**: {escaped(failure)}" for failure in written.failures]
    create_markdown_artifact("\n".join(lines), key=f"report-{status.id}", description=text)


def _bar_of_this_run(key: str) -> UUID | None:
    run, _ = this_run()
    if run is None:
        return None
    wanted = ArtifactFilter(
        key=ArtifactFilterKey(any_=[key]), flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run)])
    )
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted, limit=1)
    return found[0].id if found else None


def _result_of(row: JobRow) -> str:
    if row.output_url and row.state is JobState.SUCCEEDED:
        return link(row.output_url)
    return escaped(
        shorten(row.error_message or row.error_kind or "", _MAX_CELL_CHARS, placeholder=" …")
    )


def _root(status: BatchStatus) -> str:
    return str(status.source.get("uri", "")) if status.source.get("type") == "bucket" else ""


def _named(counts: Mapping[str, int], group: str) -> list[tuple[str, str]]:
    return [
        (escaped(name.removeprefix(group)), f"{count:,}")
        for name, count in sorted(counts.items())
        if name.startswith(group)
    ]
