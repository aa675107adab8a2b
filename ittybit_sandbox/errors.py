"""What can go wrong: a sandbox that cannot start, an answer that is an error, a job that fails."""

from ittybit_sandbox.vocabulary import ErrorKind


class SandboxError(Exception):
    """The root of every error that the sandbox raises on purpose.

    Args:
        message: What happened, and to which setting, file or field.
        remedy: What to do next.
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class ConfigurationError(SandboxError):
    """The sandbox cannot start, or a fault file cannot be used."""


class ApiError(SandboxError):
    """A request is answered with `{kind, message}`.

    Args:
        status: The HTTP status.
        kind: Ittybit's word for the error.
        message: What happened and to which field.
        headers: Extra headers of the answer, such as `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = headers


def invalid(field: str, message: str) -> ApiError:
    """Name the field of a request that cannot be used."""
    return ApiError(400, ErrorKind.INVALID_INPUT, f"{field}: {message}")


class JobFailure(SandboxError):
    """A job fails, for a reason its owner is told.

    Args:
        kind: `invalid_input` when the same job would fail again, else `internal_error`.
        message: The reason, free of local paths.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
