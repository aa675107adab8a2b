"""How a batch is run: what its starter may choose beside source and profile."""

from pydantic import BaseModel, ConfigDict, Field


class BatchOptions(BaseModel):
    """How a batch is run."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Options")

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
        200,
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
    go_on_with: str | None = Field(
        None,
        title="Go on with batch",
        description="Id of a batch that lost its run, to be taken up where it stands.",
    )
