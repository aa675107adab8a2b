"""What the flows are started with, and how Prefect's run form shows it.

The form takes titles and descriptions of parameters from `json_schema_extra`, and ignores those
that a `Field` of its own has.
"""

from typing import Annotated

from pydantic import Field

from ittybatch.engine.options import BatchOptions, known_profiles
from ittybatch.engine.steering import Action
from ittybatch.engine.tuning import Tuning
from ittybatch.sources import Source

# Not a select box: the form has none that takes other names too.
_KNOWN = ", ".join(f"`{name}`" for name in known_profiles()) or "none yet"

AnySource = Annotated[
    Source,
    Field(
        json_schema_extra={
            "title": "Source",
            "description": "What to process. Fields not marked as optional are needed.",
        }
    ),
]
ProfileName = Annotated[
    str,
    Field(
        json_schema_extra={
            "title": "Profile",
            "description": "The renditions that every item gets: a file of "
            f"`deployments/profiles/` ({_KNOWN}), or the path of another. "
            "A batch of failed jobs keeps the profile it had.",
        }
    ),
]
Options = Annotated[
    BatchOptions,
    # Each option has a default of its own in the form.
    Field(
        json_schema_extra={"title": "Options", "description": "How to go about it.", "default": {}}
    ),
]
SteerAction = Annotated[
    Action,
    Field(
        json_schema_extra={
            "title": "Action",
            "description": "**approve**: let a batch begin that waits for that. **pause**: submit "
            "nothing more until it is resumed. **resume**: go on from where it stopped. "
            "**cancel**: submit nothing more. What Ittybit has already may still run and be "
            "billed. **tune**: go on with the changes below.",
        }
    ),
]
Changes = Annotated[
    Tuning,
    Field(
        json_schema_extra={
            "title": "Changes",
            "description": "For **tune** only. What is empty stays as it is.",
            "default": {},
        }
    ),
]
BatchName = Annotated[
    str,
    Field(
        json_schema_extra={
            "title": "Batch",
            "description": "Id of a batch, its beginning or end if that is enough, or `latest`.",
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
KeepDays = Annotated[
    int | None,
    Field(
        ge=1,
        json_schema_extra={
            "title": "Days to keep",
            "description": "Webhooks' bodies, polled answers and rejected rows of batches that "
            "ended longer ago are removed. Empty: ITTYBATCH_KEEP_DAYS.",
        },
    ),
]
DEFAULTS = BatchOptions()
NO_CHANGES = Tuning()
