"""What every API request goes through: token check, body limits, and injected faults."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ittybit_sandbox.config import SandboxConfig
from ittybit_sandbox.errors import ApiError
from ittybit_sandbox.service import Sandbox
from ittybit_sandbox.vocabulary import ErrorKind

Handler = Callable[[Sandbox, Request, bytes], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]
CREATED: Final = 201
KEY_HEADER: Final = "Idempotency-Key"
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class TruncatedResponse(Response):
    """A response whose connection breaks halfway through the body."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the headers and half of the body."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})


def json_response(
    content: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Build a JSON response."""
    raw = orjson.dumps(content)
    return Response(raw, status_code=status, headers=headers, media_type="application/json")


def error_response(error: ApiError) -> Response:
    """Build the API's response to an error."""
    body = {"kind": error.kind, "message": error.message}
    return json_response(body, error.status, error.headers)


def gated(route: str, handler: Handler) -> Endpoint:
    """Wrap a handler with these checks; `route` names it in the counts."""

    async def pass_gate(request: Request) -> Response:
        sandbox: Sandbox = request.app.state.sandbox
        try:
            check_token(request, sandbox.config)
            raw = b""
            if request.method in _WITH_BODY:
                raw = await read_body(request, sandbox.config)
            if sandbox.plan.api_active:
                response = await _with_faults(sandbox, request, raw, handler)
            else:
                response = await handler(sandbox, request, raw)
        except ApiError as error:
            response = error_response(error)
        sandbox.tally.requests[f"{route} {response.status_code}"] += 1
        return response

    return pass_gate


def check_token(request: Request, config: SandboxConfig) -> None:
    """Check the bearer token.

    Raises:
        ApiError: The header is missing, or its key is wrong.
    """
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    challenge = {"WWW-Authenticate": "Bearer"}
    if scheme.lower() != "bearer" or not token:
        message = "send the API key as `Authorization: Bearer <key>`"
        raise ApiError(401, ErrorKind.TOKEN_MISSING, message, headers=challenge)
    expected = config.api_key.get_secret_value().encode()
    if not hmac.compare_digest(token.strip().encode(errors="replace"), expected):
        message = "the API key is not the one of this sandbox"
        raise ApiError(401, ErrorKind.TOKEN_INVALID, message, headers=challenge)


async def read_body(request: Request, config: SandboxConfig) -> bytes:
    """Read a body within the limits of size and time.

    Raises:
        ApiError: The body is too large, too slow, or incomplete.
    """
    limit = config.max_body_bytes
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(config.body_timeout_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        message = f"the body did not arrive within {config.body_timeout_s:g} s"
        raise ApiError(408, ErrorKind.REQUEST_TIMEOUT, message) from None
    except ClientDisconnect:
        raise ApiError(
            400, ErrorKind.REQUEST_INVALID, "the connection closed before the body was complete"
        ) from None
    return b"".join(chunks)


async def _with_faults(
    sandbox: Sandbox, request: Request, raw: bytes, handler: Handler
) -> Response:
    plan, faults = sandbox.plan, sandbox.plan.faults.api
    visit = plan.visit(_identity(sandbox, request, raw))
    if plan.strikes(faults.rate_limited, "rate_limited", visit):
        retry_after = {"Retry-After": f"{faults.rate_limited.retry_after_s:g}"}
        message = "too many requests; try again later"
        raise ApiError(429, ErrorKind.RATE_LIMITED, message, headers=retry_after)
    if plan.strikes(faults.server_error, "server_error", visit):
        message = "the service could not answer"
        raise ApiError(faults.server_error.status, ErrorKind.INTERNAL_ERROR, message)
    response = await handler(sandbox, request, raw)
    if plan.strikes(faults.slow, "slow", visit):
        await asyncio.sleep(faults.slow.seconds)
    cut = plan.strikes(faults.cut_after_accept, "cut_after_accept", visit)
    if cut and response.status_code == CREATED:
        sandbox.tally.answers_cut += 1
        return TruncatedResponse(response.body, response.status_code, media_type="application/json")
    return response


def _identity(sandbox: Sandbox, request: Request, raw: bytes) -> str:
    key = request.headers.get(KEY_HEADER)
    if key:
        return key
    path_params: dict[str, Any] = request.path_params
    job = sandbox.memory.jobs.get(str(path_params.get("id", "")))
    if job is not None:
        return f"{request.method} {job.fault_identity}"
    body = hashlib.blake2b(raw, digest_size=12).hexdigest()
    return f"{request.method} {request.url.path} {body}"


def _too_large(limit: int) -> ApiError:
    return ApiError(413, ErrorKind.REQUEST_TOO_LARGE, f"the body is larger than {limit} bytes")
