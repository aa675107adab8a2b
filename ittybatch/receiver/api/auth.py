"""The API's bearer token."""

import hmac
from http import HTTPStatus

from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.exceptions import HTTPException
from starlette.requests import Request


class BearerToken(SecurityBase):
    """Lets only requests with the token through; a dependency of every route of the API.

    Args:
        token: The token, of `ITTYBATCH_API_TOKEN`.
    """

    def __init__(self, token: str) -> None:
        self.model = HTTPBearer(description="The receiver's ITTYBATCH_API_TOKEN.")
        self.scheme_name = "token"
        self._token = token.encode()

    async def __call__(self, request: Request) -> None:
        """Check the token, before anything of the body is read.

        Raises:
            HTTPException: There is no token, or another one.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        if not same or scheme.lower() != "bearer":
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                "The API needs the bearer token of ITTYBATCH_API_TOKEN.",
                {"WWW-Authenticate": "Bearer", "Connection": "close"},
            )
