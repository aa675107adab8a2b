"""The command that changes how fast a batch runs."""

from typing import Annotated

from cyclopts import Parameter
from pydantic import ValidationError

from ittybatch.cli.output import Batch, Json, console, print_json, refused
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.options import Priority
from ittybatch.engine.tuning import Tuning, tune_batch
from ittybatch.ledger import open_ledger
from ittybatch.ledger.queries import find_batch
from ittybatch.settings import Settings


def tune(
    batch: Batch,
    *,
    max_active_chunks: Annotated[
        int | None, Parameter(help="Chunks at Ittybit at the same time.")
    ] = None,
    submit_per_s: Annotated[
        float | None, Parameter(help="Submissions a second; 0: as fast as they go.")
    ] = None,
    priority: Annotated[Priority | None, Parameter(help="high, normal or low.")] = None,
    max_submissions: Annotated[
        int | None, Parameter(help="Hold the batch after so many, retries included.")
    ] = None,
    json: Json = False,
) -> int:
    """Run a batch faster or slower, from here on. What is not given stays as it is.

    What is being submitted goes by it within seconds.
    """
    try:
        changes = Tuning(
            max_active_chunks=max_active_chunks,
            submit_per_s=submit_per_s,
            priority=priority,
            max_submissions=max_submissions,
        )
    except ValidationError as error:
        raise refused(error) from error
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    options = tune_batch(ledger, found, changes)
    if json:
        print_json({"batch": found, "options": options})
    else:
        console.print(f"Batch {found} now runs with:")
        for name, value in sorted(options.items()):
            console.print(f"  {name}: {value}", markup=False)
    return SUCCEEDED
