"""Parses request bodies; an error names the invalid field."""

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
    """A valid request for a job or task."""

    kind: Kind
    input: str
    options: JsonObject
    output: str | None
    metadata: JsonObject
    webhook_url: str | None


def parse_object(raw: bytes) -> JsonObject:
    """Parse a body as a JSON object.

    Raises:
        ApiError: The body is not JSON, or not an object.
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
    """Parse the body of `POST /jobs`.

    Raises:
        ApiError: A field is missing or invalid.
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
    """Parse the body of `POST /tasks` with an object as `input`.

    Raises:
        ApiError: A field is missing or invalid.
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
    """Check the known options of a kind.

    Raises:
        ApiError: The kind does not accept an option's value.
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
        ApiError: The URL is missing, incomplete, or of another scheme.
    """
    url = _text(value, field)
    parts = _split(url, field)
    if parts.scheme == "s3":
        return check_s3_url(url, field)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise invalid(field, "must be an http://, https:// or s3:// URL")
    return url


def check_s3_url(value: object, field: str) -> str:
    """Check that a URL is `s3://bucket/key`.

    Raises:
        ApiError: The URL has another form.
    """
    url = _text(value, field)
    parts = _split(url, field)
    if parts.scheme != "s3" or not parts.netloc or not url.partition("://")[2].partition("/")[2]:
        raise invalid(field, "must be s3://bucket/key")
    return url


def check_webhook_url(value: object, field: str) -> str:
    """Check the URL of a webhook: https, or http on loopback.

    Raises:
        ApiError: The URL has another scheme or no host.
    """
    url = _text(value, field)
    parts = _split(url, field)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise invalid(field, "must be an https:// URL")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise invalid(field, "must be an https:// URL; http:// is only for loopback addresses")
    return url


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is a loopback one."""
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
    """The parts of a URL that the checks need."""

    scheme: str
    netloc: str
    hostname: str | None
