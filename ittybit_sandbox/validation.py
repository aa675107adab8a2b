"""From a request's body to something that can be run, or an error that names the field."""

import ipaddress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from pydantic import ValidationError

from ittybit_sandbox.errors import ApiError, invalid
from ittybit_sandbox.options import OPTIONS
from ittybit_sandbox.vocabulary import JOB_KINDS, ErrorKind, Kind

JsonObject = dict[str, Any]
_MAX_URL_CHARS: Final = 8192


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A body that has been checked."""

    kind: Kind
    input: str
    options: JsonObject
    output: str | None
    metadata: JsonObject
    webhook_url: str | None


def parse_object(raw: bytes) -> JsonObject:
    """Read a body that must be a JSON object.

    Raises:
        ApiError: It is not JSON, or not an object.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(
            400, ErrorKind.REQUEST_INVALID, f"the body is not valid JSON: {error}"
        ) from None
    if not isinstance(body, dict):
        raise ApiError(400, ErrorKind.REQUEST_INVALID, "the body must be a JSON object")
    return body


def parse_job(body: JsonObject) -> JobRequest:
    """Check the body of `POST /jobs`.

    Raises:
        ApiError: A field is missing or cannot be used.
    """
    kind = _parse_kind(body.get("kind"), JOB_KINDS)
    options = _object(body, "options")
    check_options(kind, options)
    output = body.get("output")
    webhook_url = body.get("webhook_url")
    return JobRequest(
        kind=kind,
        input=check_input(body.get("input"), "input"),
        options=options,
        output=None if output is None else check_s3_url(output, "output"),
        metadata=_object(body, "metadata"),
        webhook_url=None if webhook_url is None else check_webhook_url(webhook_url, "webhook_url"),
    )


def parse_task(body: JsonObject) -> JobRequest:
    """Check the body of `POST /tasks` whose `input` is an object.

    Raises:
        ApiError: A field is missing or cannot be used.
    """
    kind = _parse_kind(body.get("kind"), frozenset(Kind))
    source = _object(body, "input")
    options = _object(body, "options")
    if kind in JOB_KINDS:
        check_options(kind, options)
    target = None
    if kind is Kind.EXPORT:
        target = check_s3_url(options.get("url"), "options.url")
    return JobRequest(
        kind=kind,
        input=check_input(source.get("url"), "input.url"),
        options=options,
        output=target,
        metadata=_object(body, "metadata"),
        webhook_url=None,
    )


def check_options(kind: Kind, options: JsonObject) -> None:
    """Check the options of a kind, all but the unknown ones.

    Raises:
        ApiError: An option's value is not one the kind takes.
    """
    try:
        OPTIONS[kind].model_validate(options)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        where = [part for part in first["loc"] if isinstance(part, str)][:1]
        if not where:
            field, _, message = message.partition(": ")
            where = [field]
        raise invalid(f"options.{where[0]}", message) from None


def check_input(value: object, field: str) -> str:
    """Check that an input is an `http://`, `https://` or `s3://` URL.

    Raises:
        ApiError: It is missing, of another scheme, or names nothing.
    """
    url = _text(value, field)
    parts = _split(url, field)
    if parts.scheme == "s3":
        return check_s3_url(url, field)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise invalid(field, "must be an http://, https:// or s3:// URL")
    return url


def check_s3_url(value: object, field: str) -> str:
    """Check that a place is `s3://bucket/key`.

    Raises:
        ApiError: It is not.
    """
    url = _text(value, field)
    parts = _split(url, field)
    if parts.scheme != "s3" or not parts.netloc or not url.partition("://")[2].partition("/")[2]:
        raise invalid(field, "must be s3://bucket/key")
    return url


def check_webhook_url(value: object, field: str) -> str:
    """Check that webhooks may go to a URL: https, or http on loopback.

    Raises:
        ApiError: They may not.
    """
    url = _text(value, field)
    parts = _split(url, field)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise invalid(field, "must be an https:// URL")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise invalid(field, "must be an https:// URL; http:// is for loopback addresses alone")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parse_kind(value: object, allowed: frozenset[Kind]) -> Kind:
    if isinstance(value, str) and value in allowed:
        return Kind(value)
    words = ", ".join(kind for kind in Kind if kind in allowed)
    raise invalid("kind", f"must be one of {words}")


def _object(body: JsonObject, field: str) -> JsonObject:
    value = body.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(field, "must be an object")
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise invalid(field, "is required and must be a string")
    if len(value) > _MAX_URL_CHARS or not value.isprintable():
        raise invalid(field, f"must be a URL of at most {_MAX_URL_CHARS} printable characters")
    return value


def _split(url: str, field: str) -> "SplitUrl":
    try:
        parts = urlsplit(url)
        return SplitUrl(parts.scheme.lower(), parts.netloc, parts.hostname)
    except ValueError as error:
        raise invalid(field, f"is not a URL: {error}") from None


@dataclass(frozen=True, slots=True)
class SplitUrl:
    """The parts of a URL that decide whether it may be used."""

    scheme: str
    netloc: str
    hostname: str | None
