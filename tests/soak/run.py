"""One soak: a batch is started, things go wrong as planned, and the batch has to end."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ittybatch.ledger.sweep import find_broken
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until
from tests.soak.acting import Acting
from tests.soak.begin import begin, trying
from tests.soak.killing import Killer
from tests.soak.operator import Act
from tests.soak.plan import Kill, Part, Plan
from tests.soak.verdict import Verdict, judge

_LOOK_EVERY_S = 0.25
# A process that was killed is missed after this time.
LEASE_S = 15.0
# What is delayed or refused comes within a minute or two of its job's end.
_DELIVERED_WITHIN_S = 150.0
_QUIET_WITHIN_S = 180.0
RECONCILE = "reconcile"


@dataclass(slots=True)
class Soaked:
    """What one soak came to.

    Args:
        plan: What was to go wrong.
        batch: The batch's id.
        kills: What was killed, and how often.
        took_s: Seconds from the batch's start to its end.
        verdict: What both sides of the wire say of it.
        beside: What they say of the batches beside it, by what was done to them.
        acts: What the operator did in time.
        too_late: Acts that came when their batch had ended.
        notes: What else there is to tell, such as that it did not end.
    """

    plan: Plan
    batch: str
    kills: Counter[Part]
    took_s: float
    verdict: Verdict
    beside: dict[str, Verdict] = field(default_factory=dict)
    acts: Counter[Act] = field(default_factory=Counter)
    too_late: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def verdicts(self) -> list[Verdict]:
        """Of every batch."""
        return [self.verdict, *self.beside.values()]

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled or left behind, and everything planned was done."""
        return not self.notes and all(each.holds for each in self.verdicts)

    def told(self) -> str:
        """Everything that does not hold, and what it takes to see it again."""
        return "\n".join(
            [
                f"seed {self.plan.seed}: {self.plan.told()}",
                *self.notes,
                *self.verdict.told(),
                *(f"{name}: {line}" for name, each in self.beside.items() for line in each.told()),
            ]
        )


def soak(
    system: System,
    plan: Plan,
    folder: Path,
    *,
    within_s: float,
    tell: Callable[[str], None] = lambda _: None,
) -> Soaked:
    """Run a batch while things go wrong, and judge what came of it.

    Args:
        system: The running system; its sandbox is an instant one.
        plan: What goes wrong.
        folder: Where manifest and profile are written.
        within_s: Seconds after which the batch should have ended.
        tell: Told of each kill, and of how far the batch is.
    """
    before = system.wire.summary()
    killer = Killer(system.stack, plan.seed)
    with system.wire.faults(plan.faults):
        began = time.monotonic()
        main = begin(system, plan, folder, of="soak", jobs=plan.jobs)
        tell(f"batch {main.id} has begun: {main.jobs} jobs")
        with Acting.over(system, plan, main, folder, tell) as acting:
            broken: set[str] = set()
            ended = _see_through(
                system,
                main.id,
                killer,
                kills=plan.kills,
                within_s=within_s,
                broken=broken,
                tell=tell,
            )
            took_s = time.monotonic() - began
            notes = [f"broke the invariant: {line}" for line in sorted(broken)]
            if not ended:
                notes.append(f"the batch has not ended within {within_s:g} s")
            left = len(plan.kills) - killer.done.total()
            if left:
                notes.append(f"the batch was over before {left} of the kills")
        if ended:
            tell(f"the batch has ended after {took_s:.0f} s; waiting for what is still under way")
            quieten(system, [main.id, *acting.others])
    verdict = judge(system, main.id, main.flow_run, main.jobs, before)
    beside = acting.judge(before)
    notes += acting.wrong
    return Soaked(
        plan,
        main.id,
        killer.done,
        took_s,
        verdict,
        beside,
        acting.done,
        acting.too_late,
        notes,
    )


def _see_through(
    system: System,
    batch: str,
    killer: Killer,
    *,
    kills: Sequence[Kill],
    within_s: float,
    broken: set[str],
    tell: Callable[[str], None],
) -> bool:
    """Kill what is due until the batch has ended, or should have.

    `broken` gets each owner that breaks the invariant, of any batch, as soon as it is seen.
    """
    pending = list(kills)
    now = began = told_at = time.monotonic()
    due = now + pending[0].after_s if pending else 0.0
    while now - began < within_s:
        if pending and now >= due and killer.carry_out(pending[0]):
            tell(f"{now - began:5.0f} s: SIGKILL for the {pending.pop(0).part}")
            due = time.monotonic() + (pending[0].after_s if pending else 0.0)
        for each in trying(lambda: system.ledger.read(find_broken, LEASE_S)) or ():
            broken.add(each.describe())
        status = trying(lambda: system.status(batch))
        if status and status.state.ended and not status.counts["in_flight"]:
            return True
        if status and now - told_at >= 15:
            told_at = now
            counts = {name: count for name, count in status.counts.items() if count}
            tell(f"{now - began:5.0f} s: {status.state}, {counts}")
        time.sleep(_LOOK_EVERY_S)
        now = time.monotonic()
    return False


def quieten(system: System, batches: Sequence[str]) -> None:
    """Wait for the last webhooks, and for the flow runs to say that they have ended."""
    with contextlib.suppress(AssertionError):
        until(
            lambda: not system.wire.summary()["deliveries_pending"],
            "every webhook has been delivered",
            within_s=_DELIVERED_WITHIN_S,
            every_s=0.5,
        )
    for batch in batches:
        with contextlib.suppress(AssertionError):
            until(
                lambda tag=f"batch:{batch}": trying(lambda: not system.prefect.open_runs(tag)),  # type: ignore[misc]
                "no flow run is left",
                within_s=_QUIET_WITHIN_S,
                every_s=0.5,
            )


@contextmanager
def reconciling(system: System, every_s: float) -> Iterator[None]:
    """Have reconcile run on a schedule of so many seconds; as it was, afterwards."""
    before = system.prefect.interval(RECONCILE)
    system.prefect.set_interval(RECONCILE, every_s)
    try:
        yield
    finally:
        system.prefect.set_interval(RECONCILE, before)
