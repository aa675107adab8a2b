"""Artifacts: what an operator reads of a batch in the Prefect UI."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
)

from ittybatch.engine.amounts import format_bytes, format_duration
from ittybatch.engine.reporting import harmless
from ittybatch.ledger.queries import BatchStatus, JobRow

_MOST_ROWS = 500
_PLAN_LINES = (
    ("found", "Items found"),
    ("items", "Items with something to do"),
    ("jobs", "Jobs to submit"),
    ("already_done", "Jobs done before"),
    ("in_flight_elsewhere", "Jobs in flight in another batch"),
    ("held_back", "Jobs held back: they failed for good, or were given up"),
    ("duplicates", "Jobs named twice by the source"),
    ("skipped", "Renditions that a condition excludes"),
    ("without_rendition", "Items that no rendition wants"),
    ("rejected", "Rows that could not be read"),
)


def show_plan(
    batch: str,
    counts: Mapping[str, int],
    *,
    sample: Sequence[Mapping[str, str]] = (),
    rejects: Path | None = None,
) -> None:
    """Publish what a scan came to."""
    lines = ["| | |", "|---|---:|"]
    lines += [f"| {title} | {counts.get(name, 0):,} |" for name, title in _PLAN_LINES]
    lines.append(f"| Size of the sources | {format_bytes(counts.get('bytes', 0))} |")
    lines += [
        f"| {_cell(what)} | {count:,} |"
        for what, count in sorted(counts.items())
        if what.startswith(("rendition:", "kind:", "filtered:"))
    ]
    if sample:
        lines += ["", "| Input | Rendition | Kind | Destination |", "|---|---|---|---|"]
        lines += ["| " + " | ".join(_cell(row[name]) for name in row) + " |" for row in sample]
    if rejects:
        lines += ["", f"Rejected rows: `{rejects}`"]
    create_markdown_artifact(
        "\n".join(lines), key=f"plan-{batch}", description=f"Plan of batch {batch}"
    )


def show_progress(status: BatchStatus) -> None:
    """Publish how far a batch is."""
    counts = status.counts
    ended = sum(counts[name] for name in ("succeeded", "failed", "cancelled", "expired"))
    percent = 100.0 * ended / counts["jobs"] if counts["jobs"] else 100.0
    create_progress_artifact(
        percent,
        key=f"progress-{status.id}",
        description=f"{ended:,} of {counts['jobs']:,} jobs ended, "
        f"{counts['in_flight']:,} at Ittybit; "
        f"{status.chunks_done} of {status.chunks} chunks done.",
    )


def show_results(batch: str, rows: Sequence[JobRow]) -> None:
    """Publish what came out, as far as a page can show it."""
    table = [
        {
            "Item": harmless(row.input),
            "Rendition": row.rendition,
            "Status": row.state.value,
            "Attempts": str(row.attempts),
            "Format": row.format or "",
            "Size": format_bytes(row.size_bytes),
            "Pixels": f"{row.width}x{row.height}" if row.width else "",
            "Duration": format_duration(row.duration_s),
            "Output": row.output_url or "",
        }
        for row in rows[:_MOST_ROWS]
    ]
    if table:
        create_table_artifact(table, key=f"results-{batch}", description=f"Jobs of batch {batch}")


def show_failures(batch: str, reasons: Sequence[Mapping[str, Any]]) -> None:
    """Publish why jobs failed, the most frequent reason first."""
    table = [
        {
            "Jobs": str(reason["jobs"]),
            "Status": reason["state"],
            "Reason": reason["error_message"] or reason["error_kind"] or "no reason given",
            "Example": harmless(str(reason["example"])),
        }
        for reason in reasons
    ]
    if table:
        create_table_artifact(
            table,
            key=f"failures-{batch}",
            description=f"Failures of batch {batch}. Again: `ittybatch retry {batch}`",
        )


def show_report(status: BatchStatus, files: Mapping[str, Path]) -> None:
    """Publish where the completion report lies."""
    lines = [f"Batch **{status.id}** ({_cell(status.name)}): {status.state.value}", ""]
    lines += [f"- {what}: `{path}`" for what, path in files.items()]
    lines += ["", f"`ittybatch report {status.id} --format csv` writes it anywhere else."]
    create_markdown_artifact(
        "\n".join(lines), key=f"report-{status.id}", description="Completion report"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
