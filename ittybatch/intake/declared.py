"""What `intake.yaml` declares: which events make which jobs, and where uploads go."""

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ittybatch.engine.options import RunOptions
from ittybatch.intake.clashes import clashes_of, processed_twice
from ittybatch.intake.rules import Bucket, BucketDeclared, DeclaredPart, Folder, TableDeclared
from ittybatch.profiles.quantities import ByteCount, Seconds
from ittybatch.profiles.rendition import SEVERAL, Slug
from ittybatch.sources.entry import visible
from ittybatch.sources.sqs import check_queue_url

# The options of the batch that holds requests without a profile.
WITHOUT_PROFILE = "requests"
MAX_UPLOAD_BYTES = 5 * 1024**4
# S3's limit of one PUT or POST.
_MAX_POST_BYTES = 5 * 1024**3
_MAX_RULES = 200
_MAX_QUEUES = 20
_DAY_S = 86_400.0
_ORIGIN = re.compile(r"https?://(?:[a-z0-9-]+\.)*[a-z0-9-]+(?::\d{1,5})?")
# Browsers run the scripts of such an image, so a family does not include it.
_SCRIPTED = "image/svg+xml"
_CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")
_OPTIONS = frozenset(
    {
        "max_submissions",
        "max_cost",
        "cost_per_job",
        "submit_per_s",
        "priority",
        "check_outputs",
        "report_to",
        "report_only_failures",
    }
)


class QueueDeclared(DeclaredPart):
    """A queue of S3's events that the receiver watches.

    Args:
        queue_url: URL of the SQS queue.
        dead_letter_url: URL of another queue, for messages that cannot be read or that a filter
            leaves out. Without one they stay in the queue.
    """

    queue_url: Annotated[str, Field(max_length=2048), AfterValidator(check_queue_url)]
    dead_letter_url: (
        Annotated[str, Field(max_length=2048), AfterValidator(check_queue_url)] | None
    ) = None


class UploadsDeclared(DeclaredPart):
    """Where browsers may put files, and what becomes of them.

    Args:
        bucket: The bucket that receives uploads.
        prefix: Folder of their keys; empty for the whole bucket.
        content_types: Accepted types such as `video/mp4`, or `video/*` for a family.
        max_bytes: Largest file that is accepted, in bytes.
        profile: Profile of completed uploads.
        expires_s: Seconds for which a presigned URL is valid.
        allowed_origins: Web pages that may finish uploads, as `https://app.example.com`.
        public_url: Address of the receiver for browsers; None if it is the one that requests name.
        versioned: Whether the version id identifies an object, as in a scan of the bucket.
    """

    bucket: Bucket
    prefix: Folder = "uploads/"
    content_types: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] = (
        "video/*",
        "audio/*",
        "image/*",
    )
    max_bytes: Annotated[ByteCount, Field(gt=0, le=MAX_UPLOAD_BYTES)] = 10 * 1000**3
    profile: Slug
    expires_s: Annotated[Seconds, Field(ge=60, le=7 * _DAY_S)] = 3600.0
    allowed_origins: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    public_url: str | None = None
    versioned: bool = False

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        cleaned = tuple(each.strip().rstrip("/").lower() for each in origins)
        for each in cleaned:
            if not _ORIGIN.fullmatch(each):
                raise ValueError(
                    f"{visible(each)[:80]!r} is no origin; write https://app.example.com, with the "
                    "port if it has one and without a path"
                )
        return cleaned

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, url: str | None) -> str | None:
        cleaned = url.strip().rstrip("/") if url is not None else None
        if cleaned is not None and not _ORIGIN.fullmatch(cleaned.lower()):
            raise ValueError(
                f"{visible(cleaned)[:80]!r} is no address; write https://media.example.com, "
                "without a path"
            )
        return cleaned

    @field_validator("content_types")
    @classmethod
    def _types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        lowered = tuple(dict.fromkeys(each.strip().lower() for each in types))
        for each in lowered:
            if not _CONTENT_TYPE.fullmatch(each):
                raise ValueError(f"{each[:80]!r} is no content type; write video/mp4 or video/*")
        return lowered

    @property
    def max_form_bytes(self) -> int:
        """Largest file that a form without script may send, in bytes."""
        return min(int(self.max_bytes), _MAX_POST_BYTES)

    def accepts(self, content_type: str) -> bool:
        """Say whether files of a type may be uploaded; parameters of the type do not count."""
        bare = content_type.partition(";")[0].strip().lower()
        family = f"{bare.partition('/')[0]}/*"
        in_family = family in self.content_types and bare != _SCRIPTED
        known = bare in self.content_types or in_family
        return known and _CONTENT_TYPE.fullmatch(bare) is not None and not bare.endswith("*")


def _intake_options(given: object) -> object:
    """Refuse options of batches that cannot hold for requests, which are sent at once."""
    if not isinstance(given, Mapping):
        return given
    problems = [((str(name),), _why_no_option(str(name))) for name in given if name not in _OPTIONS]
    if problems:
        raise PydanticCustomError(SEVERAL, "invalid options", {"problems": problems})
    return given


def _why_no_option(name: str) -> str:
    if name.startswith("approve"):
        return "requests are not approved; use max_submissions or max_cost, which hold the batch"
    return f"is not an option of requests; use {', '.join(sorted(_OPTIONS))}"


IntakeOptions = Annotated[RunOptions, BeforeValidator(_intake_options)]


class Declared(DeclaredPart):
    """The whole of `intake.yaml`. An empty one declares nothing.

    Args:
        buckets: Which new objects get which jobs.
        tables: Which new rows get which jobs.
        queues: Watched queues; their events are matched with `buckets`.
        options: Options of the batches of a profile, by its name; `requests` is the batch of
            requests without a profile.
        uploads: What browsers may upload; None if nothing.
    """

    buckets: Annotated[tuple[BucketDeclared, ...], Field(max_length=_MAX_RULES)] = ()
    tables: Annotated[tuple[TableDeclared, ...], Field(max_length=_MAX_RULES)] = ()
    queues: Annotated[tuple[QueueDeclared, ...], Field(max_length=_MAX_QUEUES)] = ()
    options: dict[Slug, IntakeOptions] = Field(default_factory=dict, max_length=_MAX_RULES)
    uploads: UploadsDeclared | None = None

    def options_of(self, profile: str | None) -> RunOptions:
        """Return the options of a profile's batches; None is for requests without a profile."""
        return self.options.get(profile or WITHOUT_PROFILE, RunOptions())

    def table(self, schema: str, name: str) -> TableDeclared | None:
        """Return the declaration of a table; None if there is none."""
        return next(
            (each for each in self.tables if (each.schema_name, each.table) == (schema, name)),
            None,
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        clashes = list(
            clashes_of(
                self.buckets,
                self.tables,
                [(each.queue_url, each.dead_letter_url) for each in self.queues],
            )
        )
        uploads = self.uploads
        if uploads is not None:
            clashes += processed_twice(
                self.buckets,
                uploads.bucket,
                uploads.prefix,
                uploads.profile,
                versioned=uploads.versioned,
            )
        if clashes:
            raise PydanticCustomError(SEVERAL, "declarations clash", {"problems": clashes})
        return self
