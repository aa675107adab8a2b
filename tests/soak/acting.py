"""The batches beside the main one, what an operator does to all of them, and what came of it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ittybatch.ledger.states import BatchState
from tests.end_to_end.system import System
from tests.soak.begin import Begun, begin, trying
from tests.soak.operator import Act, Batches, Operator
from tests.soak.plan import Plan
from tests.soak.verdict import Verdict, judge

_LOOK_EVERY_S = 0.5
_LASTS_S = 150.0


@dataclass(slots=True)
class Acting:
    """An operator at work, and the batches beside the main one.

    Args:
        system: The running system.
        batches: The batches beside the main one, by what becomes of them.
        operator: Who acts; None in a soak without one.
    """

    system: System
    batches: dict[str, Begun] = field(default_factory=dict)
    operator: Operator | None = None
    retries: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def over(
        cls, system: System, plan: Plan, main: Begun, folder: Path, report: Callable[[str], None]
    ) -> Iterator["Acting"]:
        """Begin the other batches and act until the end of the block.

        Args:
            system: The running system.
            plan: What is done; a plan without steps has no other batches.
            main: The main batch.
            folder: Where manifests are written.
            report: Receives a line for each act.
        """
        if not plan.steps:
            yield cls(system)
            return
        # Those to be cancelled are still being sent when their turn comes.
        slow = plan.jobs / 3 / _LASTS_S
        batches = {
            name: begin(system, plan, folder, of=name, jobs=plan.jobs // part, submit_per_s=rate)
            for name, part, rate in (
                ("doomed", 3, slow),
                ("dropped", 3, slow),
                ("small", 10, None),
            )
        }
        own = System(system.stack)
        ids = Batches(main.id, *(batches[name].id for name in ("doomed", "dropped", "small")))
        operator = Operator(own, ids, plan.steps, plan.seed, report)
        acting = cls(system, batches, operator)
        try:
            with operator.at_work():
                yield acting
            acting.await_others(within_s=600)
        finally:
            own.close()

    @property
    def done(self) -> Counter[Act]:
        """What the operator did in time."""
        return self.operator.done if self.operator else Counter()

    @property
    def too_late(self) -> int:
        """How many acts came when their batch had ended."""
        return self.operator.too_late.total() if self.operator else 0

    @property
    def wrong(self) -> list[str]:
        """What the operator was refused or found wrong."""
        return self.operator.wrong if self.operator else []

    @property
    def others(self) -> list[str]:
        """The ids of the batches beside the main one."""
        return [*(each.id for each in self.batches.values()), *self.retries]

    def await_others(self, within_s: float) -> None:
        """Wait until every other batch has ended, or is held with a reason."""
        assert self.operator is not None
        deadline = time.monotonic() + within_s
        for small in self.operator.retried:
            # A retry of nothing begins no batch that is found by its source.
            batch = trying(lambda small=small: self.system.newest(small))  # type: ignore[misc]
            self.retries += [batch] if batch else []
        for batch in self.others:
            while time.monotonic() < deadline:
                status = trying(lambda batch=batch: self.system.status(batch))  # type: ignore[misc]
                if status and status.state.ended and not status.counts["in_flight"]:
                    break
                if status and status.state is BatchState.HELD and status.reason:
                    break
                time.sleep(_LOOK_EVERY_S)
            else:
                self.operator.wrong.append(f"batch {batch} has neither ended nor a reason")

    def judge(self, before: Mapping[str, Any]) -> dict[str, Verdict]:
        """Compare all sides for each batch beside the main one."""
        verdicts = {
            name: judge(
                self.system,
                each.id,
                each.flow_run,
                each.jobs if name == "small" else None,
                before,
            )
            for name, each in self.batches.items()
        }
        for batch in self.retries:
            run = self.system.status(batch).flow_run_id
            verdicts[f"retry {batch}"] = judge(
                self.system, batch, run or "", None, before, retry=True
            )
        return verdicts
