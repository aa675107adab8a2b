"""The source that is the ledger: jobs of earlier batches that did not succeed."""

from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from ittybatch.sources.form import BEGINS_EMPTY, as_form
from ittybatch.sources.moment import AwareMoment, Moment, fixed

EVERY_BATCH = "all"
# They are parameters of one query; for more jobs there are the other filters.
MOST_JOBS = 1000


class RetryableState(StrEnum):
    """Final states of jobs that can be retried."""

    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class FailedJobsSource(BaseModel):
    """Jobs of earlier batches that did not succeed; they are read from the ledger."""

    model_config = ConfigDict(
        extra="forbid",
        title="Failed jobs",
        frozen=True,
        json_schema_extra=as_form,
        hide_input_in_errors=True,
    )

    type: Literal["failed"] = Field(
        "failed", title="Type", description="Jobs of an earlier batch that did not succeed."
    )
    batch: str = Field(
        title="Batch",
        description="Id of the batch, as its tags and `ittybatch status` show it; `latest` is the "
        "newest one that found something to do, `all` is every batch.",
        min_length=1,
        max_length=200,
        json_schema_extra=BEGINS_EMPTY,
    )
    states: tuple[RetryableState, ...] = Field(
        (RetryableState.FAILED, RetryableState.EXPIRED),
        title="States",
        description="Final states of the jobs to retry.",
        min_length=1,
    )
    reason: str | None = Field(
        None,
        title="Reason",
        description="Only jobs whose error has this text in its kind or message, such as "
        "`timeout`.",
        max_length=500,
    )
    jobs: tuple[int, ...] | None = Field(
        None,
        title="Jobs",
        description="Only these jobs, by their ids in the ledger. The states, the reason and the "
        "times apply as well.",
        min_length=1,
        max_length=MOST_JOBS,
    )
    alike: str | None = Field(
        None,
        title="Alike",
        description="Only jobs whose error is like this one: numbers, ids, names and addresses "
        "may differ.",
        min_length=1,
        max_length=2000,
    )
    skip_retried: bool = Field(
        default=False,
        title="Skip retried jobs",
        description="Leave out jobs that a later batch has made again, or is about to.",
    )
    ended_since: Moment | None = Field(
        None,
        title="Ended since",
        description="Only jobs that ended at this time or later, or within the last `12h` or `2d`.",
    )
    ended_before: Moment | None = Field(
        None,
        title="Ended before",
        description="Only jobs that ended before this time, or longer ago than this age.",
    )
    recorded_before: AwareMoment | None = Field(
        None,
        title="Recorded before",
        description="Only jobs whose end the ledger had recorded before this time, by its own "
        "clock.",
    )
    most_jobs: int | None = Field(
        None,
        title="At most",
        description="The largest number of jobs to make again: the number that somebody confirmed.",
        ge=1,
    )

    def at(self, now: datetime) -> Self:
        """Replace ages by times, counted back from `now`."""
        return self.model_copy(
            update={
                "ended_since": fixed(self.ended_since, now),
                "ended_before": fixed(self.ended_before, now),
            }
        )
