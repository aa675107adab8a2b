"""An operator without patience: acts on batches, by command and in Prefect, between the kills."""

import contextlib
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import httpx

from ittybatch.errors import IttybatchError
from ittybatch.ledger.states import BatchState
from tests.end_to_end.system import System

_TRIES_FOR_S = 90.0
_AGAIN_AFTER_S = 2.0
_BETWEEN_TRIES_S = 1.0
# As long as a person looks at a held batch before they resume it.
_LOOKS_FOR_S = (0.5, 6.0)


class Act(StrEnum):
    """What an operator does."""

    PAUSE = "pause, then resume"
    TUNE = "tune"
    DEPLOY = "deploy"
    SUSPEND = "Suspend in Prefect, then resume"
    CANCEL = "cancel by command"
    CANCEL_RUN = "Cancel in Prefect"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Step:
    """One act, this many seconds after the one before."""

    after_s: float
    act: Act


def random_steps(seed: int, rounds: int) -> tuple[Step, ...]:
    """Decide what the operator does and when; the same seed gives the same.

    Args:
        seed: Decides it.
        rounds: How often each repeatable act is done. A batch is cancelled once.
    """
    chance = random.Random(f"operator {seed}")
    acts = [Act.PAUSE, Act.TUNE, Act.SUSPEND] * rounds
    acts += [Act.CANCEL, Act.CANCEL_RUN, Act.RETRY, Act.DEPLOY]
    chance.shuffle(acts)
    return tuple(Step(chance.uniform(0.5, 5.0), act) for act in acts)


@dataclass(frozen=True, slots=True)
class Batches:
    """Who is acted on.

    Args:
        main: Paused, tuned and suspended; it has to succeed all the same.
        doomed: Cancelled by command.
        dropped: Cancelled in Prefect.
        small: Retried once it has ended.
    """

    main: str
    doomed: str
    dropped: str
    small: str


