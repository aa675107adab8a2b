"""Errors of requests to Ittybit's API.

`outcome_unknown` prevents double billing. It is true if Ittybit may have accepted a request that
has no usable answer. That request is retried under the same Idempotency-Key, never under a new
one.
"""

from typing import ClassVar

from ittybatch.errors import IttybatchError


class IttybitError(IttybatchError):
    """Ittybit's API refused a request or did not answer it.

    Args:
        message: What happened.
        remedy: What to do next.
        status: The HTTP status; None if there was no response.
        kind: Ittybit's name for the error, for example `invalid_input`.
        body: The response body, truncated, with credentials masked.
        retry_after_s: Seconds to wait, from the `Retry-After` header.
    """

    may_have_been_accepted: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        status: int | None = None,
        kind: str | None = None,
        body: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.kind = kind
        self.body = body
        self.retry_after_s = retry_after_s
        self.earlier_try_unknown = False

    @property
    def outcome_unknown(self) -> bool:
        """Whether Ittybit may have accepted this request, in this attempt or an earlier one."""
        return self.may_have_been_accepted or self.earlier_try_unknown


class IttybitConnectionError(IttybitError):
    """The connection failed, or broke before the response was complete."""

    may_have_been_accepted = True


class IttybitTimeout(IttybitError):
    """No complete response arrived in time."""

    may_have_been_accepted = True


class ServerError(IttybitError):
    """Ittybit failed to process the request: 5xx or 408."""

    may_have_been_accepted = True


class UnreadableAnswer(IttybitError):
    """A 2xx response without the documented body, for example the page of a proxy."""

    may_have_been_accepted = True


class AuthenticationError(IttybitError):
    """The API key is missing, wrong, paused, or not allowed to do this: 401 or 403."""


class PaymentRequired(IttybitError):
    """The account's plan or spending limit allows no more work: 402."""


class RateLimited(IttybitError):
    """Too many requests: 429. `retry_after_s` is the wait that Ittybit requested."""


class Redirected(IttybitError):
    """The API is not at the configured address: 3xx. Redirects are never followed."""


class InvalidRequest(IttybitError):
    """Ittybit refused the request and would refuse it again: any other 4xx."""


class NotFound(InvalidRequest):
    """Ittybit has no resource at this path: 404."""


class KeyConflict(InvalidRequest):
    """The Idempotency-Key was already used with another body: 409.

    Ittybit accepted an earlier request under this key, so the job may exist already.
    """

    may_have_been_accepted = True
