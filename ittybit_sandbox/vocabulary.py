"""The enumerations of Ittybit's API."""

from enum import StrEnum


class Kind(StrEnum):
    """Kinds of jobs and standalone tasks."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"
    ANIMATION = "animation"
    ADAPTIVE_VIDEO = "adaptive_video"
    PROBE = "probe"
    IMPORT = "import"
    EXPORT = "export"


JOB_KINDS = frozenset(
    {Kind.VIDEO, Kind.AUDIO, Kind.IMAGE, Kind.ANIMATION, Kind.ADAPTIVE_VIDEO},
)


class Status(StrEnum):
    """States of jobs and tasks."""

    PENDING = "pending"
    WAITING = "waiting"
    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the state is terminal."""
        return self in {self.SUCCEEDED, self.COMPLETED, self.FAILED, self.CANCELLED}


class Stage(StrEnum):
    """Nested tasks of a job, in the order that they run."""

    PROBE = "probe"
    IMPORT = "import"
    ENCODE = "encode"
    EXPORT = "export"


class Quality(StrEnum):
    """Ittybit's five levels of quality."""

    VERY_LOW = "very_low"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    VERY_HIGH = "very_high"


class Fit(StrEnum):
    """How to fit a picture into a frame of another aspect ratio."""

    CONTAIN = "contain"
    COVER = "cover"
    FILL = "fill"


class Codec(StrEnum):
    """Video codecs."""

    H264 = "h264"
    H265 = "h265"
    VP9 = "vp9"
    AV1 = "av1"


class ErrorKind(StrEnum):
    """Values of `kind` in errors of the API and of jobs."""

    INVALID_INPUT = "invalid_input"
    REQUEST_INVALID = "request_invalid"
    TOKEN_MISSING = "token_missing"  # noqa: S105 - a word of the API, not a token
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - a word of the API, not a token
    JOB_NOT_FOUND = "job_not_found"
    TASK_NOT_FOUND = "task_not_found"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    FORBIDDEN = "forbidden"
    CONFLICT = "conflict"
    REQUEST_TOO_LARGE = "request_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"
