"""How a batch is run: what its starter may choose beside source and profile."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from ittybatch.errors import IttybatchError
from ittybatch.profiles import list_profiles
from ittybatch.settings import Settings
from ittybatch.sources.form import as_form


class BatchOptions(BaseModel):
    """How a batch is run."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, title="Options", json_schema_extra=as_form
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


class ProfileChoice:
    """Marks a profile's name: a select box of the profiles there are, or a text for any other.

    They are those of the machine that deploys, at the time it does.
    """

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema: dict[str, Any] = handler(core_schema)
        try:
            names = list_profiles(Settings().profiles_dir)
        except IttybatchError:
            # Told where it matters; a schema is also made where nothing is ever run.
            return schema
        if not names:
            return schema
        return {
            "anyOf": [
                {"title": "Known", "type": "string", "enum": names},
                {"title": "Another", "type": "string", "minLength": 1},
            ]
        }
