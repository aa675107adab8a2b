"""Parse the body of `POST /process` into a `Wanted`, or refuse it."""

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from ittybatch.intake.wanted import RequestRefused, TaskSpec, Wanted
from ittybatch.ledger.actions import Asker, Via
from ittybatch.profiles import Item
from ittybatch.receiver.api.models import MAX_METADATA_BYTES, MakesJobs, ProcessRequest
from ittybatch.yaml_files import field_path

T = TypeVar("T", bound=BaseModel)

IDEMPOTENCY_HEADER = "Idempotency-Key"
# All clients share one token, so they cannot be told apart.
API_CLIENT = Asker("a client with the API's token", Via.API)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_URLS = ("url", "input", "input_url")
# The ways to name jobs; a request uses at most one.
_FORMS = ("kind", "tasks", "profile")
_DEFAULT_KIND = "video"
_EXAMPLE = '{"url": "https://example.com/video.mov", "kind": "video"}'


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a body that has to be a JSON object.

    Raises:
        RequestRefused: It is not one.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _refused("body", f"The body is not JSON: {error}.", f"Send {_EXAMPLE}.") from None
    if not isinstance(content, dict):
        raise _refused("body", "The body is not a JSON object.", f"Send {_EXAMPLE}.")
    try:
        encoded = orjson.dumps(content)
    except orjson.JSONEncodeError:  # parsing allows more levels than writing
        raise _refused("body", "The body is nested too deeply.", "Send flatter values.") from None
    if _NUL.search(encoded):
        # No text column can hold it.
        raise _refused("body", "The body has a text with the character NUL.", "Remove it.")
    return content


def idempotency_key(request: Request) -> str | None:
    """The request's `Idempotency-Key`.

    Raises:
        RequestRefused: It cannot be used.
    """
    values = request.headers.getlist(IDEMPOTENCY_HEADER)
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise _refused(
            IDEMPOTENCY_HEADER,
            "The key is not one value of 1 to 255 visible ASCII characters.",
            "Send a random UUID: one for each request, and the same when you repeat it.",
        )
    return values[0]


def wanted_of(content: Mapping[str, Any], key: str | None) -> Wanted:
    """Validate a body and convert it to a `Wanted`.

    Args:
        content: The body.
        key: The request's Idempotency-Key.

    Raises:
        RequestRefused: A field cannot be used; the error names the first one.
    """
    if "webhook_url" in content:
        raise _refused(
            "webhook_url",
            "Ittybit's webhooks go to this receiver, which records every result.",
            "Remove it. For results at an address of yours, declare an HTTP sink in "
            "deployments/results.yaml.",
        )
    request = validate(ProcessRequest, content)
    uri = _only_url(request)
    if len(orjson.dumps(request.metadata)) > MAX_METADATA_BYTES:
        raise _refused(
            "metadata",
            f"It is over {MAX_METADATA_BYTES} bytes of JSON.",
            "Send an id of your own, and keep the rest in your database.",
        )
    tasks = tasks_of(request)
    if not tasks and request.profile is None:
        tasks = (TaskSpec(_DEFAULT_KIND, {}),)
    return Wanted(
        item=Item(uri),
        profile=request.profile,
        tasks=tasks,
        metadata=request.metadata,
        again=request.again,
        idempotency_key=key,
        body_digest=_digest(content) if key else "",
        asker=API_CLIENT,
    )


def validate(model: type[T], content: Mapping[str, Any]) -> T:
    """Check a body against its model.

    Raises:
        RequestRefused: A field cannot be used; the error names the first one.
    """
    try:
        return model.model_validate(content, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise _explained(problem, model) from None


def _only_url(request: ProcessRequest) -> str:
    given: dict[str, str] = {
        name: uri for name in _URLS if (uri := getattr(request, name)) is not None
    }
    if not given:
        raise _refused("url", "It is missing.", f"Send the upload's address: {_EXAMPLE}.")
    if len(given) > 1:
        raise _refused(
            list(given)[1], f"The request has {' and '.join(given)}.", "Keep only `url`."
        )
    return next(iter(given.values()))


def tasks_of(request: MakesJobs) -> tuple[TaskSpec, ...]:
    """The jobs that a request names by itself; none if it names a profile or nothing.

    Raises:
        RequestRefused: It names jobs in more than one way, or has `options` beside `tasks` or
            `profile`.
    """
    given = [name for name in _FORMS if getattr(request, name) is not None]
    if len(given) > 1:
        raise _refused(
            given[1],
            f"The request has {' and '.join(given)}.",
            "Keep one: `kind` for one job, `tasks` for several, `profile` for its renditions.",
        )
    if request.options is not None and (request.tasks or request.profile):
        raise _refused(
            "options",
            f"The request has {given[0]}, which brings its own options.",
            "Move them into a task."
            if request.tasks
            else "Remove them, or send `kind` instead of `profile`.",
        )
    if request.tasks is not None:
        return tuple(TaskSpec(task.kind, task.options) for task in request.tasks)
    if request.kind is None and request.options is None:
        return ()
    return (TaskSpec(request.kind or _DEFAULT_KIND, request.options or {}),)


def _digest(content: Mapping[str, Any]) -> str:
    """Digest a body; the order of its fields does not count."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _explained(problem: ErrorDetails, model: type[BaseModel]) -> RequestRefused:
    field = field_path(problem["loc"], root="the body")
    if problem["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        fields = "kind, options" if field.startswith("tasks[") else known
        return _refused(field, "There is no such field.", f"Remove it, or use one of: {fields}.")
    return _refused(
        field, f"{problem['msg']}.", "Correct it and send the request again. Nothing was taken."
    )


def _refused(field: str, message: str, remedy: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, field, message, remedy)
