"""The words of Ittybit's API that the sandbox speaks."""

from enum import StrEnum


class Kind(StrEnum):
    """What a job, or a standalone task, makes."""

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
    """Where a job, or a task in it, stands."""

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
        """Whether nothing more happens after it."""
        return self in {self.SUCCEEDED, self.COMPLETED, self.FAILED, self.CANCELLED}


class Stage(StrEnum):
    """One nested task of a job, in the order they run."""

    PROBE = "probe"
    IMPORT = "import"
    ENCODE = "encode"
    EXPORT = "export"


class Quality(StrEnum):
    """Ittybit's five words for quality."""

    VERY_LOW = "very_low"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    VERY_HIGH = "very_high"


class Fit(StrEnum):
    """How a picture meets a frame of another shape."""

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
    """The `kind` of an error, of the API or of a job."""

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
