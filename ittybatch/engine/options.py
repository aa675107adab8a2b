"""The options of a batch: one model for the run form, the command line and Python."""

from pathlib import PurePath
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ittybatch.sources.form import as_form
from ittybatch.sources.s3 import SCHEME, split_uri

# Decides which batch goes first when the number of jobs in flight is limited.
Priority = Literal["high", "normal", "low"]

_OLD_NAMES = {"skip_standing": "skip_existing"}
# Accepted in `options`, but hidden in the run form. The form has a separate field for the
# approval; the program sets the other one.
_NOT_IN_FORM = ("approve_above_jobs", "go_on_with")


def _as_options_form(schema: dict[str, Any]) -> None:
    """Hide options in the form, but accept them by a pattern of the JSON schema; old names too."""
    as_form(schema)
    fields = schema["properties"]
    hidden = {name: fields.pop(name) for name in _NOT_IN_FORM if name in fields}
    hidden |= {old: fields[new] for old, new in _OLD_NAMES.items()}
    schema["patternProperties"] = {f"^{name}$": field for name, field in hidden.items()}


class RunOptions(BaseModel):
    """The options that a person may set for a batch, besides its source and profile."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        title="Options",
        json_schema_extra=_as_options_form,
        allow_inf_nan=False,
    )

    dry_run: bool = Field(
        default=False,
        title="Dry run",
        description="Report what the run would do and what it would skip. Nothing is submitted.",
    )
    again: bool = Field(
        default=False,
        title="Make finished jobs again",
        description="Also submit jobs that have succeeded or failed before, each as a new attempt. "
        "Every one may be billed again and overwrites its output.",
    )
    name: str | None = Field(
        None,
        title="Name",
        description="A name for the batch, shown beside its id. Default: the deployment's name; "
        "for adhoc and retry-failed, a summary of its jobs.",
        max_length=100,
    )
    approve_above_jobs: int | None = Field(
        None,
        title="Ask for approval above (jobs)",
        description="With more jobs than this to submit, the run suspends and asks for approval "
        "in the Prefect UI. 0: always. Not set: never.",
        ge=0,
    )
    approve_above_cost: float | None = Field(
        None,
        title="Ask for approval above (cost)",
        description="The same for the estimated cost, in your own unit. An unknown cost asks too. "
        "Not set: never.",
        gt=0,
    )
    cost_per_job: float | None = Field(
        None,
        title="Cost of a job",
        description="Your own estimate, in your own unit. Not set: unknown.",
        gt=0,
    )
    max_cost: float | None = Field(
        None,
        title="Maximum cost",
        description="Hold the batch when it reaches this cost, in your own unit. Needs the cost "
        "of a job. Not set: no limit.",
        gt=0,
    )
    max_submissions: int | None = Field(
        None,
        title="Maximum submissions",
        description="Hold the batch after this many submissions, retries included: each may be "
        "billed. Not set: no limit.",
        ge=1,
    )
    canary_items: int = Field(
        0,
        title="Canary: items",
        description="Process this many items first, as a chunk of their own. The rest follows "
        "when they have succeeded. 0: no canary.",
        ge=0,
        le=5000,
    )
    canary_max_failed_percent: float = Field(
        0,
        title="Canary: allowed failures (%)",
        description="Percentage of the canary's jobs that may fail. Above it the batch is held.",
        ge=0,
        le=100,
    )
    priority: Priority = Field(
        "normal",
        title="Priority",
        description="Where the jobs in flight are limited, chunks of a higher priority go first.",
    )
    chunk_size: int = Field(
        500,
        title="Items per chunk",
        description="A chunk is one flow run of process-chunk. Larger chunks cost less overhead, "
        "smaller ones show progress sooner.",
        ge=1,
        le=5000,
    )
    max_active_chunks: int = Field(
        4,
        title="Active chunks",
        description="Maximum number of chunks that are processed at the same time.",
        ge=1,
        le=500,
    )
    submit_per_s: float | None = Field(
        None,
        title="Submissions per second",
        description="Maximum rate of the whole batch, shared by its chunks. Not set: no limit.",
        gt=0,
    )
    skip_existing: bool = Field(
        default=False,
        title="Skip existing outputs",
        description="Check each destination first, and skip jobs whose output exists. One request "
        "per job. For libraries that were partly processed by something else.",
    )
    check_outputs: bool = Field(
        default=False,
        title="Check outputs",
        description="For the report, check that each output exists and has the size and format "
        "that Ittybit reported. One request per output, and one to Ittybit for durations that its "
        "webhook left out. The batch's state does not change.",
    )
    report_to: str | None = Field(
        None,
        title="Copy the report to",
        description="An absolute path, or s3://bucket/prefix/. A folder named after the batch "
        "receives the report as CSV, JSON, Parquet and HTML. Not set: no copy.",
    )
    report_only_failures: bool = Field(
        default=False,
        title="Copy only failures",
        description="Leave succeeded jobs out of these copies.",
    )

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, given: object) -> object:
        if isinstance(given, dict):
            return {_OLD_NAMES.get(name, name): value for name, value in given.items()}
        return given

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


class BatchOptions(RunOptions):
    """The options of a run of `run_batch`.

    Only the program sets `go_on_with`: a run that replaces a lost run names the batch to continue.
    """

    go_on_with: str | None = Field(
        None,
        title="Go on with batch",
        description="Id of a batch that lost its run; this run continues it.",
    )

    @property
    def approval_limit(self) -> int | None:
        """The number of jobs above which the batch asks for approval; None for never.

        A batch that makes finished jobs again always asks, unless the person who started it set
        a limit: the number of jobs that they saw and confirmed.
        """
        return 0 if self.again and self.approve_above_jobs is None else self.approve_above_jobs

    def to_store(self) -> dict[str, Any]:
        """Convert the options for the ledger: JSON without nulls."""
        kept = self.model_dump(mode="json", exclude={"go_on_with"}, exclude_none=True)
        # The ledger has stored this option under its old name since the first version.
        old_names = {new: old for old, new in _OLD_NAMES.items()}
        return {old_names.get(name, name): value for name, value in kept.items()}
