"""Beginning a batch of a soak, and asking somebody who may just have been killed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from ittybatch.errors import IttybatchError
from ittybatch.ledger.queries import batch_of_run
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until
from tests.soak.library import write_manifest, write_profile
from tests.soak.plan import Plan

T = TypeVar("T")

_BEGINS_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Begun:
    """A batch that has begun.

    Args:
        id: The batch's id.
        flow_run: The flow run that it was started with.
        jobs: How many jobs it gives.
    """

    id: str
    flow_run: str
    jobs: int


def begin(
    system: System,
    plan: Plan,
    folder: Path,
    *,
    of: str,
    jobs: int,
    submit_per_s: float | None = None,
) -> Begun:
    """Start a batch over a library of its own, and wait until the ledger has it.

    Args:
        system: The running system.
        plan: The soak's plan.
        folder: Where manifest and profile are written.
        of: The library's name.
        jobs: How many jobs it should give, at least.
        submit_per_s: How fast it is sent; as fast as it goes where this is None.
    """
    manifest, profile = folder / f"{of}.csv", folder / "soak.yaml"
    made = write_manifest(manifest, jobs, of)
    if not profile.exists():
        write_profile(profile, plan.deadline_s)
    options: dict[str, float] = {"chunk_size": plan.chunk_size, "max_active_chunks": 3}
    if submit_per_s is not None:
        options["submit_per_s"] = submit_per_s
    flow_run = until(
        lambda: trying(
            lambda: system.prefect.run(
                "run-batch/adhoc",
                {
                    "source": {"type": "manifest", "uri": str(manifest)},
                    "profile": str(profile),
                    "options": options,
                },
            )
        ),
        "Prefect takes the flow run",
        within_s=_BEGINS_WITHIN_S,
    )
    batch = until(
        lambda: trying(lambda: system.ledger.read(batch_of_run, flow_run)),
        "the flow run has begun a batch",
        within_s=_BEGINS_WITHIN_S,
    )
    return Begun(batch, flow_run, made)


def trying(ask: Callable[[], T]) -> T | None:
    """Ask somebody who may just have been killed."""
    try:
        return ask()
    except (httpx.HTTPError, IttybatchError, AssertionError):
        return None
