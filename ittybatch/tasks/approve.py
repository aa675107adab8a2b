"""Approve: a plan above the user's limits waits until someone approves it."""

from contextlib import suppress
from typing import Literal

from prefect import suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import ConfigDict, Field

from ittybatch.engine.flow_runs import translating_errors
from ittybatch.engine.steering import Action, CannotSteer, change_batch
from ittybatch.engine.tuning import Tuning
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import Asker, Via
from ittybatch.ledger.batches import OpenBatch, read_batch
from ittybatch.ledger.legs import Leg, ask, asked_leg
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings
from ittybatch.tasks.leg import in_place, this_run
from ittybatch.tasks.wait import wait

# The decisions that an operator can make.
Decision = Literal["wait", "approve", "cancel"]


class Approval(RunInput):
    """The form that Prefect shows on the suspended run."""

    model_config = ConfigDict(extra="forbid", title="Approval")

    # If a mistake or an event resumes the run without an answer, it is not approved.
    decision: Decision = Field(
        "wait",
        title="Decision",
        description="approve: submit what was planned. cancel: submit nothing. wait: ask again.",
    )


def approve(ledger: Ledger, settings: Settings, batch: OpenBatch, leg: Leg) -> Leg | None:
    """Check whether a batch may start. If not, wait until someone approves or cancels it.

    A deployed run suspends and shows a form on its page. A subflow, which Prefect cannot
    suspend, waits in its process. `ittybatch approve` works in both cases.

    Returns:
        The leg to continue with; None if this run has nothing more to do for now.
    """
    if batch.state is not BatchState.UNAPPROVED:
        return leg
    run, deployment = this_run()
    if deployment is None:
        return None
    if in_place():
        return _wait_in_process(ledger, settings, batch, leg)
    asked = ledger.read(asked_leg, batch.id, run)
    if asked is not None:
        decide(ledger, batch.id, _ask(batch, settings, asked).decision)
        batch = ledger.read(read_batch, batch.id)
        if batch.state is not BatchState.UNAPPROVED:
            return leg
    get_run_logger().warning("This batch waits for approval: %s", batch.reason)
    if not ledger.write(ask, leg, run):
        return None
    _ask(batch, settings, leg.number)
    return None


def _wait_in_process(ledger: Ledger, settings: Settings, batch: OpenBatch, leg: Leg) -> Leg | None:
    """Wait in this process; `ittybatch approve` and `ittybatch cancel` wake it."""
    get_run_logger().warning(
        "This batch waits for approval: %s `ittybatch approve %s` starts it.",
        batch.reason,
        batch.id,
    )
    waiting: Leg | None = leg
    while waiting and ledger.read(read_batch, batch.id).state is BatchState.UNAPPROVED:
        waiting = wait(ledger, settings, waiting)
    return waiting


def _ask(batch: OpenBatch, settings: Settings, leg: int) -> Approval:
    """Suspend the run with a form; return the answer once someone has submitted it.

    Raises:
        PrefectUnavailable: Prefect does not answer. The run that replaces this one asks again.
    """
    form = Approval.with_initial_data(
        description=f"**{batch.reason}**\n\nThe plan is among this run's artifacts. In the "
        f"terminal: `ittybatch approve {batch.id}`, or `ittybatch cancel {batch.id}`."
    )
    with translating_errors("ask for approval"):
        answer = suspend_flow_run(
            wait_for_input=form, key=f"approval-{leg}", timeout=int(settings.suspend_timeout_s)
        )
    return Approval(decision=answer.decision)


def decide(ledger: Ledger, batch: str, decision: Decision) -> None:
    """Apply the answer of the form, and record it. Prefect does not tell who gave it.

    Args:
        ledger: The ledger that has the batch.
        batch: The batch's id.
        decision: The answer.
    """
    if decision == "wait":
        return
    asker = Asker(f"the form of flow run {flow_run.name or 'run-batch'}", Via.PREFECT)
    # Another way was faster: the record says so, and the flow goes by the batch's state.
    with suppress(CannotSteer):
        change_batch(ledger, batch, Action(decision), asker, Tuning())
