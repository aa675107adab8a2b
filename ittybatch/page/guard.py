"""What every request of the page passes: access, cross-site refusal, security headers."""

import contextlib
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ittybatch.bodies import read_body
from ittybatch.page.access import Access, Stranger
from ittybatch.page.cross_site import is_cross_site_write

# Outputs may be on any host. The page may show them, but must not run scripts from them. hls.js
# plays from `blob:` URLs. A page that needs more sets its own policy.
_POLICY = {
    "default-src": "'self'",
    "img-src": "'self' https: http: data:",
    "media-src": "'self' https: http: blob:",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
_MAX_REFUSED_BYTES = 262_144
_HEADERS = {
    # With `no-referrer`, browsers send `Origin: null` with plain forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    # The pages hold users' names and addresses.
    "Cache-Control": "no-store",
}


def content_policy(*, connect: str = "", form_to: str = "") -> str:
    """The content security policy: no script and no style but the page's own files.

    Args:
        connect: More places that scripts of this page may talk to, such as `https:` for the
            bucket of an upload.
        form_to: More places that forms of this page may be sent to.
    """
    changed = {
        "connect-src": f"'self' {connect}".strip(),
        "form-action": f"'self' {form_to}".strip(),
    }
    return "; ".join(f"{name} {value}" for name, value in (_POLICY | changed).items())


class Guard:
    """An ASGI application around the page.

    It puts the `Viewer` into the request's state.

    Args:
        app: The page.
        access: Decides who may look and act.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", content_policy())
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._check(HTTPConnection(scope))
        await app(scope, receive, send_with_headers)

    def _check(self, connection: HTTPConnection) -> ASGIApp:
        """Return the page, or the refusal to answer with."""
        viewer = self._access.identify(connection)
        if isinstance(viewer, Stranger):
            return PlainTextResponse(viewer.why, viewer.status, viewer.headers)
        if is_cross_site_write(connection):
            return _Refusal(
                "This request comes from another website, so nothing was done. Open the page "
                "itself, and try again there."
            )
        # Here and not in each view: a new view cannot forget it.
        if connection.scope["method"] not in {"GET", "HEAD"} and not viewer.may_act:
            return _Refusal(
                f"{viewer.name} may only look, so nothing was done. Sign in as a user who may act."
            )
        connection.state.viewer = viewer
        return self._app


class _Refusal:
    """Answers a request of a known viewer with 403.

    It reads the body first: a browser whose form is not read may report a broken connection
    instead of the answer.
    """

    def __init__(self, why: str) -> None:
        self._why = why

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(HTTPException):
            await read_body(Request(scope, receive), _MAX_REFUSED_BYTES)
        await PlainTextResponse(self._why, HTTPStatus.FORBIDDEN)(scope, receive, send)
