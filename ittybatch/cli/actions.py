"""The command that lists what was done."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from ittybatch.cli.output import Column, Json, Limit, Wide, console, print_json, print_table
from ittybatch.cli.status import SUCCEEDED
from ittybatch.ledger import open_ledger
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.queries import find_batch
from ittybatch.settings import Settings


def actions(
    *,
    batch: Annotated[str | None, Parameter(help="Only about this batch, or `latest`.")] = None,
    limit: Annotated[Limit, Parameter(help="Maximum number of actions to list.")] = 50,
    wide: Wide = False,
    json: Json = False,
) -> int:
    """List who asked for what, through the page, commands, the API and Prefect; the newest first.

    Requests for new jobs are not listed, only those that make finished jobs again: the day's
    batches have them all.
    """
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch) if batch else None
    done = ledger.read(recent_actions, batch=found, limit=limit)
    if json:
        print_json([asdict(each) for each in done])
        return SUCCEEDED
    if not done:
        console.print("Nobody has asked for anything yet.")
        return SUCCEEDED
    print_table(
        "What was done",
        (
            "When",
            Column("Who", cut=True),
            "Through",
            "Action",
            Column("Batch", from_width=120),
            Column("Outcome", prose=True),
        ),
        [
            (
                f"{each.at.astimezone():%Y-%m-%d %H:%M:%S}",
                each.actor,
                each.via,
                each.action,
                each.batch_id or "",
                f"Refused: {each.outcome}" if each.refused else each.outcome,
            )
            for each in done
        ],
        wide=wide,
    )
    return SUCCEEDED
