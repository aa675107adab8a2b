"""Tidy: remove old data that the ledger keeps only for reference."""

from dataclasses import asdict
from datetime import timedelta

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from ittybatch.engine.recording import recorded
from ittybatch.flows.parameters import KeepDays
from ittybatch.ledger.actions import Asker, Via
from ittybatch.ledger.retention import tidy
from ittybatch.tasks.leg import settings_and_ledger
from ittybatch.tasks.step import ends_quietly


@flow(name="tidy-ledger", flow_run_name="tidy-ledger", description=__doc__)
@ends_quietly
def tidy_ledger(keep_days: KeepDays = None) -> State[None]:
    """Remove the data in small steps while batches continue. Safe to repeat and to interrupt."""
    with settings_and_ledger() as (settings, ledger):
        days = keep_days or settings.keep_days
        asker = Asker(f"flow run {flow_run.name or 'tidy-ledger'}", Via.PREFECT)
        with recorded(ledger, asker, "db tidy", details={"keep_days": days}) as record:
            removed = tidy(
                ledger,
                older_than=timedelta(days=days),
                flow_runs_sleep=settings.longest_sleep,
            )
            counts = ", ".join(f"{name} {count:,}" for name, count in asdict(removed).items())
            record.outcome = f"Removed: {counts}."
    return Completed(message=f"Removed of batches that ended over {days} days ago: {counts}.")
