"""The command that retries failed jobs."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter
from pydantic import ValidationError

from ittybatch.cli.output import Json, console, print_json, refused
from ittybatch.cli.sourcing import USUAL, Options
from ittybatch.cli.starting import Follow, options_given, start
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.planning import wanted_of
from ittybatch.ledger import open_ledger
from ittybatch.ledger.queries import find_batch
from ittybatch.ledger.recorded import ledger_time
from ittybatch.ledger.retrying import ended_jobs
from ittybatch.settings import Settings
from ittybatch.sources import FailedJobsSource
from ittybatch.sources.failed import EVERY_BATCH, RetryableState


def retry(
    batch: Annotated[
        str, Parameter(help="Id of a batch, a unique beginning or end of one, `latest`, or `all`.")
    ],
    *,
    state: Annotated[
        list[RetryableState] | None,
        Parameter(negative="", help="Only failed, expired or cancelled jobs. May be repeated."),
    ] = None,
    reason: Annotated[
        str | None, Parameter(help="Only jobs whose error contains this text, for example timeout.")
    ] = None,
    alike: Annotated[
        str | None,
        Parameter(
            help="Only jobs whose error is like this one, whatever numbers, ids, names and "
            "addresses it has."
        ),
    ] = None,
    skip_retried: Annotated[
        bool, Parameter(negative="", help="Leave out jobs that a later batch has made again.")
    ] = False,
    ended_since: Annotated[
        str | None, Parameter(help="Only jobs that ended since: 2d, or 2026-01-31T00:00:00Z.")
    ] = None,
    ended_before: Annotated[
        str | None, Parameter(help="Only jobs that ended before: 2d, or 2026-01-31T00:00:00Z.")
    ] = None,
    options: Options = USUAL,
    follow: Follow = False,
    json: Json = False,
) -> int:
    """Start a batch of jobs that failed or expired in an earlier one, each as a new attempt.

    An expired job had no result before its deadline. Ittybit may have made and billed it.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    found = batch if batch == EVERY_BATCH else ledger.read(find_batch, batch)
    given = {
        "batch": found,
        "states": state or None,
        "reason": reason,
        "alike": alike,
        "skip_retried": skip_retried or None,
        "ended_since": ended_since,
        "ended_before": ended_before,
        # What fails until a worker starts the run is not part of it.
        "recorded_before": ledger.read(ledger_time),
    }
    try:
        source = FailedJobsSource.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        raise refused(error) from error
    if not ledger.read(ended_jobs, wanted_of(source.at(datetime.now(UTC))), after=0, limit=1):
        if json:
            print_json({"flow_run_id": None, "url": None})
        else:
            console.print(f"There is nothing to retry: {_no_job(source)}.")
        return SUCCEEDED
    parameters = {
        "source": source.model_dump(mode="json", exclude_none=True),
        "options": options_given(options),
    }
    return start(settings, "retry-failed", parameters, follow=follow, json=json)


def _no_job(source: FailedJobsSource) -> str:
    batch = "no batch has a" if source.batch == EVERY_BATCH else f"batch {source.batch} has no"
    states = " or ".join(
        "was cancelled" if state is RetryableState.CANCELLED else state.value
        for state in source.states
    )
    narrowed = any(
        (
            source.reason,
            source.alike,
            source.skip_retried,
            source.ended_since,
            source.ended_before,
        )
    )
    return f"{batch} job that {states}{' and fits the other options' if narrowed else ''}"
