"""The rules of `intake.yaml`: which objects and rows get which jobs."""

import re
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ittybatch.intake.wanted import TaskSpec
from ittybatch.ittybit.options import InvalidOptions, Kind, canonical_options
from ittybatch.profiles.item import S3_SCHEME, Item
from ittybatch.profiles.keys import is_bucket_name
from ittybatch.profiles.rendition import SEVERAL, Slug
from ittybatch.sources.entry import has_unseen, visible
from ittybatch.sources.filters import ObjectFilters, Rule, litter_rules, wanted_rules

_MAX_TASKS = 20
_MAX_BUCKETS = 100
_NAME = re.compile(r"[^\x00-\x1f\x7f\"]{1,200}")


def _check_bucket(name: str) -> str:
    if name.startswith("s3://"):
        raise ValueError(
            f"{name!r} is a URI; write the bucket's name only, and a folder as `prefix`"
        )
    if not is_bucket_name(name):
        raise ValueError(f"{name[:80]!r} is not the name of a bucket")
    return name


def _as_folder(prefix: str) -> str:
    if prefix.startswith(("/", "s3://")):
        raise ValueError(f"{visible(prefix)[:80]!r} is no folder of a bucket; write uploads/")
    if has_unseen(prefix):
        raise ValueError(f"{visible(prefix)[:80]!r} has an invisible character")
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{visible(name)[:80]!r} is not the name of a table or a column")
    return name


Bucket = Annotated[str, AfterValidator(_check_bucket)]
Folder = Annotated[str, Field(max_length=1000), AfterValidator(_as_folder)]
Name = Annotated[str, AfterValidator(_check_name)]


class DeclaredPart(BaseModel):
    """A part of `intake.yaml`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class TaskDeclared(DeclaredPart):
    """One job of each object or row, without a profile.

    Args:
        kind: Kind of job.
        options: Its options; canonical after validation.
    """

    kind: Kind
    options: Annotated[dict[str, Any], Field(validate_default=True)] = {}

    @field_validator("options")
    @classmethod
    def _of_the_kind(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "kind" not in info.data:
            return options
        try:
            return canonical_options(info.data["kind"], options)
        except InvalidOptions as error:
            raise PydanticCustomError(
                SEVERAL,
                "invalid options",
                {
                    "problems": [
                        ((each.field,), f"{each.value}: {each.problem} {each.remedy}")
                        for each in error.problems
                    ]
                },
            ) from error


class MakesJobs(DeclaredPart):
    """What the jobs are: those of a profile, or the listed ones.

    Args:
        profile: Name of the profile.
        tasks: The jobs, if there is no profile.
    """

    profile: Slug | None = None
    tasks: Annotated[tuple[TaskDeclared, ...], Field(max_length=_MAX_TASKS)] = ()

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.profile is None) == (not self.tasks):
            raise ValueError(
                "give either `profile: NAME` or `tasks`, such as `tasks: [{kind: video}]`"
            )
        return self

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """The listed jobs, as a request asks for them."""
        return tuple(TaskSpec(each.kind.value, each.options) for each in self.tasks)


class BucketDeclared(MakesJobs, ObjectFilters):
    """Which jobs new objects of a folder get. The other fields are the filters of a scan.

    Args:
        bucket: The bucket.
        prefix: The folder; empty for the whole bucket.
    """

    bucket: Bucket
    prefix: Folder = ""

    @field_validator("modified_since", "modified_before")
    @classmethod
    def _of_scans_only(cls, _: object) -> None:
        raise ValueError("is for scans: an event is about an object that is new; leave it out")

    @property
    def uri(self) -> str:
        """The folder as `s3://bucket/prefix/`."""
        return f"s3://{self.bucket}/{self.prefix}"

    @cached_property
    def litter(self) -> list[Rule]:
        """The rules that leave out litter."""
        return litter_rules(self, self.prefix)

    @cached_property
    def filters(self) -> list[Rule]:
        """The rules of the fields given here."""
        return wanted_rules(self, self.prefix)

    def contains(self, bucket: str, key: str) -> bool:
        """Say whether an object is in the folder."""
        return bucket == self.bucket and key.startswith(self.prefix)

    def overlaps(self, other: "BucketDeclared") -> bool:
        """Say whether an object may belong to both declarations."""
        nested = self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)
        return (
            self.bucket == other.bucket
            and nested
            and (
                not self.suffixes
                or not other.suffixes
                or any(
                    one.endswith(another) or another.endswith(one)
                    for one in self.suffixes
                    for another in other.suffixes
                )
            )
        )


class TableDeclared(MakesJobs):
    """Which jobs new rows of a table get, as Supabase's database webhooks report them.

    Args:
        table: The table.
        schema_name: Its schema.
        url_column: The column that holds the URL of the input.
        id_column: The column whose value becomes `metadata.job_id`.
        buckets: The buckets whose objects rows may name as `s3://bucket/key`. Rows may be written
            by end users, and Ittybit reads whatever its storage connection may read.
    """

    model_config = ConfigDict(
        validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )

    table: Name
    schema_name: Name = Field("public", alias="schema")
    url_column: Name = "input_url"
    id_column: Name = "id"
    buckets: Annotated[tuple[Bucket, ...], Field(max_length=_MAX_BUCKETS)] = ()

    def allows(self, url: str) -> bool:
        """Say whether rows may name a URL; only objects of buckets are restricted here."""
        return not url.startswith(S3_SCHEME) or Item(url).bucket in self.buckets
