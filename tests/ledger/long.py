"""The state machines for minutes: `python -m tests.ledger.long 600`, against DATABASE_URL if set.

Uses a ledger of its own in a temporary folder unless DATABASE_URL names an empty database.
Everything in it is deleted.
"""

import os
import sys
import tempfile
import time

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.migrate import upgrade
from tests.ledger.run_machine import RunMachine
from tests.ledger.test_state_machine import LedgerMachine, play

_EXAMPLES = 50


def main(seconds: float) -> None:
    """Play until the time is over, or something is found."""
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get("DATABASE_URL") or f"sqlite:///{folder}/ledger.db"
        ledger = Ledger(create_ledger_engine(url))
        upgrade(ledger)
        played = 0
        while time.monotonic() < until:
            for machine in (LedgerMachine, RunMachine):
                play(machine, ledger, _EXAMPLES)
                played += _EXAMPLES
        ledger.close()
    print(f"{played} sequences of events, and every invariant held.")  # noqa: T201


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0)
