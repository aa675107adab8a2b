"""The page's static files, by their exact names."""

import hashlib
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib import resources

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_SHORT = 16
# The address has the digest of the content, so the content never changes.
_IMMUTABLE = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file.

    Args:
        name: Its name.
        content: Its bytes.
        media_type: The value of `Content-Type`.
        digest: The beginning of the SHA-256 of its content.
    """

    name: str
    content: bytes
    media_type: str
    digest: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Every file of the folder `static` that a browser may ask for, by name."""
    found = {}
    for entry in resources.files("ittybatch.page").joinpath("static").iterdir():
        media_type = _TYPES.get("." + entry.name.rpartition(".")[2])
        if media_type is not None:
            content = entry.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:_SHORT]
            found[entry.name] = StaticFile(entry.name, content, media_type, digest)
    return found


def static_url(name: str) -> str:
    """The address of a file, with its digest."""
    return f"/page/static/{name}?v={static_files()[name].digest}"


async def serve_static(request: Request) -> Response:
    """Serve a file. A browser keeps it for good if the address has the file's digest."""
    file = static_files().get(request.path_params["name"])
    if file is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such file.")
    etag = f'"{file.digest}"'
    is_current = request.query_params.get("v") == file.digest
    headers = {"ETag": etag, "Cache-Control": _IMMUTABLE if is_current else "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


def routes() -> list[Route]:
    """The route of the files."""
    return [Route("/static/{name}", serve_static)]
