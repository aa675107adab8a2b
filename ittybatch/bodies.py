"""Reads the bodies of requests, limited in size and time."""

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

# Ittybit gives up after 5 s; no honest sender needs longer for a few kilobytes.
MAX_BODY_S = 10.0
# Longer numbers are zeros or too large, and Python refuses to read those of thousands of digits.
_MAX_LENGTH_DIGITS = 18
# Past a limit of the body, the rest of it stays unread.
_CLOSE = {"Connection": "close"}


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read the exact bytes received.

    Args:
        request: The request; nothing has read its body yet.
        max_bytes: The largest body to read.

    Raises:
        HTTPException: The body is too large, too slow, or cut short.
    """
    content_length = request.headers.get("content-length", "0")
    if (
        not content_length.isdecimal()
        or len(content_length) > _MAX_LENGTH_DIGITS
        or int(content_length) > max_bytes
    ):
        raise _too_large(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(MAX_BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "The body took too long.", _CLOSE) from None
    except ClientDisconnect:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The body was cut short.") from None
    return bytes(body)


def _too_large(max_bytes: int) -> HTTPException:
    reason = f"The body is over {max_bytes} bytes."
    return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason, _CLOSE)
