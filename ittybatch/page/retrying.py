"""Start a retry that somebody asked for on the page, and record it."""

from collections.abc import Mapping
from typing import Any

from ittybatch.engine.recording import recorded
from ittybatch.engine.retrying import MoreThanConfirmed, Retry, start_retry
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Transaction
from ittybatch.ledger.actions import Asker, DoneAction, Via
from ittybatch.page.outcomes import Outcome
from ittybatch.page.retries_under_way import retries_under_way
from ittybatch.page.shell import Shell


def waiting_retries(transaction: Transaction, batch: str) -> dict[int, DoneAction]:
    """The retries of single jobs of a batch whose own batch has not planned them yet, by job."""
    found: dict[int, DoneAction] = {}
    for each in retries_under_way(transaction, batch):
        job = each.details.get("job")
        if isinstance(job, int):
            found.setdefault(job, each)
    return found


def start_recorded(
    shell: Shell,
    found: Retry,
    by: str,
    details: Mapping[str, Any],
    *,
    confirmed: int,
    confirm_at: str,
) -> Outcome:
    """Start a retry; repeated with the same filter and time, it is the same flow run.

    Args:
        shell: The page's.
        found: What is retried.
        by: Name of the viewer who asked.
        details: What was asked for, by name, for the record.
        confirmed: The number of jobs on the button that was pressed.
        confirm_at: The page that asks again if more jobs fit by now.
    """
    asker = Asker(by, Via.PAGE)
    try:
        with recorded(
            shell.ledger, asker, "retry", batch=found.source.batch, details=details
        ) as record:
            started = start_retry(found, confirmed=confirmed, by="page")
            record.outcome = started.describe()
            record.details["flow_run_id"] = started.flow_run_id
    except MoreThanConfirmed as error:
        return Outcome(str(error), refused=True, leads_to=confirm_at, id=record.number)
    except IttybatchError as error:
        return Outcome(str(error), refused=True, id=record.number)
    return Outcome(record.outcome, id=record.number, flow_run=started.flow_run_id)
