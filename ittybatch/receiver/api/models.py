"""The bodies of the API's requests and answers, as OpenAPI describes them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_TASKS = 20
MAX_METADATA_BYTES = 16_384
_MAX_URL = 8192

Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_MAX_URL,
        description="The upload: `https://...`, or `s3://bucket/key` with the key unencoded.",
        examples=["https://example.com/uploads/video.mov"],
    ),
]
Kind = Annotated[
    str,
    Field(
        min_length=1,
        max_length=50,
        description="The kind of job. Default: video.",
        examples=["video"],
    ),
]
Options = Annotated[
    dict[str, Any],
    Field(
        description="Ittybit's options of this kind.",
        examples=[{"width": 1280, "format": "mp4", "quality": "high"}],
    ),
]
Status = Literal["processing", "held", "succeeded", "failed", "cancelled", "expired"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TaskRequest(_Body):
    """One of several jobs for an upload."""

    kind: Kind = "video"
    options: Options = {}


class MakesJobs(_Body):
    """What to make of an upload: one kind, several tasks, or a profile's renditions."""

    kind: Kind | None = None
    options: Options | None = None
    tasks: Annotated[
        list[TaskRequest] | None,
        Field(min_length=1, max_length=MAX_TASKS, description="Several jobs for the upload."),
    ] = None
    profile: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=100,
            description="A profile, each rendition of which that applies is made.",
        ),
    ] = None
    metadata: Annotated[
        dict[str, Any],
        Field(description="Your own names and values: sinks and `GET /jobs/{id}` report them."),
    ] = {}
    again: Annotated[
        bool, Field(description="Make again, and pay again, what was made before.")
    ] = False


class ProcessRequest(MakesJobs):
    """One upload, and what to make of it: one kind, several tasks, or a profile's renditions."""

    url: Url | None = None
    input: Annotated[Url | None, Field(description="The same as `url`.")] = None
    input_url: Annotated[Url | None, Field(description="The same as `url`.")] = None


class JobAnswer(BaseModel):
    """One job of a request."""

    job_id: Annotated[str, Field(description="The ledger's id of the job.")]
    task_id: Annotated[
        str | None, Field(description="Ittybit's id; null until Ittybit has accepted the job.")
    ]
    rendition: str
    kind: str
    status: Status
    output_url: Annotated[str | None, Field(description="Only if the job has succeeded.")] = None
    error: Annotated[str | None, Field(description="Only if the job has failed.")] = None


class ProcessAnswer(BaseModel):
    """What became of a request. Its first four fields are those of the first job."""

    task_id: str | None
    job_id: str | None
    status: Annotated[
        str, Field(description="Of all jobs together; `skipped` if the profile makes none.")
    ]
    output_url: str | None = None
    error: str | None = None
    jobs: list[JobAnswer]
    left_out: Annotated[
        dict[str, int] | None,
        Field(description="Of an event: how many objects or rows each rule left out."),
    ] = None
    refused: Annotated[
        list[str] | None, Field(description="Of an event: what could not be taken, and why.")
    ] = None


class EventAnswer(BaseModel):
    """What became of an event without anything to make."""

    status: Literal["ignored"]
    jobs: list[JobAnswer]
    left_out: Annotated[
        dict[str, int], Field(description="How many objects or rows each rule left out.")
    ]


class JobDetails(BaseModel):
    """One job and its result."""

    job_id: str
    task_id: str | None
    input_url: str
    kind: str
    rendition: str
    status: Status
    output_url: str | None
    error: str | None
    metadata: dict[str, Any]
    batch_id: str
    created_at: str | None
    completed_at: str | None


class ErrorAnswer(BaseModel):
    """Why a request was not served."""

    error: str
    field: str | None = None
    remedy: str | None = None
