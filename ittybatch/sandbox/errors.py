"""What can go wrong: an answer that is an error, and a job that fails."""

from ittybatch.errors import IttybatchError
from ittybatch.sandbox.vocabulary import ErrorKind


class ApiError(IttybatchError):
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


class JobFailure(IttybatchError):
    """A job fails, for a reason its owner is told.

    Args:
        kind: `invalid_input` when the same job would fail again, else `internal_error`.
        message: The reason, free of local paths.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