@dataclass(slots=True)
class Operator:
    """Carries out the steps in a thread of its own, so that kills meet its commands.

    Args:
        system: Its own view of the running system.
        batches: Who is acted on.
        steps: What is done, in this order.
        seed: Decides which flow run is suspended and for how long the operator looks at it.
        report: Receives a line for each act.
        reconcile_every_s: Seconds between two runs of `reconcile`, also after a deploy.
    """

    system: System
    batches: Batches
    steps: tuple[Step, ...]
    seed: int
    report: Callable[[str], None]
    reconcile_every_s: float = 20.0
    done: Counter[Act] = field(default_factory=Counter)
    too_late: Counter[Act] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Act until the end of the block; an act that has begun is finished."""
        thread = threading.Thread(target=self._work, name="operator", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(3 * _TRIES_FOR_S)

    def _persist(self, act: Act, chance: random.Random) -> bool:
        """Repeat a command that failed because a server had just been killed, as people do."""
        deadline = time.monotonic() + _TRIES_FOR_S
        while True:
            try:
                return self._carry_out(act, chance)
            # A command that hangs while a server restarts is interrupted.
            except (httpx.HTTPError, IttybatchError, subprocess.TimeoutExpired) as error:
                if time.monotonic() >= deadline:
                    raise
                self.report(f"operator: {act} failed, and is repeated: {error}")
                time.sleep(_AGAIN_AFTER_S)

    def _work(self) -> None:
        chance = random.Random(self.seed)
        for step in self.steps:
            # Cancel and retry are due in any case; what is done to the main batch is not.
            if self._stop.wait(step.after_s) and step.act in {Act.PAUSE, Act.TUNE, Act.SUSPEND}:
                self.too_late[step.act] += 1
                continue
            try:
                in_time = self._persist(step.act, chance)
            except (
                AssertionError,
                httpx.HTTPError,
                IttybatchError,
                subprocess.TimeoutExpired,
            ) as error:
                self.wrong.append(f"the operator could not {step.act}: {error}")
                continue
            (self.done if in_time else self.too_late)[step.act] += 1

    def _carry_out(self, act: Act, chance: random.Random) -> bool:
        """Do one thing; False where the batch had ended before."""
        self.report(f"operator: {act}")
        carry_out: dict[Act, Callable[[], bool]] = {
            Act.PAUSE: lambda: self._pause(chance),
            Act.TUNE: lambda: self._tune(chance),
            Act.SUSPEND: lambda: self._suspend(chance),
            Act.CANCEL: lambda: self._command("cancel", self.batches.doomed),
            Act.CANCEL_RUN: self._cancel_run,
            Act.RETRY: self._retry,
            Act.DEPLOY: self._deploy,
        }
        return carry_out[act]()

    def _pause(self, chance: random.Random) -> bool:
        return self._command("pause", self.batches.main) and self._resume_later(chance)

    def _tune(self, chance: random.Random) -> bool:
        rate, chunks = chance.choice((20, 60, 0)), chance.choice((2, 3, 4))
        options = ("--submit-per-s", str(rate), "--max-active-chunks", str(chunks))
        return self._command("tune", self.batches.main, *options)

    def _deploy(self) -> bool:
        if not self._command("deploy"):
            return False
        # The file's own interval is minutes: what a soak has lost is looked for sooner.
        self.system.prefect.set_interval("reconcile", self.reconcile_every_s)
        return True

    def _command(self, *arguments: str) -> bool:
        """Run a command as often as it takes; False where the batch's state refuses it."""
        deadline = time.monotonic() + _TRIES_FOR_S
        done_before = False
        while True:
            done = self.system.command(*arguments)
            said = (done.stderr or done.stdout).strip()
            # The first try has changed the ledger, and said so; only Prefect did not answer.
            if done.returncode == 0 or (done_before and "is not held; it is running" in said):
                return True
            done_before = done_before or "Prefect did not answer" in said
            if "Traceback" in said:
                self.wrong.append(f"`ittybatch {' '.join(arguments)}` ended in a traceback: {said}")
            if done.returncode == 2 or self._ended(arguments):
                return False
            assert time.monotonic() < deadline, f"`ittybatch {' '.join(arguments)}`: {said}"
            time.sleep(_BETWEEN_TRIES_S)

    def _ended(self, arguments: tuple[str, ...]) -> bool:
        with contextlib.suppress(IttybatchError):
            return len(arguments) > 1 and self.system.status(arguments[1]).state.ended
        return False

    def _resume_later(self, chance: random.Random) -> bool:
        time.sleep(chance.uniform(*_LOOKS_FOR_S))
        return self._command("resume", self.batches.main)

    def _suspend(self, chance: random.Random) -> bool:
        """Suspend one of the main batch's running flow runs, as the button in Prefect does."""
        deadline = time.monotonic() + _TRIES_FOR_S
        while time.monotonic() < deadline and not self._ended(("", self.batches.main)):
            with contextlib.suppress(httpx.HTTPError, AssertionError):
                runs = [
                    run["id"]
                    for run in self.system.prefect.open_runs(f"batch:{self.batches.main}")
                    if run["state_type"] == "RUNNING"
                ]
                if runs and self.system.prefect.suspend(chance.choice(runs)):
                    return self._see_held(chance)
            time.sleep(_BETWEEN_TRIES_S)
        return False

    def _see_held(self, chance: random.Random) -> bool:
        """Resume the batch if the suspension held it; a leg that waited anyway goes on itself."""
        deadline = time.monotonic() + _TRIES_FOR_S
        while time.monotonic() < deadline:
            with contextlib.suppress(IttybatchError):
                status = self.system.status(self.batches.main)
                if status.state is BatchState.HELD:
                    if not status.reason:
                        self.wrong.append("the main batch is held without a reason")
                    return self._resume_later(chance)
                if status.state.ended or self._stop.is_set():
                    return True
            time.sleep(_BETWEEN_TRIES_S)
        return True

    def _cancel_run(self) -> bool:
        deadline = time.monotonic() + _TRIES_FOR_S
        while time.monotonic() < deadline:
            if self._ended(("", self.batches.dropped)):
                return False
            with contextlib.suppress(httpx.HTTPError, AssertionError, IttybatchError):
                run = self.system.status(self.batches.dropped).flow_run_id
                if run and self.system.prefect.cancel(run):
                    return True
            time.sleep(_BETWEEN_TRIES_S)
        raise AssertionError("Prefect did not take the cancel of a flow run")

    def _retry(self) -> bool:
        self.system.await_end(self.batches.small, within_s=300)
        if not self._command("retry", self.batches.small):
            return False
        self.retried.append(self.batches.small)
        return True
