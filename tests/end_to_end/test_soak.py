"""The soak in short: some hundred jobs, every fault of the wire, and a few SIGKILLs.

`python -m tests.soak` is the long form.
"""

from pathlib import Path

import pytest

from tests.end_to_end.system import System
from tests.soak.plan import Kill, Part, Plan
from tests.soak.run import soak

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("_sleepy_chunks")]

SEED = 20_261
# While it plans, while it sends, and before anybody can be told of what was lost. All of them
# early: a worker that dies right when a run is woken costs a minute.
KILLS = (Kill(1.0, Part.RECEIVER), Kill(3.0, Part.WORKER), Kill(2.0, Part.SERVER))


def test_nothing_is_lost_or_doubled_whatever_is_killed(
    instant_system: System, tmp_path: Path
) -> None:
    """The batch ends by itself, and the ledger, the report, Prefect and Ittybit agree."""
    plan = Plan(SEED, jobs=250, kills=KILLS, deadline_s=6, chunk_size=150)
    soaked = soak(instant_system, plan, tmp_path, within_s=300)
    assert soaked.holds, soaked.told()
    assert soaked.kills.total() == len(KILLS)
    for what in ("lost", "doubled", "delayed beyond the deadline", "forged"):
        assert soaked.verdict.wire[f"webhooks {what}"], what
    assert soaked.verdict.wire["submissions recognised by their key"]
    assert soaked.verdict.attempts > soaked.plan.jobs, "some were tried again"
