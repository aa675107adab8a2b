"""Tuning a batch that has begun: more of it at a time, or less."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ittybatch.engine.options import BatchOptions, Priority
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import change_options, read_batch
from ittybatch.sources.form import as_form


class CannotTune(IttybatchError):
    """The batch has ended, or would run with options that make no sense."""


class Tuning(BaseModel):
    """How a batch is run otherwise. What is empty stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        title="Changes",
        json_schema_extra=as_form,
        allow_inf_nan=False,
    )

    max_active_chunks: int | None = Field(
        None,
        title="Active chunks",
        description="Chunks whose jobs are at Ittybit at the same time.",
        ge=1,
        le=500,
    )
    submit_per_s: float | None = Field(
        None,
        title="Submissions a second",
        description="Of the whole batch. 0: as fast as they go.",
        ge=0,
    )
    priority: Priority | None = Field(
        None, title="Priority", description="Who goes first where jobs in flight are limited."
    )
    max_submissions: int | None = Field(
        None,
        title="Most submissions",
        description="The batch is held once it has made so many, retries included.",
        ge=1,
    )


def tune_batch(ledger: Ledger, batch: str, changes: Tuning) -> dict[str, Any]:
    """Run a batch otherwise from here on. What is being submitted goes by it within seconds.

    Args:
        ledger: Where it is.
        batch: Its id.
        changes: What changes.

    Returns:
        The batch's options as they are now, as JSON.

    Raises:
        CannotTune: when the batch has ended, or the options would make no sense together.
    """
    given: dict[str, Any] = changes.model_dump(mode="json", exclude_none=True)
    if given.get("submit_per_s") == 0:
        given["submit_per_s"] = None
    try:
        BatchOptions.model_validate({**ledger.read(read_batch, batch).options, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CannotTune(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    if given and not ledger.write(change_options, batch, given):
        raise CannotTune(f"Batch {batch} has ended: there is nothing left to tune.")
    return dict(ledger.read(read_batch, batch).options)
