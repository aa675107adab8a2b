"""Wait for a job or a batch in a user's own flow, without a process meanwhile.

The contract of `wait_suspended`: call it in a flow that a deployment runs, not in a subflow or a
task. When the job or batch has ended, Prefect runs the flow again from its beginning, in another
process. So everything before it has to be safe to repeat. `trigger()` is: in the same flow run it
finds what it has started. Tasks are, if their results are persisted. Where a flow cannot be
suspended (called directly, or as a subflow), it waits in its process.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from ittybatch.prefect.asking import FlowRunEnds

if TYPE_CHECKING:
    from ittybatch.ledger import Ledger
    from ittybatch.ledger.waiters import Target

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

_CHECK_EVERY_S = 0.5


class EndsSometime(Protocol[R_co]):
    """A run of a job or a batch, as the ledger sees it."""

    def open_target(self, ledger: "Ledger", ends: FlowRunEnds) -> "Target | None":
        """What it still waits for; None if it has ended."""

    def fetch_result(self) -> R_co:
        """Its result, once it has ended."""


def wait_suspended(run: EndsSometime[T], *, timeout_s: float | None = None) -> T:
    """Suspend this flow run until a job or a batch has ended, then return its result.

    See the module for what the flow has to keep to.

    Args:
        run: What `trigger()` returned.
        timeout_s: Seconds after which Prefect fails the suspended flow run, or a flow that waits
            in its process raises `TimeoutError`; 0 to raise it at once if there is anything to
            wait for; None for `ITTYBATCH_SUSPEND_TIMEOUT_S`. A flow that sleeps longer than that
            setting may find on waking that the ledger has forgotten what it had started.

    Raises:
        TimeoutError: The time is over. The job or batch continues.
        JobFailed: A job did not succeed.
        NoBatch: The batch's flow run ended before it had begun a batch.
        LegInterrupted: Prefect refuses to suspend this flow run.
        PrefectUnavailable: Prefect does not answer.
        LedgerUnavailable: The ledger cannot be reached.
    """
    from ittybatch.ledger.waiters import begin_waiting, finish_waiting  # noqa: PLC0415  imports
    from ittybatch.settings import Settings  # noqa: PLC0415  likewise
    from ittybatch.tasks.leg import in_place, suspend, this_run  # noqa: PLC0415  likewise

    flow_run, _ = this_run()
    limit_s = Settings().suspend_timeout_s if timeout_s is None else timeout_s
    with own_ledger() as ledger, FlowRunEnds() as ends:
        if flow_run is None or in_place() or limit_s <= 0:
            _wait_here(run, ledger, ends, limit_s)
        else:
            while (target := run.open_target(ledger, ends)) is not None:
                number = ledger.write(begin_waiting, flow_run, target)
                # It may have ended before the waker knew that somebody waits.
                if run.open_target(ledger, ends) is None:
                    break
                suspend(
                    f"ittybatch-{target.text}-{number}",
                    math.ceil(limit_s),
                    f"Waits for {target.text.replace(':', ' ')} of ittybatch to end.",
                )
        if flow_run is not None:
            ledger.write(finish_waiting, flow_run)
    return run.fetch_result()


async def await_suspended(run: EndsSometime[T], *, timeout_s: float | None = None) -> T:
    """Do the same in an asynchronous flow.

    Args:
        run: See `wait_suspended`.
        timeout_s: See `wait_suspended`.

    Raises:
        JobFailed: See `wait_suspended`, likewise the others.
    """
    return await asyncio.to_thread(wait_suspended, run, timeout_s=timeout_s)


@contextmanager
def own_ledger() -> Iterator["Ledger"]:
    """Open the ledger of this process's settings."""
    from ittybatch.ledger import open_ledger  # noqa: PLC0415  imports SQLAlchemy
    from ittybatch.settings import Settings  # noqa: PLC0415  likewise

    ledger = open_ledger(Settings())
    try:
        yield ledger
    finally:
        ledger.close()


def await_end(run: EndsSometime[T], timeout_s: float | None) -> None:
    """Wait in this process until a job or a batch has ended.

    Args:
        run: What is waited for.
        timeout_s: Seconds to wait at most; None for no limit.

    Raises:
        TimeoutError: It has not ended in time. It continues.
    """
    with own_ledger() as ledger, FlowRunEnds() as ends:
        _wait_here(run, ledger, ends, math.inf if timeout_s is None else timeout_s)


def _wait_here(run: EndsSometime[T], ledger: "Ledger", ends: FlowRunEnds, limit_s: float) -> None:
    began = time.monotonic()
    while (target := run.open_target(ledger, ends)) is not None:
        left_s = limit_s - (time.monotonic() - began)
        if left_s <= 0:
            what, command = _named(target, ledger)
            raise TimeoutError(
                f"{what} has not ended within {limit_s:g} s. It continues, and waiting for it "
                f"again makes nothing twice: allow more time, or look with `{command}`."
            )
        time.sleep(min(_CHECK_EVERY_S, left_s))


def _named(target: "Target", ledger: "Ledger") -> tuple[str, str]:
    """The target's name at the beginning of a sentence, and the command that shows it."""
    from ittybatch.ledger.job_lookup import read_job  # noqa: PLC0415  see the package

    if target.job is not None:
        job = ledger.read(read_job, target.job)
        return f"Job {target.job}", f"ittybatch jobs {job.batch_id if job else 'latest'}"
    if target.batch is not None:
        return f"Batch {target.batch}", f"ittybatch follow {target.batch}"
    return f"The batch of flow run {target.batch_run}", f"ittybatch follow {target.batch_run}"
