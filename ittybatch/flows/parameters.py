"""The parameters of the flows, as Prefect's run form shows them.

The form reads titles and descriptions from `json_schema_extra`, and ignores those of `Field`.
"""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from ittybatch.engine.options import BatchOptions
from ittybatch.engine.steering import Action
from ittybatch.engine.tuning import Tuning
from ittybatch.errors import IttybatchError
from ittybatch.profiles import list_profiles
from ittybatch.settings import Settings
from ittybatch.sources import Source


def known_profiles() -> list[str]:
    """List the profiles on this machine; none if the settings cannot be read."""
    try:
        return list_profiles(Settings().profiles_dir)
    except IttybatchError:
        # Machines that run no flows also build the form. A run reports the error.
        return []


def _profile_tabs() -> dict[str, Any]:
    """Build a list of the known profiles, with a second tab for any other name or path."""
    names = known_profiles()
    if not names:
        return {"type": "string"}
    return {
        "anyOf": [
            {"title": "From the list", "type": "string", "enum": names},
            {"title": "Other name or path", "type": "string"},
        ]
    }


AnySource = Annotated[
    Source,
    Field(
        json_schema_extra={
            "title": "Source",
            "description": "What to process. Fields not marked as optional are required.",
        }
    ),
]
ProfileName = Annotated[
    str,
    WithJsonSchema(_profile_tabs()),
    Field(
        json_schema_extra={
            "title": "Profile",
            "description": "The renditions that every item gets. A retry keeps the profiles that "
            "its jobs had.",
        }
    ),
]
ApproveAbove = Annotated[
    int | None,
    WithJsonSchema(
        {
            "anyOf": [
                {"title": "Do not ask", "type": "null"},
                {"title": "Above a number", "type": "integer", "minimum": 0},
            ]
        }
    ),
    Field(
        ge=0,
        json_schema_extra={
            "title": "Ask for approval",
            "description": "With more jobs than this to submit, the run suspends and asks for "
            "approval on its page. 0: always.",
        },
    ),
]
Options = Annotated[
    BatchOptions,
    # In the form, each option has its own default.
    Field(
        json_schema_extra={
            "title": "Advanced",
            "description": "Optional. Each field has a default.",
            "default": {},
        }
    ),
]
SteerAction = Annotated[
    Action,
    Field(
        json_schema_extra={
            "title": "Action",
            "description": "**approve**: start a batch that waits for approval. **pause**: submit "
            "nothing more until it is resumed. **resume**: continue from where it stopped. "
            "**cancel**: submit nothing more; jobs that Ittybit has already may still run and be "
            "billed. **tune**: apply the changes below.",
        }
    ),
]
Changes = Annotated[
    Tuning,
    Field(
        json_schema_extra={
            "title": "Changes",
            "description": "For **tune** only. Empty fields stay as they are.",
            "default": {},
        }
    ),
]
BatchName = Annotated[
    str,
    Field(
        json_schema_extra={
            "title": "Batch",
            "description": "Id of a batch, the start or end of one, or `latest`: the newest "
            "batch, which may be another one than that of an alert.",
        }
    ),
]
BucketName = Annotated[
    str,
    Field(
        json_schema_extra={
            "title": "Bucket",
            "description": "`s3://bucket/prefix/`, or the name of a bucket.",
        }
    ),
]
RequestPayer = Annotated[
    bool,
    Field(
        json_schema_extra={
            "title": "Requester pays",
            "description": "Agree to pay for listing a Requester Pays bucket.",
        }
    ),
]
KeepDays = Annotated[
    int | None,
    Field(
        ge=1,
        json_schema_extra={
            "title": "Days to keep",
            "description": "Removes webhook bodies, polled answers and rejected rows of batches "
            "that ended longer ago. Empty: ITTYBATCH_KEEP_DAYS.",
        },
    ),
]
DEFAULTS = BatchOptions()
NO_CHANGES = Tuning()
