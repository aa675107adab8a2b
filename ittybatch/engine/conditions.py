"""What slows or stops a batch, and what its chunks wait for, in words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ittybatch.engine.amounts import format_count, format_duration
from ittybatch.ledger.batch_detail import Brakes, ChunkRow
from ittybatch.ledger.batches import CANARY
from ittybatch.ledger.states import BatchState, ChunkState, RunState

_CANARY_ENDED = ("succeeded", "failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that slows or may stop a batch.

    Args:
        name: What it is: `Ceiling`.
        text: How it is now.
        stops: Whether it keeps the batch from sending jobs now.
    """

    name: str
    text: str
    stops: bool = False


def describe_brakes(brakes: Brakes) -> Iterator[Condition]:
    """Describe the ceiling, canary, circuit and capacity of a batch, as far as it has them."""
    ceiling = describe_ceiling(brakes)
    if ceiling is not None:
        yield ceiling
    if brakes.canary is not None:
        yield _canary(brakes, brakes.canary)
    if brakes.trips:
        until = brakes.circuit_open_until
        wait_s = (until - brakes.now).total_seconds() if until else 0.0
        found = f"Ittybit did not accept submissions {format_count(brakes.trips, 'time')} in a row"
        yield Condition(
            "Circuit",
            f"open: {found}. One submission tries it again in {format_duration(wait_s)}."
            if wait_s > 0
            else f"probing: {found}. One submission tries it again now.",
            stops=wait_s > 0,
        )
    if brakes.waits_for_room:
        yield Condition(
            "Capacity",
            "its next chunk waits until other jobs end: as many as ITTYBATCH_MAX_IN_FLIGHT allows "
            "are at Ittybit, or a batch of higher priority goes first.",
            stops=True,
        )
    if brakes.accepts_until is not None and not brakes.state.ended:
        yield Condition(
            "Requests", f"it takes more of them until {brakes.accepts_until:%Y-%m-%d %H:%M} UTC."
        )


def describe_ceiling(brakes: Brakes) -> Condition | None:
    """Describe how much of its ceiling a batch has used; None without a ceiling."""
    if brakes.ceiling is None:
        return None
    options = brakes.options
    reached = brakes.sent >= brakes.ceiling
    text = f"{brakes.sent:,} of {brakes.ceiling:,} submissions made, retries included"
    if options.get("cost_per_job"):
        spent, most = (n * float(options["cost_per_job"]) for n in (brakes.sent, brakes.ceiling))
        text += f"; that is {spent:,.2f} of {most:,.2f} in your unit"
    return Condition("Ceiling", f"{text}.", stops=reached and not brakes.state.ended)


def describe_wait(chunk: ChunkRow, brakes: Brakes, again: int = 0) -> str:
    """Describe what a chunk waits for.

    Args:
        chunk: The chunk.
        brakes: What slows or stops its batch.
        again: How many of its jobs wait for another attempt.
    """
    match chunk.state:
        case ChunkState.DONE:
            return ""
        case ChunkState.PLANNED:
            return _unreleased(chunk, brakes)
        case ChunkState.RELEASED:
            return _released(chunk, brakes, again)


def _canary(brakes: Brakes, canary: Mapping[str, int]) -> Condition:
    items = format_count(int(brakes.options.get("canary_items", 0)), "item")
    if brakes.canary_passed:
        return Condition("Canary", f"passed: the first {items} were processed before the rest.")
    jobs = sum(number for name, number in canary.items() if name != "items")
    ended = sum(canary.get(name, 0) for name in _CANARY_ENDED)
    bad = canary.get("failed", 0) + canary.get("expired", 0)
    return Condition(
        "Canary",
        f"the rest waits for the first {items}: {ended:,} of {format_count(jobs, 'job')} ended, "
        f"{bad:,} failed.",
        stops=True,
    )


_BEFORE_RELEASE = {
    BatchState.PLANNING: "the end of planning",
    BatchState.UNAPPROVED: "approval",
    BatchState.HELD: "the batch to be resumed",
}


def _unreleased(chunk: ChunkRow, brakes: Brakes) -> str:
    if brakes.state is not BatchState.RUNNING:
        return _BEFORE_RELEASE.get(brakes.state, "")
    if brakes.canary is not None and not brakes.canary_passed and chunk.number > CANARY:
        return "the canary"
    if brakes.waits_for_room:
        return "capacity: other jobs have to end"
    active = brakes.options.get("max_active_chunks", 4)
    return f"its turn: {format_count(int(active), 'chunk')} at a time"


def _released(chunk: ChunkRow, brakes: Brakes, again: int) -> str:
    at_ittybit, planned = chunk.counts["in_flight"], chunk.counts["planned"]
    unsent = planned - again
    if chunk.growing and not at_ittybit and not planned:
        return "more requests"
    match chunk.run_state:
        case RunState.STARTING:
            return "a worker to start its flow run"
        case RunState.SUSPENDED:
            return "its flow run, which someone suspended in Prefect"
    stopped = {
        BatchState.HELD: f"{planned:,} not sent: the batch is held",
        BatchState.CANCELLED: "",
    }
    counts = (f"{unsent:,} to send" if unsent else "", f"{again:,} to retry" if again else "")
    sending = stopped.get(brakes.state, ", ".join(filter(None, counts))) if planned else ""
    waiting = f"{format_count(at_ittybit, 'job')} at Ittybit" if at_ittybit else ""
    return "; ".join(filter(None, (waiting, sending))) or "its flow run to finish"
