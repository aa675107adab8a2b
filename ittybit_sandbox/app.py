"""The ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from ittybit_sandbox.admin import admin_routes
from ittybit_sandbox.api import api_routes
from ittybit_sandbox.config import SandboxConfig
from ittybit_sandbox.gate import json_response
from ittybit_sandbox.service import Sandbox
from ittybit_sandbox.vocabulary import ErrorKind

_KINDS = {
    HTTPStatus.NOT_FOUND: ErrorKind.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ErrorKind.METHOD_NOT_ALLOWED,
}


def create_app(config: SandboxConfig) -> Starlette:
    """Create the application; its lifespan starts and stops the sandbox.

    Args:
        config: Its settings. Output URLs begin with `public_url`, or else with host and port:
            if the server chooses the port, set one of the two.

    Raises:
        ConfigurationError: ffmpeg is missing, or `state_dir` cannot be used.
    """
    sandbox = Sandbox(config)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await sandbox.start()
        try:
            yield
        finally:
            await sandbox.stop()

    files = StaticFiles(directory=sandbox.files_dir, check_dir=False)
    app = Starlette(
        routes=[*api_routes(), *admin_routes(), Mount("/files", files)],
        exception_handlers={HTTPException: _show_http_error, Exception: _show_failure},
        lifespan=lifespan,
    )
    app.state.sandbox = sandbox
    return app


async def _show_http_error(request: Request, error: Exception) -> Response:
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 500)
    kind = _KINDS.get(status, ErrorKind.REQUEST_INVALID)
    message = f"{request.method} {request.url.path}: {status.phrase.lower()}"
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    return json_response({"kind": kind, "message": message}, status, headers)


async def _show_failure(_request: Request, _error: Exception) -> Response:
    message = "the sandbox failed; see its log"
    return json_response({"kind": ErrorKind.INTERNAL_ERROR, "message": message}, 500)
