"""Legs: begin, suspend and end the work of one process for a batch or chunk."""

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

from ittybatch.engine.flow_runs import PrefectUnavailable, translating_errors
from ittybatch.engine.heartbeat import heartbeat
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.legs import Ending, Leg, begin_leg, end_run
from ittybatch.ledger.queries import batch_of_run
from ittybatch.settings import Settings
from ittybatch.tasks.credentials import with_credentials


def this_run() -> tuple[str | None, str | None]:
    """Return the ids of this flow run and its deployment. A direct call has no deployment: None."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None:
        return None, None
    return str(run.id), str(run.deployment_id) if run.deployment_id else None


def in_place() -> bool:
    """Whether this run waits in its own process instead of suspending.

    Prefect cannot suspend a flow that was called directly, or a subflow, for example one that
    `run_deployment` starts inside another flow.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return run is None or run.deployment_id is None or run.parent_task_run_id is not None


@contextmanager
def settings_and_ledger() -> Iterator[tuple[Settings, Ledger]]:
    """Read the settings and open the ledger, for one flow.

    Raises:
        ConfigurationError: A setting cannot be used, or there is no such block of credentials.
        LedgerUnavailable: The database cannot be reached.
        LegInterrupted: Prefect did not give the block of credentials to a batch's or chunk's run.
        PrefectUnavailable: It did not give it to a run that no other run replaces.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    try:
        yield _with_credentials(settings, ledger), ledger
    finally:
        ledger.close()


def _with_credentials(settings: Settings, ledger: Ledger) -> Settings:
    try:
        return with_credentials(settings)
    except PrefectUnavailable as error:
        flow_run, _ = this_run()
        if not error.may_pass or flow_run is None or ledger.read(batch_of_run, flow_run) is None:
            raise
        raise LegInterrupted(error.message, remedy=error.remedy) from error


class LegInterrupted(IttybatchError):
    """An error ended a leg; another leg may succeed."""


@contextmanager
def at_work(ledger: Ledger, owner: str, lease_s: float) -> Iterator[Leg | None]:
    """Begin a leg for an owner, and send heartbeats until the block ends.

    Yields:
        The leg; None if another run has replaced this one and this one must end.

    Raises:
        LegInterrupted: An `IttybatchError` ended the block.
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

    A direct call takes over the batch or chunk from other runs.

    Args:
        ledger: The ledger that has the owner.
        owner: The batch or chunk.
        after: The previous leg of this process, if any.
    """
    flow_run, deployment = this_run()
    take_over = deployment is None and after is None
    return ledger.write(begin_leg, owner, flow_run, take_over=take_over, after=after)


def leave(ledger: Ledger, settings: Settings, leg: Leg) -> Ending:
    """End this flow run's work for an owner.

    If someone suspended the run in the Prefect UI, suspend it, so that they can resume it.

    Returns:
        `GO_ON` if someone has resumed the batch meanwhile, so that there is work again.
    """
    ending = ledger.write(end_run, leg)
    if ending is Ending.SUSPENDED and not in_place():
        suspend(
            f"left-{leg.number}",
            settings.suspend_timeout_s,
            "Suspended by hand. Resume it here to continue.",
        )
    return ending


def suspend(key: str, timeout_s: float, message: str) -> None:
    """Suspend this flow run: its process ends, and another process runs the flow again.

    This does the same as Prefect's `suspend_flow_run`, which cannot give the state a message. It
    returns only if a suspension with this key was already resumed.

    Args:
        key: Key of the suspension. Prefect suspends a run only once per key.
        timeout_s: Seconds after which Prefect fails the run.
        message: What the run waits for, shown in the Prefect UI.

    Raises:
        LegInterrupted: Prefect refuses to suspend the run.
        PrefectUnavailable: Prefect does not answer. The ledger says that the run waits, so the
            waker replaces it.
    """
    flow_run, _ = this_run()
    wanted = Suspended(State[None], timeout_seconds=int(timeout_s), pause_key=key, message=message)
    with (
        translating_errors("suspend this flow run"),
        get_client(sync_client=True) as client,
    ):
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
