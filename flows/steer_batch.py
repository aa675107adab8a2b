"""Steer: pause, resume or cancel a batch, from the Prefect UI."""

from typing import Annotated

from prefect import State, flow
from prefect.states import Completed
from pydantic import Field

from ittybatch.engine.steering import Action
from tasks.leg import open_books
from tasks.steer import steer


@flow(name="steer-batch", description=__doc__)
def steer_batch(
    action: Annotated[
        Action,
        Field(
            title="Action",
            description="pause: submit nothing more until it is resumed. resume: go on from where "
            "it stopped. cancel: submit nothing more. What Ittybit has already may still run and "
            "be billed.",
        ),
    ],
    batch: Annotated[
        str,
        Field(
            title="Batch",
            description="Id of a batch, its beginning or end if that is enough, or `latest`.",
        ),
    ] = "latest",
) -> State[None]:
    """Carry out what an operator wants of a batch."""
    with open_books() as (settings, ledger):
        return Completed(message=steer(ledger, settings, batch, action).told())
