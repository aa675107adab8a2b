"""A leg's frame: it says that it is awake, and goes on saying so while it works."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.legs import Leg, beat, begin_leg
from ittybatch.settings import Settings


def this_run() -> tuple[str | None, str | None]:
    """Ids of this flow run and of its deployment; no deployment for a direct call."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None:
        return None, None
    return str(run.id), str(run.deployment_id) if run.deployment_id else None


def in_place() -> bool:
    """Whether this run waits in its own process.

    Prefect suspends neither a flow that was called directly nor a subflow, such as what
    `run_deployment` starts inside another flow.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return run is None or run.deployment_id is None or run.parent_task_run_id is not None


@contextmanager
def open_books() -> Iterator[tuple[Settings, Ledger]]:
    """Read the settings and open the ledger, for one flow."""
    settings = Settings()
    ledger = open_ledger(settings)
    try:
        yield settings, ledger
    finally:
        ledger.close()


class LegInterrupted(IttybatchError):
    """A leg could not go on, for a reason that another one may not meet."""


@contextmanager
def at_work(ledger: Ledger, owner: str, lease_s: float) -> Iterator[Leg | None]:
    """Work for an owner: begin a leg, and beat until the end of the block.

    Gives None where another run has taken the owner's place: this one has nothing to do.

    Raises:
        LegInterrupted: when an error of ours ends the block.
    """
    try:
        leg = new_leg(ledger, owner)
        if leg is None:
            get_run_logger().warning("Another run works for %s by now; this one ends.", owner)
            yield None
        else:
            with _beating(ledger, leg, lease_s):
                yield leg
    except IttybatchError as error:
        raise LegInterrupted(error.message, remedy=error.remedy) from error


@contextmanager
def _beating(ledger: Ledger, leg: Leg, lease_s: float) -> Iterator[None]:
    get_run_logger().info("Leg %d of %s begins.", leg.number, leg.owner)
    stopping = threading.Event()
    heart = threading.Thread(
        target=_beat, args=(ledger, leg, lease_s / 4, stopping), name="heartbeat", daemon=True
    )
    heart.start()
    try:
        yield
    finally:
        stopping.set()
        heart.join()


def new_leg(ledger: Ledger, owner: str) -> Leg | None:
    """Begin a leg of this flow run.

    One that was called directly has been told what to work for by name, and takes it over.
    """
    flow_run, deployment = this_run()
    return ledger.write(begin_leg, owner, flow_run, take_over=deployment is None)


def _beat(ledger: Ledger, leg: Leg, every_s: float, stopping: threading.Event) -> None:
    while not stopping.wait(every_s):
        try:
            if not ledger.write(beat, leg):
                return
        except IttybatchError:
            continue  # the database is away; the leg itself meets that where it matters
