"""The bodies of the requests and answers about uploads, as OpenAPI describes them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ittybatch.intake.upload_names import MAX_NAME
from ittybatch.intake.upload_parts import MAX_PARTS, MAX_SIZE
from ittybatch.receiver.api.models import MakesJobs

# Below it, each path holds the id of an upload.
UPLOADS = "/uploads"
_MAX_TYPE = 200
_MAX_ETAG = 200


class UploadRequest(MakesJobs):
    """A file that a browser wants to upload, and what to make of it."""

    filename: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_NAME,
            description="The file's name; a cleaned form of it becomes part of the key.",
            examples=["holiday.mov"],
        ),
    ]
    content_type: Annotated[
        str,
        Field(
            max_length=_MAX_TYPE,
            description="The file's type. If it is empty, the name tells it.",
            examples=["video/quicktime"],
        ),
    ] = ""
    size: Annotated[
        int, Field(ge=1, le=MAX_SIZE, description="The file's size in bytes.", examples=[48230912])
    ]


class CompletedPart(BaseModel):
    """A part that the bucket has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    etag: Annotated[
        str | None,
        Field(max_length=_MAX_ETAG, description="The `ETag` header of the PUT's answer."),
    ] = None


class CompleteRequest(BaseModel):
    """What a browser has sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: Annotated[
        list[CompletedPart] | None,
        Field(
            max_length=MAX_PARTS,
            description="Every part. Without it, or without an ETag, the bucket is asked.",
        ),
    ] = None


class PartAnswer(BaseModel):
    """One part of the file, and where to send it."""

    number: int
    offset: Annotated[int, Field(description="The part's first byte in the file.")]
    size: Annotated[int, Field(description="How many bytes it has; no other number is accepted.")]
    url: Annotated[str, Field(description="PUT the bytes to it. Keep it secret.")]


class UploadAnswer(BaseModel):
    """An upload: where to send the file's parts, and what to call then."""

    id: Annotated[str, Field(description="Whoever has it may finish or abort the upload.")]
    uri: str
    multipart: bool
    headers: Annotated[dict[str, str], Field(description="Headers to send with each PUT.")]
    part_size: int
    part_count: int
    parts: list[PartAnswer]
    more_url: Annotated[
        str | None, Field(description="GET it for the URLs of the next parts; null after the last.")
    ]
    complete_url: Annotated[str, Field(description="POST to it when every part was sent.")]
    abort_url: Annotated[str, Field(description="DELETE it to give up.")]
    expires_at: Annotated[str, Field(description="Until then the upload can be completed.")]
