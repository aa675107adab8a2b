"""The addresses of sources and outputs on the page, and of what Ittybit said about them."""

import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import ParamSpec, TypeVar
from urllib.parse import quote
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, Semaphore, to_thread
from botocore.exceptions import BotoCoreError, ClientError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ittybatch.engine.reports.checks import CHECK_TEXTS, OutputChecks
from ittybatch.engine.reports.durations import DurationLookup
from ittybatch.ledger.media import JobMedia, media_of_job, read_id, source_was_refused
from ittybatch.ledger.results import Result, job_result
from ittybatch.ledger.timeline import delivery_body, poll_answer
from ittybatch.page.bodies import show_body
from ittybatch.page.media import medium_of
from ittybatch.page.playlists import CONTENT_TYPE, MAX_BYTES, lists, rewritten, segment_type
from ittybatch.page.shell import Shell
from ittybatch.page.signing import Found, Signer
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.settings import Settings
from ittybatch.sources.s3 import failure, split_uri

P = ParamSpec("P")
R = TypeVar("R")

# A bucket that does not answer must not keep the page's other threads waiting, nor other buckets.
_AT_ONCE = 8
_AT_ONCE_A_BUCKET = 2
_MAX_KEY_CHARS = 300
_SOURCE, _OUTPUT = "source", "output"


