"""Check the sinks, and explain how to fix each problem."""

from collections.abc import Iterator
from datetime import UTC, datetime

from ittybatch.engine.amounts import format_count
from ittybatch.engine.finding import Finding, Grade
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.sinks import SinkStatus, sink_statuses
from ittybatch.settings import Settings
from ittybatch.sinks.base import SinkPort
from ittybatch.sinks.declared import declared_sinks, open_sinks

_MAX_LAG_S = 60.0


def check_sinks(settings: Settings) -> Iterator[Finding]:
    """Check the file that declares sinks, each sink from here, and what waits in the ledger."""
    try:
        opened = open_sinks(declared_sinks(settings))
    except IttybatchError as error:
        yield Finding("Sinks", Grade.BROKEN, error.message, error.remedy or "")
        return
    statuses = _statuses(settings)
    for sink in opened:
        yield _check(sink.port, statuses)
    declared = {sink.port.name for sink in opened}
    for name, status in statuses.items():
        if name not in declared and (line := describe_sink(status)):
            yield Finding(
                f"Sink {name}",
                Grade.WARNING,
                f"{settings.results_file.name} does not declare it; {line}",
                "Declare it again and restart the receiver, or ignore it.",
            )


def describe_sink(status: SinkStatus) -> str | None:
    """Say what keeps a sink's results from it; None if nothing does."""
    parts = []
    if status.refused:
        parts.append(f"{format_count(status.refused, 'result')} refused ({status.last_error})")
    if status.pending and (not status.active or status.failures or _lag_s(status) > _MAX_LAG_S):
        waiting = f"{format_count(status.pending, 'result')} waiting"
        if status.failures:
            why = (status.last_error or "").rstrip(".")
            waiting += f" because it is unavailable: {why}"
        elif status.active:
            waiting += f", the oldest for {_lag_s(status):.0f} s"
        parts.append(waiting)
    return "; ".join(parts) or None


def _statuses(settings: Settings) -> dict[str, SinkStatus]:
    """The ledger's sinks by name; none if the ledger cannot be read, which is a finding already."""
    ledger: Ledger | None = None
    try:
        ledger = open_ledger(settings, patience_s=3)
        return {status.name: status for status in ledger.read(sink_statuses)}
    except IttybatchError:
        return {}
    finally:
        if ledger is not None:
            ledger.close()


def _check(port: SinkPort, statuses: dict[str, SinkStatus]) -> Finding:
    name = f"Sink {port.name}"
    try:
        problem = port.check()
    except Exception as error:  # noqa: BLE001  one sink's fault hides no other finding
        # The message of an unknown error may contain a password.
        problem = f"Its check failed with an unexpected {type(error).__name__}."
    finally:
        port.close()
    status = statuses.get(port.name)
    waiting = describe_sink(status) if status else None
    if problem:
        what = f"{problem} {waiting}." if waiting else problem
        return Finding(name, Grade.BROKEN, what, "Nothing is lost: results wait in the ledger.")
    if status is None or not status.active:
        return Finding(
            name,
            Grade.WARNING,
            "it is declared, and no receiver has taken it up: it gets no results.",
            "Restart `ittybatch receiver`.",
        )
    if waiting:
        remedy = "Check that `ittybatch receiver` runs and can reach it."
        if status.refused:
            remedy = f"Correct the cause, then run `ittybatch sinks retry {port.name}`."
        return Finding(name, Grade.WARNING, f"{waiting}.", remedy)
    return Finding(name, Grade.OK, "it can be used, and nothing waits.")


def _lag_s(status: SinkStatus) -> float:
    oldest = status.oldest_pending_at
    return (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
