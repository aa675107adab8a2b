"""The source that receivers fill: requests of one day. Nobody starts a run of it by hand."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ittybatch.sources.form import BEGINS_EMPTY, as_form


class RequestsSource(BaseModel):
    """Requests of one day; receivers take them, and open the batch with the first one."""

    model_config = ConfigDict(
        # Prefect checks the parameters of the receiver's own runs by the schema of its form, and
        # the form shows every source of the schema. So the tab stays, and says whose it is.
        extra="forbid",
        title="Requests (receiver only)",
        frozen=True,
        json_schema_extra=as_form,
    )

    type: Literal["requests"] = Field(
        "requests",
        title="Type",
        description="Requests that the receiver has taken. It starts these runs by itself.",
    )
    day: str = Field(
        title="Day",
        description="Only the receiver starts these runs; one started here is refused. The day of "
        "the requests, in UTC.",
        pattern=r"\d{4}-\d{2}-\d{2}",
        json_schema_extra=BEGINS_EMPTY,
    )
    digest: str = Field(
        title="Digest",
        description="Identifies the profile and the options that the requests share.",
        max_length=64,
        json_schema_extra=BEGINS_EMPTY,
    )
