"""What is announced about an upload, checked before a byte of the file is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.upload_names import MAX_NAME, guess_type
from ittybatch.intake.upload_parts import MAX_SIZE
from ittybatch.intake.wanted import RequestRefused, TaskSpec
from ittybatch.ittybit.options import InvalidOptions, Kind, canonical_options
from ittybatch.profiles import ProfileError
from ittybatch.profiles.registry import Profiles


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
    announced: Announced, declared: UploadsDeclared, profiles: Profiles
) -> dict[str, Any]:
    """Refuse now what could not be processed later, when the file has been sent.

    Returns:
        What to make of the file, as plain data.

    Raises:
        RequestRefused: There is no such profile or kind, or an option cannot be used.
    """
    for number, task in enumerate(announced.tasks):
        _check_task(task, f"tasks[{number}]")
    profile = None if announced.tasks else announced.profile or declared.profile
    if profile is not None:
        try:
            profiles.get(profile)
        except ProfileError as error:
            raise unprocessable("profile", error.message, error.remedy) from None
    return {
        "profile": profile,
        "tasks": [[task.kind, dict(task.options)] for task in announced.tasks],
        "metadata": dict(announced.metadata),
        "again": announced.again,
    }


def unprocessable(field_: str, message: str, remedy: str | None) -> RequestRefused:
    """Refuse a request because of one of its fields."""
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, field_, message, remedy)


def _check_task(task: TaskSpec, place: str) -> None:
    try:
        kind = Kind(task.kind)
    except ValueError:
        raise unprocessable(
            f"{place}.kind",
            f"There is no kind {task.kind[:60]!r}.",
            f"Use one of: {', '.join(Kind)}.",
        ) from None
    try:
        canonical_options(kind, task.options)
    except InvalidOptions as error:
        first = error.problems[0]
        raise unprocessable(
            f"{place}.options.{first.field}", f"{first.value}: {first.problem}", first.remedy
        ) from None
