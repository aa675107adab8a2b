"""The soak of requests in short: three SIGKILLs of a receiver, and every fault of the wire.

`python -m tests.soak.intake` is the long form.
"""

import pytest

from tests.end_to_end.system import System
from tests.soak.intake import accepting, close, hammer

pytestmark = pytest.mark.timeout(600)

SEED = 20_262


def test_every_request_that_was_answered_ends_once(instant_system: System) -> None:
    """Whoever was told 202 has a job that ends, and the sandbox has it once."""
    system = instant_system
    # What other tests have asked for is not in this sandbox.
    close(system, [batch.id for batch in accepting(system)])
    taken = hammer(system, seed=SEED, kills=3, pause_s=0.5, second=False, within_s=300, hurry=True)
    assert taken.holds, taken.told()
    assert taken.kills == 3
    seen = taken.answered
    assert seen.statuses["202"]
    assert seen.cut
    assert seen.broken, "no request was under way when the receiver was killed"
    assert seen.doubled
    for verdict in taken.verdicts.values():
        assert verdict.wire["submissions recognised by their key"]
        assert verdict.wire["answers cut after the job was accepted"]
    close(system, taken.verdicts)
