"""Tuning: change the speed and limits of a running batch."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ittybatch.engine.options import BatchOptions, Priority
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Transaction
from ittybatch.ledger.batches import change_options, read_batch
from ittybatch.sources.form import as_form


class CannotTune(IttybatchError):
    """The batch has ended, or the new options are invalid."""


class Tuning(BaseModel):
    """The options of a batch that can change while it runs. Options left empty do not change."""

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
        description="Maximum number of chunks that are processed at the same time.",
        ge=1,
        le=500,
    )
    submit_per_s: float | None = Field(
        None,
        title="Submissions per second",
        description="Maximum rate of the whole batch. 0: no limit.",
        ge=0,
    )
    priority: Priority | None = Field(
        None,
        title="Priority",
        description="Chunks of a higher priority go first where jobs in flight are limited.",
    )
    max_submissions: int | None = Field(
        None,
        title="Maximum submissions",
        description="Hold the batch after this many submissions, retries included.",
        ge=1,
    )


def tune_batch(transaction: Transaction, batch: str, changes: Tuning) -> dict[str, Any]:
    """Change options of a batch.

    Chunks that are submitting apply a new rate within seconds; a new `max_active_chunks` applies
    to the next chunks. Without changes, nothing is checked.

    Args:
        transaction: The transaction to do it in.
        batch: The batch's id.
        changes: The new values.

    Returns:
        All options of the batch after the change, as JSON.

    Raises:
        CannotTune: The batch has ended, or the new options are invalid.
        UnknownBatch: The ledger has no such batch.
    """
    given: dict[str, Any] = changes.model_dump(mode="json", exclude_none=True)
    if given.get("submit_per_s") == 0:
        given["submit_per_s"] = None
    try:
        BatchOptions.model_validate({**read_batch(transaction, batch).options, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CannotTune(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    if given and not change_options(transaction, batch, given):
        raise CannotTune(f"Batch {batch} has ended: there is nothing left to tune.")
    return dict(read_batch(transaction, batch).options)
