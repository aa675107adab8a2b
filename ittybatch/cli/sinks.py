"""Commands about sinks, the places that results are delivered to."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from ittybatch.cli.output import Column, Json, console, print_json, print_table
from ittybatch.cli.recording import operator
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.amounts import format_count
from ittybatch.engine.recording import recorded
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.pending import retry_refused
from ittybatch.ledger.sinks import SinkStatus, sink_names, sink_statuses
from ittybatch.settings import Settings
from ittybatch.sinks.checking import describe_sink

app = App(name="sinks", help="The places that results are delivered to.")


@app.command(name="list")
def list_sinks(*, json: Json = False) -> int:
    """List the sinks with what waits for them, what they refused, and why."""
    statuses = open_ledger(Settings()).read(sink_statuses)
    if json:
        print_json([asdict(each) for each in statuses])
        return SUCCEEDED
    if not statuses:
        console.print("There are no sinks. deployments/results.yaml declares them.")
        return SUCCEEDED
    print_table(
        "Sinks",
        (
            "Sink",
            "Kind",
            "State",
            Column.number("Pending"),
            Column.number("Refused"),
            Column.number("Oldest"),
            Column("Delivered", from_width=100),
            Column("Last error", prose=True),
        ),
        [
            (
                each.name,
                each.kind,
                _state(each),
                each.pending,
                each.refused,
                _age(each.oldest_pending_at),
                _local(each.last_delivered_at),
                each.last_error if each.failures or each.refused else None,
            )
            for each in statuses
        ],
    )
    for each in statuses:
        if line := describe_sink(each):
            console.print(f"{each.name}: {line}", markup=False, soft_wrap=False)
    return SUCCEEDED


@app.command
def retry(
    name: Annotated[str | None, Parameter(help="Only this sink. Default: all sinks.")] = None,
    *,
    json: Json = False,
) -> int:
    """Deliver again what a sink refused for good, after you have corrected the cause.

    Also ends the waiting time of a sink that was unavailable. A running receiver delivers.
    """
    ledger = open_ledger(Settings())
    if name is not None:
        _require(ledger, name)
    with recorded(ledger, operator(), "sinks retry", details={"sink": name or "all"}) as record:
        count = retry_refused(ledger, name)
        record.outcome = f"{format_count(count, 'result')} will be delivered again."
    if json:
        print_json({"retried": count})
    else:
        console.print(record.outcome)
    return SUCCEEDED


def _require(ledger: Ledger, name: str) -> None:
    names = ledger.read(sink_names)
    if name not in names:
        raise IttybatchError(
            f"There is no sink {name!r} (found: {', '.join(names) or 'none'}).",
            remedy="`ittybatch sinks list` shows them.",
        )


def _state(status: SinkStatus) -> str:
    if not status.active:
        return "not declared"
    return "unavailable" if status.failures else "ok"


def _age(since: datetime | None) -> str:
    if since is None:
        return ""
    seconds = max(0, round((datetime.now(UTC) - since).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _local(time: datetime | None) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}" if time else ""
