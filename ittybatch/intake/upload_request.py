"""What is announced about an upload, checked before a byte of the file is sent."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.orders import Orders
from ittybatch.intake.upload_names import MAX_NAME, guess_type
from ittybatch.intake.upload_parts import MAX_SIZE
from ittybatch.intake.wanted import RequestRefused, TaskSpec, Wanted
from ittybatch.ledger.actions import Asker
from ittybatch.profiles import Item

_SHOWN_MISSING = 10


@dataclass(frozen=True, slots=True)
class Announced:
    """A file that a browser wants to upload, and what to make of it.

    Args:
        filename: Its name on the user's machine.
        content_type: Its type; empty if the browser does not know it.
        size_bytes: Its size.
        profile: A profile's name, or None.
        tasks: The jobs to make instead of a profile's.
        metadata: The user's own pairs.
        again: Make, and pay for, jobs again that were made before.
    """

    filename: str
    content_type: str
    size_bytes: int
    profile: str | None = None
    tasks: Sequence[TaskSpec] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    again: bool = False


def check_file(announced: Announced, declared: UploadsDeclared) -> str:
    """Check the name, the type and the size of a file.

    Returns:
        The content type, in lower case and without parameters.

    Raises:
        RequestRefused: The file cannot be accepted.
    """
    if not 0 < len(announced.filename) <= MAX_NAME:
        raise unprocessable(
            "filename", "The name is empty or too long.", f"Use 1 to {MAX_NAME} characters."
        )
    types = ", ".join(declared.content_types)
    given = announced.content_type.partition(";")[0].strip().lower()
    content_type = given or guess_type(announced.filename)
    if content_type is None:
        raise unprocessable(
            "content_type",
            "It is missing, and the name does not tell it.",
            f"Send one of: {types}.",
        )
    if not declared.accepts(content_type):
        raise unprocessable(
            "content_type",
            f"Files of type {content_type[:100]!r} are not accepted.",
            f"Send one of: {types}. `content_types` in intake.yaml declares them.",
        )
    most = min(declared.max_bytes, MAX_SIZE)
    if not 0 < announced.size_bytes <= most:
        raise unprocessable(
            "size",
            f"A file of {announced.size_bytes} bytes is not accepted.",
            f"Send a file of 1 to {most} bytes. `max_bytes` in intake.yaml declares the limit.",
        )
    return content_type


def check_wanted(
    announced: Announced, declared: UploadsDeclared, uri: str, orders: Orders
) -> dict[str, Any]:
    """Refuse now what could not be processed later, when the file has been sent.

    Args:
        announced: The file.
        declared: Says which profile is meant if none is named.
        uri: Where the file will be.
        orders: Makes an order of a request, or refuses it.

    Returns:
        What to make of the file, as plain data for `wanted_from`.

    Raises:
        RequestRefused: A profile, a kind or an option does not exist or cannot be used, or the
            profile makes nothing of this file.
    """
    wanted = {
        "profile": None if announced.tasks else announced.profile or declared.profile,
        "tasks": [[task.kind, dict(task.options)] for task in announced.tasks],
        "metadata": dict(announced.metadata),
        "again": announced.again,
    }
    orders.order(wanted_from(wanted, Item(uri, size_bytes=announced.size_bytes)))
    return wanted


def wanted_from(
    wanted: Mapping[str, Any],
    item: Item,
    idempotency_key: str | None = None,
    asker: Asker | None = None,
) -> Wanted:
    """Make the request of an upload from what `check_wanted` has returned."""
    return Wanted(
        item,
        profile=wanted["profile"],
        tasks=[TaskSpec(kind, options) for kind, options in wanted["tasks"]],
        metadata=wanted["metadata"],
        again=wanted["again"],
        idempotency_key=idempotency_key,
        body_digest=hashlib.sha256(orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        asker=asker,
    )


def unprocessable(field_: str, message: str, remedy: str | None) -> RequestRefused:
    """Refuse a request because of one of its fields."""
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, field_, message, remedy)


def check_parts(count: int, named: Collection[int]) -> None:
    """Check that every part of a file is named. S3 would make a shorter file if one was left out.

    Args:
        count: How many parts the file has, numbered from 1.
        named: The numbers of the parts that have arrived.

    Raises:
        RequestRefused: There are too few, or too many.
    """
    missing = [number for number in range(1, count + 1) if number not in named]
    if missing:
        shown = ", ".join(map(str, missing[:_SHOWN_MISSING]))
        left = len(missing) - _SHOWN_MISSING
        more = f" and {left} more" if left > 0 else ""
        raise unprocessable(
            "parts",
            f"Of {count} parts, these have not arrived or are not named: {shown}{more}.",
            "Send them, then complete the upload.",
        )
    if len(named) > count:
        raise unprocessable("parts", f"There are only {count} parts.", "Name each of them once.")
