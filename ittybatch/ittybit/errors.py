"""What can go wrong between us and Ittybit's API.

The one question that money hangs on is `outcome_unknown`: may the request have been accepted
although we hold no answer? If so it is repeated under the same Idempotency-Key, never under a
new one.
"""

from typing import ClassVar

from ittybatch.errors import IttybatchError


class IttybitError(IttybatchError):
    """Ittybit's API refused a request, or could not be asked.

    Args:
        message: What happened.
        remedy: What to do next.
        status: The HTTP status, or None where there was no answer.
        kind: Ittybit's own word for the error, such as `invalid_input`.
        body: The answer's body: bounded, and with credentials masked.
        retry_after_s: Seconds that the answer asked us to wait.
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
        """Whether this request, in any of its tries, may have been accepted."""
        return self.may_have_been_accepted or self.earlier_try_unknown


class IttybitConnectionError(IttybitError):
    """No connection, or one that broke before the answer was complete."""

    may_have_been_accepted = True


class IttybitTimeout(IttybitError):
    """No complete answer in time."""

    may_have_been_accepted = True


class ServerError(IttybitError):
    """Ittybit failed to answer properly: a 5xx, or 408."""

    may_have_been_accepted = True


class UnreadableAnswer(IttybitError):
    """A success whose body is not what Ittybit documents, such as a proxy's page."""

    may_have_been_accepted = True


class AuthenticationError(IttybitError):
    """The API key is missing, wrong, paused, or not allowed to do this: 401 or 403."""


class PaymentRequired(IttybitError):
    """The account cannot pay for more work: 402."""


class RateLimited(IttybitError):
    """Too many requests: 429. `retry_after_s` holds what Ittybit asked for."""


class Redirected(IttybitError):
    """The API does not live at the configured address: 3xx. Never followed."""


class InvalidRequest(IttybitError):
    """The request itself was refused, and would be again: any other 4xx."""


class NotFound(InvalidRequest):
    """There is no such thing: 404."""


class KeyConflict(InvalidRequest):
    """The Idempotency-Key has been used already, for another body: 409.

    Somebody's request under this key was taken, so this one may have a job already.
    """

    may_have_been_accepted = True
