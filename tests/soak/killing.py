"""Killing parts of a running system, so that none of them can say or mend anything."""

import contextlib
import random
import signal
from collections import Counter

from ittybatch_local import LocalStack
from ittybatch_local.errors import StackError
from tests.end_to_end import processes
from tests.soak.plan import Kill, Part

_SERVICES = {
    Part.WORKER: "worker",
    Part.WORKER_AND_RUNS: "worker",
    Part.FLOW_RUN: "worker",
    Part.RECEIVER: "receiver",
    Part.SERVER: "prefect-server",
    Part.DATABASE: "postgres",
}


class Killer:
    """Carries out the kills of a plan. The stack's supervisor brings up again what dies.

    Args:
        stack: The stack.
        seed: Decides which flow run is killed where one is.
    """

    def __init__(self, stack: LocalStack, seed: int) -> None:
        self._stack = stack
        self._chance = random.Random(seed)
        self.done: Counter[Part] = Counter()

    def carry_out(self, kill: Kill) -> bool:
        """Kill a part.

        Returns:
            False where it does not run at the moment: it is to be tried again.
        """
        with contextlib.suppress(StackError, StopIteration):
            if self._kill(kill.part):
                self.done[kill.part] += 1
                return True
        return False

    def _kill(self, part: Part) -> bool:
        service = self._stack.pid(_SERVICES[part])
        if part is Part.FLOW_RUN:
            runs = processes.descendants(service)
            if not runs:
                return False
            processes.kill([self._chance.choice(runs)])
            return True
        if part is Part.WORKER_AND_RUNS:
            # The worker first, so that it cannot tell Prefect of the others; what has lost
            # its parent is the guard's then.
            guard = processes.parent_of(service)
            processes.kill([service])
            processes.kill(processes.descendants(guard))
            return True
        self._stack.kill(_SERVICES[part], signal.SIGKILL)
        return True
