"""What a request wants: one upload, and the jobs to make of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ittybatch.errors import IttybatchError
from ittybatch.ledger.actions import Asker
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.profiles import Item


class RequestRefused(IttybatchError):
    """A request cannot be taken as it is. Nothing was stored and nothing was sent.

    Args:
        status: The HTTP status of the answer, 4xx.
        field: The request's field that causes it, such as `profile` or `tasks[0].options.width`.
        message: What is wrong with it.
        remedy: What to send instead.
    """

    def __init__(self, status: int, field: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.status = int(status)
        self.field = field


class NothingToMake(RequestRefused):
    """The conditions of the profile leave the upload out. An event about it is no error."""


class IdempotencyConflict(RequestRefused):
    """The `Idempotency-Key` belongs to an earlier request with another body."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.CONFLICT,
            "Idempotency-Key",
            "This Idempotency-Key belongs to an earlier request with another body. "
            "Nothing was made for this one.",
            "Send this request with a key of its own, or the first body to get the first answer.",
        )


class MayBeTaken(LedgerUnavailable):
    """The ledger did not say in time whether it has committed a request, or has a part of it.

    Args:
        message: What is known.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            remedy="Send the same request again in a few seconds, with the same Idempotency-Key if "
            "it had one: what was taken is found, and not made twice. A request with `again` and "
            "without a key would be made, and paid for, again.",
        )


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One job that a request asks for by itself, without a profile.

    Args:
        kind: Kind of job, such as `video`.
        options: Options of the kind, as the user wrote them.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One upload, and what to make of it: the renditions of a profile, or single tasks.

    Args:
        item: The upload.
        profile: Name of the profile; None if `tasks` says what to make.
        tasks: The jobs to make; empty if `profile` is given.
        metadata: The user's own pairs, added to those of the item.
        again: Make jobs that have ended again, each as a new attempt that may be billed.
        idempotency_key: The request's `Idempotency-Key`, if it has one.
        body_digest: Digest of the request's body: with the same key it has to be the same.
        asker: Who asks, if it is known.
        by_flow_run: Whether a flow run makes it, which may sleep before it makes it again.
        is_identified: Whether the caller has looked at the object, and shown what it found.
    """

    item: Item
    profile: str | None = None
    tasks: Sequence[TaskSpec] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    again: bool = False
    idempotency_key: str | None = None
    body_digest: str = ""
    asker: Asker | None = None
    by_flow_run: bool = False
    is_identified: bool = False