class MediaRoutes:
    """Serves what players and viewers ask for about one job.

    Only addresses that the ledger holds are redirected to, and only for the page's own viewers:
    another website cannot use the page as a redirect.
    """

    def __init__(self) -> None:
        self._signer = Signer()
        self._limiter = CapacityLimiter(_AT_ONCE)
        self._buckets: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/media/{job}/{what}", self.redirect),
            Route("/media/{job}/{what}/playlist", self.playlist),
            Route("/media/{job}/{what}/playlist/{path:path}", self.playlist),
            Route("/media/{job}/{what}/state", self.state),
            Route("/webhook", self.webhook),
            Route("/jobs/{job}/answer", self.answer),
        ]

    async def redirect(self, request: Request) -> Response:
        """Redirect to a source or an output: to a signed address if it is in a bucket."""
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise HTTPException(
                HTTPStatus.FORBIDDEN, "Another website leads here. Open the file from its item."
            )
        uri, _ = await _media(request)
        medium = medium_of(uri, "here")
        if medium.link is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, medium.problem or "It cannot be opened.")
        url = uri
        if uri.startswith(S3_SCHEME):
            url = await self._ask(uri, self._signer.sign, uri)
        return RedirectResponse(url, HTTPStatus.FOUND, {"Cache-Control": "no-store"})

    async def playlist(self, request: Request) -> Response:
        """Serve a playlist of HLS in a bucket, with its addresses signed."""
        uri, _ = await _media(request)
        path = request.path_params.get("path")
        if not uri.startswith(S3_SCHEME):
            raise HTTPException(HTTPStatus.NOT_FOUND, "This playlist is not in a bucket.")
        job, what = request.path_params["job"], request.path_params["what"]
        route = f"/page/media/{job}/{what}/playlist/"
        text = await self._ask(uri, self._playlist, uri, path, route)
        return Response(text, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    async def state(self, request: Request) -> Response:
        """Find out why a player failed, or whether an output is as it should be."""
        shell = Shell.of(request)
        uri, media = await _media(request)
        what = request.path_params["what"]
        found, remedy, readable = "", "", True
        if uri.startswith(S3_SCHEME):
            try:
                seen = await self._ask(uri, self._signer.look, uri)
            except HTTPException as error:
                seen = Found(False, error.detail)
            found, remedy, readable = seen.message, seen.remedy, seen.readable
        check, refused = None, False
        if what == _SOURCE:
            refused = await shell.read(source_was_refused, read_id(request.path_params["job"]) or 0)
        elif readable:
            job = read_id(request.path_params["job"]) or 0
            result = await shell.read(job_result, job)
            if result is not None:
                check = await self._call(_check, shell.settings, result)
        is_region = "hx-request" in request.headers
        return await shell.render(
            request,
            "regions/media_state.html" if is_region else "media_state.html",
            job=request.path_params["job"],
            what=what,
            found=found,
            remedy=remedy,
            readable=readable,
            refused=refused,
            check=check,
            check_text=CHECK_TEXTS.get(check or "", ""),
            address=medium_of(uri, "", kind=media.kind if what == _OUTPUT else None).address,
        )

    async def webhook(self, request: Request) -> Response:
        """Show the body of a webhook."""
        task, digest = (request.query_params.get(name, "") for name in ("task", "digest"))
        if max(len(task), len(digest)) > _MAX_KEY_CHARS or "\x00" in task + digest:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such webhook.")
        body = await Shell.of(request).read(delivery_body, task, digest)
        return await _body(request, "Webhook", body)

    async def answer(self, request: Request) -> Response:
        """Show what a poll told of a job's end."""
        answer = await Shell.of(request).read(poll_answer, _job(request))
        return await _body(request, "Answer to a poll", answer.encode() if answer else None)

    async def _ask(self, uri: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask the bucket of an address.

        Raises:
            HTTPException: The address is not that of an object.
        """
        try:
            bucket, _ = split_uri(uri)
        except ValueError:
            raise HTTPException(
                HTTPStatus.NOT_FOUND,
                "This is not the address of an object in a bucket, so it cannot be shown.",
            ) from None
        at_once = self._buckets.setdefault(bucket, Semaphore(_AT_ONCE_A_BUCKET))
        async with at_once:
            return await self._call(work, *args, **kwargs)

    async def _call(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        call = functools.partial(work, *args, **kwargs)
        return await to_thread.run_sync(call, limiter=self._limiter)

    def _playlist(self, uri: str, path: str | None, route: str) -> str:
        bucket, key = split_uri(uri)
        folder = key[: key.rfind("/") + 1]
        body = self._object(bucket, key)
        if path is not None:
            if not lists(body, path):
                raise HTTPException(HTTPStatus.NOT_FOUND, "The playlist does not list this file.")
            body = self._object(bucket, folder + path)
            folder += path[: path.rfind("/") + 1]
            route += quote(path[: path.rfind("/") + 1])
        return rewritten(
            body,
            folder,
            sign=lambda each: self._signer.sign(
                f"{S3_SCHEME}{bucket}/{each}", content_type=segment_type(each)
            ),
            nested=lambda each: route + quote(each),
        )

    def _object(self, bucket: str, key: str) -> bytes:
        try:
            answer = self._signer.client(bucket).get_object(Bucket=bucket, Key=key)
            with answer["Body"] as body:
                return body.read(MAX_BYTES + 1)
        except (BotoCoreError, ClientError) as error:
            raise failure("shown", f"{S3_SCHEME}{bucket}/{key}", error) from error


def _check(settings: Settings, result: Result) -> str | None:
    with OutputChecks(DurationLookup(settings), at_once=1) as checks:
        [checked] = checks.check([result])
    return checked.check


def _job(request: Request) -> int:
    job = read_id(request.path_params["job"])
    if job is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such job.")
    return job


async def _media(request: Request) -> tuple[str, JobMedia]:
    """The address that a request is about, and its job's media."""
    what = request.path_params["what"]
    found = await Shell.of(request).read(media_of_job, _job(request))
    if found is None or what not in {_SOURCE, _OUTPUT}:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such job.")
    uri = found.input if what == _SOURCE else found.output_url
    if not uri:
        raise HTTPException(HTTPStatus.NOT_FOUND, "This job has no output.")
    return uri, found


async def _body(request: Request, title: str, body: bytes | None) -> Response:
    shell = Shell.of(request)
    settings = shell.settings
    secrets = [
        each.get_secret_value()
        for each in (settings.api_key, settings.webhook_secret, settings.api_token)
        if each is not None
    ]
    is_region = "hx-request" in request.headers
    return await shell.render(
        request,
        "regions/body.html" if is_region else "body.html",
        status=HTTPStatus.OK if is_region or body is not None else HTTPStatus.NOT_FOUND,
        title=title,
        body=None if body is None else show_body(body, secrets),
    )
