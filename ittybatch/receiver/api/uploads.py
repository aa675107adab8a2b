"""`POST /uploads` and what follows it: a browser puts a file straight into the bucket.

The caller with the API's token begins an upload, and hands the answer to a browser. The id in its
URLs authorises that browser to finish or abort this one upload, so it never sees the token.
"""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from ittybatch.bodies import read_body
from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.live_profiles import LiveProfiles
from ittybatch.intake.orders import Orders
from ittybatch.intake.upload_parts import MAX_PARTS
from ittybatch.intake.upload_request import Announced
from ittybatch.intake.upload_urls import Begun, describe
from ittybatch.intake.uploads import TakesRequests, Uploads
from ittybatch.intake.wanted import RequestRefused
from ittybatch.receiver.api.answers import answer_of
from ittybatch.receiver.api.errors import answer_json
from ittybatch.receiver.api.models import ErrorAnswer, ProcessAnswer
from ittybatch.receiver.api.requests import API_CLIENT, parse_object, tasks_of, validate
from ittybatch.receiver.api.upload_models import (
    UPLOADS,
    CompleteRequest,
    UploadAnswer,
    UploadRequest,
)
from ittybatch.settings import Settings

# For 10,000 parts.
_MAX_COMPLETE_BYTES = 1_048_576
# Its URLs are secrets of one browser.
_PRIVATE = {"Cache-Control": "no-store"}
_ERRORS = {
    404: "There is no upload with this id, or `intake.yaml` declares no uploads.",
    408: "The body took too long.",
    409: "The file has not arrived yet; or it has, and cannot be aborted.",
    410: "The upload has expired, or was aborted.",
    413: "The body is too large.",
    422: "A field cannot be used, or the file is not what was announced.",
    503: "The bucket or the ledger is unavailable. Repeat after `Retry-After`.",
}


