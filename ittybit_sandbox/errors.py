"""Errors: the sandbox cannot start, a request is refused, a job fails."""

from ittybit_sandbox.vocabulary import ErrorKind


class SandboxError(Exception):
    """Base class of the sandbox's errors.

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
    """A request is refused with `{kind, message}`.

    Args:
        status: The HTTP status.
        kind: Ittybit's name of the error.
        message: What happened and to which field.
        headers: Extra headers of the response, for example `Retry-After`.
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
    """Build the error for an invalid field of a request."""
    return ApiError(400, ErrorKind.INVALID_INPUT, f"{field}: {message}")


class JobFailure(SandboxError):
    """A job fails.

    Args:
        kind: `invalid_input` when the same job would fail again, else `internal_error`.
        message: The reason that the API shows; it holds no local paths.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
