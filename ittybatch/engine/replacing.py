"""Replace flow runs that died or ended too early, and give up after too many failed starts."""

import logging
from dataclasses import dataclass, field, fields
from datetime import datetime

from prefect.client.schemas.objects import StateType
from prefect.states import Failed

from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable
from ittybatch.engine.orders import make_run
from ittybatch.engine.run_status import RunStatus
from ittybatch.ledger import Ledger, Transaction, identity, runs
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.control import cancel_batch, cancel_chunk
from ittybatch.ledger.runs import OwnedRun
from ittybatch.ledger.states import BatchState, RunState
from ittybatch.ledger.stopping import Stopped, stop_trying

logger = logging.getLogger(__name__)

# A live process may take seconds to get from Pending to its first write in the ledger, and from
# the start of its wait to its suspension. Do not mistake it for a dead one.
_SLOWEST_START_S = 60.0
_MAX_REASON_CHARS = 500


@dataclass(slots=True)
class Woken:
    """What one round of waking did: for each action, the owners (batches or chunks) it acted on.

    Args:
        called: Prefect was sent the event that resumes their flow runs.
        resumed: Their flow runs were resumed through Prefect's API.
        continued: Users' own flow runs, by id, whose batch or job has ended.
        made: Flow runs were created.
        replaced: Dead flow runs were replaced.
        cancelled: Somebody cancelled their flow runs in Prefect.
        ended: Their flow runs ended, and no other is created.
        held: Their batches were held.
        troubled: Prefect refused an action; it is tried again.
        mended: They had no run in the ledger, and have one again.
    """

    called: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    continued: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    troubled: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)

    def by_kind(self) -> list[tuple[str, list[str]]]:
        """List each action with its owners."""
        return [(each.name, getattr(self, each.name)) for each in fields(self)]


class Replacer:
    """Replaces the flow runs of batches and chunks, or gives up.

    Args:
        ledger: Stores the runs of batches and chunks.
        flow_runs: Access to their flow runs in Prefect.
    """

    def __init__(self, ledger: Ledger, flow_runs: FlowRuns) -> None:
        self._ledger = ledger
        self._flow_runs = flow_runs

    def replace(self, run: OwnedRun, status: RunStatus | None, woken: Woken) -> None:
        """Replace a run that died or ended, or hold its batch after too many failed starts."""
        if status is not None and was_cancelled(status):
            self._ledger.write(_cancel, run)
            woken.cancelled.append(run.owner)
        if self._ledger.read(_in_place, run):
            self.give_up(
                run,
                "The Python process that ran this batch without a deployment has ended. "
                f"`ittybatch resume {run.batch_id}` continues it through Prefect.",
                woken,
            )
        elif run.stumbles >= runs.MAX_FAILED_STARTS:
            last = (status.message if status else None) or "no reason given"
            self.give_up(
                run,
                f"The flow runs of {run.owner} ended {run.stumbles + 1} times in a row without "
                f"progress; the last: {last[:_MAX_REASON_CHARS]}",
                woken,
            )
        elif self.retire(run, status):
            make_run(self._ledger, self._flow_runs, run.owner)
            woken.replaced.append(run.owner)
        else:
            woken.ended.append(run.owner)

    def retire(self, run: OwnedRun, status: RunStatus | None) -> bool:
        """End a run in the ledger, and its flow run in Prefect if that is still open.

        Returns:
            Whether the caller must create a flow run to replace it. A held batch gets none.
        """
        replaced = self._ledger.write(runs.replace_run, run.owner, run.generation, seen=run)
        now = self._ledger.read(runs.read_run, run.owner)
        ended = now is not None and now.state is RunState.ENDED
        if (replaced or ended) and status is not None and not status.ended and run.flow_run_id:
            try:
                self._flow_runs.mark_crashed(run.flow_run_id, "Its process no longer responds.")
            except PrefectUnavailable as error:
                logger.warning("Flow run %s keeps its slot in Prefect: %s", run.flow_run_id, error)
        return replaced

    def give_up(self, run: OwnedRun, reason: str, woken: Woken) -> None:
        """Hold the batch of a run, or only end the run if the batch cannot be held."""
        match self._ledger.write(stop_trying, run, reason):
            case Stopped.HELD:
                logger.error("Batch %s is held: %s", run.batch_id, reason)
                woken.held.append(run.owner)
                show_held(self._ledger, self._flow_runs, run.batch_id)
            case Stopped.ENDED:
                logger.error("No further run is created for %s: %s", run.owner, reason)
                woken.ended.append(run.owner)
            case Stopped.MOVED:
                pass


def was_cancelled(status: RunStatus) -> bool:
    """Whether somebody cancelled the flow run in Prefect."""
    return status.type in {StateType.CANCELLED, StateType.CANCELLING}


def is_dead(status: RunStatus | None, run: OwnedRun, now: datetime, lease_s: float) -> bool:
    """Whether a run's process is gone, although the run should be working or suspended by now.

    The time counts from the last change of state in Prefect or in the ledger, whichever is later:
    a leg may have been Running in Prefect for hours before its wait began in the ledger.
    """
    if status is None or status.ended:
        return True
    working = status.type in {StateType.PENDING, StateType.RUNNING}
    in_state_s = min(status.age_s(), age_s(run.since, now))
    return working and in_state_s >= max(lease_s, _SLOWEST_START_S)


def _in_place(transaction: Transaction, run: OwnedRun) -> bool:
    """Whether the batch was started by a direct call, which no deployment can continue."""
    owner = runs.read_run(transaction, identity.batch_owner(run.batch_id))
    return owner is not None and owner.deployment_id is None and owner.generation == 0


def _cancel(transaction: Transaction, run: OwnedRun) -> None:
    """Cancel the batch or chunk of a flow run that was cancelled in Prefect."""
    chunk = identity.owned_chunk(run.owner)
    if chunk is None:
        cancel_batch(transaction, run.batch_id, "Its flow run was cancelled in Prefect.")
    else:
        cancel_chunk(transaction, chunk, "Its flow run was cancelled in Prefect.")


def show_held(ledger: Ledger, flow_runs: FlowRuns, batch: str) -> None:
    """End a held batch's flow run as Failed, with the reason.

    Nothing else reports it: after the engine gives up, no leg of the batch runs again. A suspended
    flow run would stay suspended until its timeout. A crashed one would not trigger alerts on
    Failed.
    """
    found = ledger.read(read_batch, batch)
    run = ledger.read(runs.read_run, identity.batch_owner(batch))
    if found.state is not BatchState.HELD or run is None or run.flow_run_id is None:
        return
    try:
        status = flow_runs.statuses([run.flow_run_id]).get(run.flow_run_id)
        if status is None or status.type is StateType.FAILED:
            return
        resume = f"`ittybatch resume {batch}` continues, in a new flow run."
        flow_runs.set_state(run.flow_run_id, Failed(message=f"{found.reason} {resume}"))
    except PrefectUnavailable as error:
        logger.warning("Prefect does not show that batch %s is held: %s", batch, error)


def age_s(then: datetime, now: datetime) -> float:
    """Return the seconds between two times."""
    return (now - then).total_seconds()