class UploadRoutes:
    """The routes of uploads.

    Args:
        settings: The API's token, the folder of profiles, the webhook URL, the limit of bodies.
        intake: Takes completed uploads.
        declared: The `uploads` section of `intake.yaml`; None if there is none.
    """

    def __init__(
        self, settings: Settings, intake: TakesRequests, declared: UploadsDeclared | None
    ) -> None:
        self._max_body_bytes = settings.max_body_bytes
        self._webhook_url = settings.webhook_url
        self._declared = declared
        self._uploads: Uploads | None = None
        if declared is not None and settings.api_token is not None:
            token = settings.api_token.get_secret_value()
            self._uploads = Uploads(
                declared, intake, Orders(LiveProfiles(settings.profiles_dir), {}), token
            )

    def router(self) -> APIRouter:
        """The route that needs the API's token."""
        router = APIRouter()
        router.add_api_route(
            UPLOADS,
            self.begin,
            methods=["POST"],
            status_code=HTTPStatus.CREATED,
            summary="Begin an upload",
            response_model=None,
            responses=_described(
                201, UploadAnswer, "The upload has begun.", 404, 408, 413, 422, 503
            ),
            openapi_extra=_body(UploadRequest),
        )
        return router

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of the pages that may call the routes of `browser_router`."""
        return self._declared.allowed_origins if self._declared is not None else ()

    def browser_router(self) -> APIRouter:
        """The routes that need only the upload's id, for pages of the declared origins."""
        router = APIRouter()
        router.add_api_route(
            f"{UPLOADS}/{{id}}/parts",
            self.more,
            methods=["GET"],
            summary="Get URLs of further parts",
            response_model=None,
            responses=_described(200, UploadAnswer, "The next parts.", 404, 410, 422, 503),
        )
        router.add_api_route(
            f"{UPLOADS}/{{id}}/complete",
            self.complete,
            methods=["POST"],
            status_code=HTTPStatus.ACCEPTED,
            summary="Complete an upload, and make jobs of it",
            response_model=None,
            responses=_described(
                202, ProcessAnswer, "The ledger holds the jobs.", 404, 408, 409, 410, 413, 422, 503
            ),
            openapi_extra=_body(CompleteRequest),
        )
        router.add_api_route(
            f"{UPLOADS}/{{id}}",
            self.abort,
            methods=["DELETE"],
            status_code=HTTPStatus.NO_CONTENT,
            summary="Abort an upload",
            response_model=None,
            responses=_described(
                204, None, "The parts that were sent are removed.", 404, 409, 410, 503
            ),
        )
        return router

    async def begin(self, request: Request) -> Response:
        """Begin an upload, and get the URLs that a browser sends the file's parts to."""
        content = parse_object(await read_body(request, self._max_body_bytes))
        wanted = validate(UploadRequest, content)
        begun = await self._declared_uploads().begin(
            Announced(
                filename=wanted.filename,
                content_type=wanted.content_type,
                size_bytes=wanted.size,
                profile=wanted.profile,
                tasks=tasks_of(wanted),
                metadata=wanted.metadata,
                again=wanted.again,
            )
        )
        return self._answer(request, begun, HTTPStatus.CREATED)

    async def more(
        self,
        request: Request,
        id: str,  # noqa: A002 - the name in the path
        after: Annotated[
            int, Query(ge=0, le=MAX_PARTS, description="Number of the part before them.")
        ] = 0,
    ) -> Response:
        """Get the URLs of the parts after one; from 0, to get new URLs for expired ones."""
        begun = await self._declared_uploads().more(id, after)
        return self._answer(request, begun, HTTPStatus.OK)

    async def complete(self, request: Request, id: str) -> Response:  # noqa: A002 - as above
        """Check that the file has arrived as announced, and make its jobs.

        Repeated, it gives the same answer.
        """
        uploads = self._declared_uploads()
        body = await read_body(request, max(self._max_body_bytes, _MAX_COMPLETE_BYTES))
        completed = validate(CompleteRequest, parse_object(body) if body else {})
        etags = None
        if completed.parts is not None:
            etags = {part.number: part.etag for part in completed.parts}
        taken = await uploads.complete(id, etags, API_CLIENT)
        return answer_json(answer_of(taken.jobs), HTTPStatus.ACCEPTED)

    async def abort(self, id: str) -> Response:  # noqa: A002 - as above
        """Give up an upload of several parts, which are removed from the bucket.

        An upload of one part is not withdrawn by this: until its URL expires, the file can be sent
        and the upload completed. Forget the URL and the id.
        """
        await self._declared_uploads().abort(id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _declared_uploads(self) -> Uploads:
        if self._uploads is None:
            raise RequestRefused(
                HTTPStatus.NOT_FOUND,
                "uploads",
                "Uploads are not declared.",
                "Add an `uploads` section with `bucket` and `profile` to deployments/intake.yaml, "
                "and start the receiver again.",
            )
        return self._uploads

    def _answer(self, request: Request, begun: Begun, status: HTTPStatus) -> Response:
        here = f"{self._base(request)}{UPLOADS}/{begun.id}"
        return answer_json(describe(begun, here), status, _PRIVATE)

    def _base(self, request: Request) -> str:
        """The receiver's address for browsers.

        A proxy that ends TLS hides the scheme; the webhook URL knows it.
        """
        if self._declared is not None and self._declared.public_url is not None:
            return self._declared.public_url
        host = request.headers.get("host", "")
        public = urlsplit(self._webhook_url or "")
        scheme = public.scheme if public.netloc == host else request.url.scheme
        return f"{scheme}://{host}"


def _described(
    status: int,
    model: type[BaseModel] | None,
    description: str,
    *errors: int,
) -> dict[int | str, dict[str, Any]]:
    answers: dict[int | str, dict[str, Any]] = {
        status: {"description": description} | ({"model": model} if model else {})
    }
    return answers | {each: {"model": ErrorAnswer, "description": _ERRORS[each]} for each in errors}


def _body(model: type[UploadRequest] | type[CompleteRequest]) -> dict[str, Any]:
    # The handler reads the body, to limit its size and time.
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
