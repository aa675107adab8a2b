"""What `intake.yaml` declares: which events make which jobs, and where uploads go."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from ittybatch.profiles.keys import is_bucket_name
from ittybatch.profiles.quantities import ByteCount, Seconds
from ittybatch.profiles.rendition import Slug
from ittybatch.sources.entry import has_unseen, visible

# The options of the batch that holds requests without a profile.
WITHOUT_PROFILE = "requests"
MAX_UPLOAD_BYTES = 5 * 1024**4
_MAX_TASKS = 20
_MAX_RULES = 200
_DAY_S = 86_400.0
_NAME = re.compile(r"[^\x00-\x1f\x7f\"]{1,200}")
_ORIGIN = re.compile(r"https?://(?:[a-z0-9-]+\.)*[a-z0-9-]+(?::\d{1,5})?")
# Browsers run the scripts of such an image, so a family does not include it.
_SCRIPTED = "image/svg+xml"
_CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")


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


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class UploadsDeclared(_Declared):
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
        lowered = tuple(each.strip().lower() for each in types)
        for each in lowered:
            if not _CONTENT_TYPE.fullmatch(each):
                raise ValueError(f"{each[:80]!r} is no content type; write video/mp4 or video/*")
        return lowered

    def accepts(self, content_type: str) -> bool:
        """Say whether files of a type may be uploaded; parameters of the type do not count."""
        bare = content_type.partition(";")[0].strip().lower()
        family = f"{bare.partition('/')[0]}/*"
        return _CONTENT_TYPE.fullmatch(bare) is not None and (
            bare in self.content_types or (family in self.content_types and bare != _SCRIPTED)
        )
