"""The command that removes what a ledger keeps only to look at."""

import re
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter

from ittybatch.cli.output import Json, console, print_json
from ittybatch.cli.status import SUCCEEDED
from ittybatch.errors import ConfigurationError
from ittybatch.ledger import open_ledger
from ittybatch.ledger.retention import tidy as remove_old
from ittybatch.settings import Settings

_UNITS = {"d": "days", "w": "weeks"}


def tidy(
    *,
    older_than: Annotated[
        str | None,
        Parameter(
            help="Of batches that ended longer ago than this: 30d, 8w. Without it, "
            "ITTYBATCH_KEEP_DAYS days."
        ),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Count what would be removed; remove nothing.")
    ] = False,
    json: Json = False,
) -> int:
    """Remove webhooks' bodies, polled answers and rejected rows of old batches.

    Jobs, attempts, results and what keeps a job from being paid for twice stay. Safe to repeat,
    to cut off, and to run beside everything else.
    """
    settings = Settings()
    age = _age(older_than) if older_than else timedelta(days=settings.keep_days)
    removed = remove_old(open_ledger(settings), older_than=age, dry_run=dry_run)
    if json:
        print_json(asdict(removed))
        return SUCCEEDED
    for what, count in (
        ("batches that ended before", removed.batches),
        ("webhooks", removed.deliveries),
        ("polled answers", removed.outcomes),
        ("rejected rows", removed.rejects),
        ("bytes in them", removed.size_bytes),
    ):
        console.print(f"{count:>15,}  {what}")
    if dry_run:
        console.print("Nothing was removed. `ittybatch db tidy` removes it.")
    return SUCCEEDED


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,3})([dw])", text.strip())
    if found is None:
        raise ConfigurationError(
            f"--older-than cannot be {text!r}.", remedy="Write days or weeks, such as 30d or 8w."
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
