"""Legs: one process's work for a batch or chunk, with its heartbeat and its suspension."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect import State
from prefect._flow_run_suspension import mark_flow_run_suspension_requested
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import Abort, Pause
from prefect.logging import get_run_logger
from prefect.states import Suspended
from prefect.utilities.engine import propose_state_sync

from ittybatch.engine.heartbeat import heartbeat
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.legs import Ending, Leg, begin_leg, end_run
from ittybatch.settings import Settings


def this_run() -> tuple[str | None, str | None]:
    """The ids of this flow run and of its deployment; None for a direct call's deployment."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None:
        return None, None
    return str(run.id), str(run.deployment_id) if run.deployment_id else None


def in_place() -> bool:
    """Whether this run waits in its own process.

    Prefect cannot suspend a flow that was called directly, nor a subflow such as the one that
    `run_deployment` starts inside another flow.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return run is None or run.deployment_id is None or run.parent_task_run_id is not None


@contextmanager
def settings_and_ledger() -> Iterator[tuple[Settings, Ledger]]:
    """Read the settings and open the ledger, for one flow."""
    settings = Settings()
    ledger = open_ledger(settings)
    try:
        yield settings, ledger
    finally:
        ledger.close()


class LegInterrupted(IttybatchError):
    """An error ended a leg; another leg may succeed."""


@contextmanager
def at_work(ledger: Ledger, owner: str, lease_s: float) -> Iterator[Leg | None]:
    """Begin a leg for an owner, and send heartbeats until the end of the block.

    Yields:
        The leg; None if another run has replaced this one, which then has nothing to do.

    Raises:
        LegInterrupted: An error of ours ended the block.
    """
    try:
        leg = new_leg(ledger, owner)
        if leg is None:
            get_run_logger().warning("Another run works for %s now; this one ends.", owner)
            yield None
            return
        get_run_logger().info("Leg %d of %s begins.", leg.number, owner)
        with heartbeat(ledger, leg, lease_s):
            yield leg
    except IttybatchError as error:
        raise LegInterrupted(error.message, remedy=error.remedy) from error


def new_leg(ledger: Ledger, owner: str, *, after: Leg | None = None) -> Leg | None:
    """Begin a leg of this flow run.

    A direct call takes over the batch or chunk that it was called with.

    Args:
        ledger: Where the owner is.
        owner: The batch or chunk.
        after: The leg that this process had before, if any.
    """
    flow_run, deployment = this_run()
    take_over = deployment is None and after is None
    return ledger.write(begin_leg, owner, flow_run, take_over=take_over, after=after)


def leave(ledger: Ledger, settings: Settings, leg: Leg) -> bool:
    """End this flow run's work for an owner.

    A run that somebody suspended in the Prefect UI is suspended, for them to resume.

    Returns:
        False if somebody has resumed the batch meanwhile, so that there is work again.
    """
    ending = ledger.write(end_run, leg)
    if ending is Ending.SUSPENDED and not in_place():
        suspend(
            f"left-{leg.number}",
            settings.suspend_timeout_s,
            "Suspended by hand. Resume it here to continue.",
        )
    return ending is not Ending.GO_ON


def suspend(key: str, timeout_s: float, message: str) -> None:
    """Suspend this flow run: its process ends, and another one runs the flow again.

    The same as Prefect's `suspend_flow_run`, which cannot give the state a message. Returns only
    if a suspension with this key has been resumed before.

    Args:
        key: Prefect suspends a run only once for each key.
        timeout_s: Seconds after which Prefect fails the run.
        message: What the run waits for, shown in the Prefect UI.

    Raises:
        LegInterrupted: Prefect does not allow it.
    """
    flow_run, _ = this_run()
    wanted = Suspended(State[None], timeout_seconds=int(timeout_s), pause_key=key, message=message)
    with get_client(sync_client=True) as client:
        try:
            state = propose_state_sync(client, wanted, flow_run_id=UUID(flow_run))
        except Abort as error:
            raise LegInterrupted(f"Prefect does not suspend this flow run: {error}") from error
    if state.is_running():
        return
    if not state.is_paused():
        raise LegInterrupted(f"Prefect does not suspend this flow run; it is {state.name}.")
    mark_flow_run_suspension_requested(UUID(flow_run), state)
    raise Pause(state=state)
