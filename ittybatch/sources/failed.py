"""The source that is a finished batch of one's own."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ittybatch.sources.form import as_form


class RetryableState(StrEnum):
    """How a job can have ended that is worth another try."""

    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class FailedJobsSource(BaseModel):
    """The jobs of a batch that did not succeed; the ledger itself is read for them."""

    model_config = ConfigDict(
        extra="forbid", title="Failed jobs of a batch", frozen=True, json_schema_extra=as_form
    )

    type: Literal["failed"] = Field(
        "failed", title="Type", description="Jobs of an earlier batch that did not succeed."
    )
    batch: str = Field(
        title="Batch",
        description="Id of the batch, as its tags and `ittybatch status` show it; `latest` is the "
        "newest.",
        min_length=1,
        max_length=200,
    )
    states: tuple[RetryableState, ...] = Field(
        (RetryableState.FAILED, RetryableState.EXPIRED),
        title="States",
        description="How the jobs to be tried again have ended.",
        min_length=1,
    )
