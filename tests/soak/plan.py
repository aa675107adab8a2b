"""What is to go wrong in one soak, all of it decided by one seed."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.soak.operator import Step


class Part(StrEnum):
    """What can be killed."""

    WORKER = "worker"
    WORKER_AND_RUNS = "worker and its flow runs"
    FLOW_RUN = "one flow run"
    RECEIVER = "receiver"
    SERVER = "prefect server"
    DATABASE = "database server"


# The three that every soak has to kill; the others come in between.
CORE = (Part.WORKER, Part.RECEIVER, Part.SERVER)


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL, or one for each process of a family, so long after the one before."""

    after_s: float
    part: Part


@dataclass(frozen=True, slots=True)
class Plan:
    """One soak.

    Args:
        seed: Decides which webhook, which call and which job meets with a fault.
        jobs: How many jobs the batch has, at least.
        kills: In their order.
        steps: What an operator does meanwhile, in this order; nothing where there are none.
        deadline_s: Seconds until a job that was not heard of is asked after.
        chunk_size: Items a chunk.
    """

    seed: int
    jobs: int
    kills: tuple[Kill, ...]
    steps: tuple[Step, ...] = ()
    deadline_s: float = 15.0
    chunk_size: int = 250

    @property
    def faults(self) -> dict[str, Any]:
        """What the other side of the wire does wrong."""
        return {
            "seed": self.seed,
            # Three in a hundred calls and more fail, or are cut after the job was accepted.
            "api": {
                "rate_limited": {"probability": 0.007, "retry_after_s": 0.5},
                "server_error": {"probability": 0.013, "status": 503},
                "cut_after_accept": {"probability": 0.017},
            },
            "webhooks": {
                "lost": {"probability": 0.055},
                "duplicated": {"probability": 0.22},
                # Of those not lost; of which a fifth has a double that is on time. So five in
                # a hundred are late by more than the deadline.
                "delayed": {"probability": 0.066, "seconds": 1.5 * self.deadline_s},
                "reordered": {"probability": 0.02},
                "wrongly_signed": {"probability": 0.02},
                "forged": {"probability": 0.02},
            },
            "jobs": [
                {"action": "hang", "probability": 0.005},
                {
                    "action": "fail_always",
                    "probability": 0.01,
                    "error": {"kind": "invalid_input", "message": "the file is not media"},
                },
                {"action": "fail_once", "probability": 0.04},
            ],
        }

    def told(self) -> str:
        """Kills and steps in words, for whoever has to do it again."""
        kills = ", ".join(f"+{kill.after_s:.1f} s {kill.part}" for kill in self.kills)
        steps = ", ".join(f"+{step.after_s:.1f} s {step.act}" for step in self.steps)
        return f"SIGKILLs: {kills}" + (f"; operator: {steps}" if steps else "")


def random_kills(
    seed: int, count: int, *, with_database: bool, pause_s: tuple[float, float] = (3.0, 10.0)
) -> list[Kill]:
    """Decide what is killed and when; the same seed gives the same.

    Args:
        seed: Decides it.
        count: How many times something is killed.
        with_database: Whether the database server may be.
        pause_s: The shortest and the longest time between two kills.
    """
    chance = random.Random(seed)
    others = [Part.WORKER_AND_RUNS, Part.FLOW_RUN, *([Part.DATABASE] if with_database else [])]
    rounds = [*CORE, *others]
    parts = [rounds[number % len(rounds)] for number in range(count)]
    chance.shuffle(parts)
    return [Kill(chance.uniform(*pause_s), part) for part in parts]
