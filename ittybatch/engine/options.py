"""How a batch is run: what its starter may choose beside source and profile."""

from pathlib import PurePath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ittybatch.errors import IttybatchError
from ittybatch.profiles import list_profiles
from ittybatch.settings import Settings
from ittybatch.sources.form import as_form
from ittybatch.sources.s3 import SCHEME, split_uri

# Which batch goes first where not all can.
Priority = Literal["high", "normal", "low"]


class BatchOptions(BaseModel):
    """How a batch is run."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        title="Options",
        json_schema_extra=as_form,
        allow_inf_nan=False,
    )

    dry_run: bool = Field(
        default=False,
        title="Dry run",
        description="Tell what the run would do, and what it would skip. Nothing is submitted.",
    )
    name: str | None = Field(
        None,
        title="Name",
        description="What the batch is called beside its id. The deployment's name if empty.",
        max_length=100,
    )
    chunk_size: int = Field(
        500,
        title="Items a chunk",
        description="A chunk is one flow run of process-chunk: fewer and larger cost less, "
        "more and smaller show progress sooner.",
        ge=1,
        le=5000,
    )
    max_active_chunks: int = Field(
        4,
        title="Active chunks",
        description="Chunks whose jobs are at Ittybit at the same time.",
        ge=1,
        le=500,
    )
    canary_items: int = Field(
        0,
        title="Canary",
        description="So many items go first, as a chunk of their own; the rest follows once "
        "they have ended well. 0: no canary.",
        ge=0,
        le=5000,
    )
    canary_max_failed_percent: float = Field(
        0,
        title="Failures a canary may have",
        description="Percent of the canary's jobs. Above it the batch is held for you to look.",
        ge=0,
        le=100,
    )
    max_submissions: int | None = Field(
        None,
        title="Most submissions",
        description="The batch is held once it has made so many, retries included: each may "
        "be billed. Empty: no ceiling.",
        ge=1,
    )
    max_cost: float | None = Field(
        None,
        title="Most it may cost",
        description="In your own unit; needs the cost of a job. Empty: no ceiling.",
        gt=0,
    )
    cost_per_job: float | None = Field(
        None,
        title="Cost of a job",
        description="Your own estimate, in your own unit. Empty: unknown.",
        gt=0,
    )
    approve_above_jobs: int | None = Field(
        None,
        title="Ask before more jobs than",
        description="With more jobs than this to submit, the run asks in the Prefect UI and "
        "waits, suspended. 0: always. Empty: never.",
        ge=0,
    )
    approve_above_cost: float | None = Field(
        None,
        title="Ask before a cost above",
        description="The same for the estimated cost, in your own unit. An unknown cost asks too. "
        "Empty: never.",
        gt=0,
    )
    priority: Priority = Field(
        "normal",
        title="Priority",
        description="Where jobs in flight are limited, chunks of a higher priority go first: "
        "tonight's news before the backfill.",
    )
    submit_per_s: float | None = Field(
        None,
        title="Submissions a second",
        description="Of the whole batch, shared by its active chunks. Empty: as fast as they go.",
        gt=0,
    )
    skip_standing: bool = Field(
        default=False,
        title="Skip what stands already",
        description="Look at each destination first, and leave out jobs whose output is there. "
        "For libraries that were partly processed before; one request a job.",
    )
    report_to: str | None = Field(
        None,
        title="Copies of the report",
        description="An absolute path, or s3://bucket/prefix/: a folder named for the batch gets "
        "the report there as CSV, JSON, Parquet and HTML. Empty: only where the batch ran.",
    )
    report_only_failures: bool = Field(
        default=False,
        title="Copies tell only failures",
        description="Jobs that succeeded are left out of these copies.",
    )
    check_outputs: bool = Field(
        default=False,
        title="Look at each output",
        description="For the report: whether it is there, of the size that Ittybit told, and of "
        "its format. One request an output; nothing is held against the batch.",
    )
    go_on_with: str | None = Field(
        None,
        title="Go on with batch",
        description="Id of a batch that lost its run, to be taken up where it stands.",
    )

    @field_validator("report_to")
    @classmethod
    def _is_a_place(cls, value: str | None) -> str | None:
        if not value:
            return None
        if value.startswith(SCHEME):
            split_uri(value)
        elif not PurePath(value).is_absolute():
            raise ValueError(f"{value!r} is neither s3://bucket/prefix/ nor an absolute path")
        return value

    @model_validator(mode="after")
    def _cost_is_known(self) -> Self:
        if self.max_cost is not None and self.cost_per_job is None:
            raise ValueError("max_cost needs cost_per_job: an unknown cost is not nothing")
        return self


def known_profiles() -> list[str]:
    """Name the profiles of this machine, none where the settings cannot be read."""
    try:
        return list_profiles(Settings().profiles_dir)
    except IttybatchError:
        # Told where it matters: a form is also made where nothing is ever run.
        return []
