"""New jobs of files: what they would make and cost, then straight from the browser to the bucket.

With script, several files go at once in parts; without, one file goes by a signed form. No byte of
a file passes this server.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ittybatch.errors import IttybatchError
from ittybatch.intake.quoting import digests_of, quote
from ittybatch.intake.upload_names import with_suffix
from ittybatch.intake.upload_request import Announced
from ittybatch.intake.upload_urls import describe
from ittybatch.intake.wanted import RequestRefused
from ittybatch.page.forms import Form, read_form
from ittybatch.page.making import Make, Making, asker_of
from ittybatch.page.new import quote_of, show, show_quote
from ittybatch.page.shell import Shell

if TYPE_CHECKING:
    from ittybatch.ledger.intake import Order

MAX_FILES = 200
_MAX_SIZE_DIGITS = 18
_OF_AN_UPLOAD = frozenset({"id", "parts"})
_AGAIN = "Try again: the file is sent from its beginning."

View = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file as it was announced, by its place, and why it is refused, if it is."""

    place: int
    name: str
    size_bytes: int
    refused: RequestRefused | None = None


async def preview(request: Request) -> Response:
    """Show what files would make and cost: a part of the page, for upload.js."""
    form = await read_form(request)
    shell, making = Shell.of(request), Making.of(request)
    try:
        make = Make.from_form(form)
        announced = _announced(form, make)
    except RequestRefused as error:
        return await shell.render(
            request, "regions/files_refused.html", status=error.status, error=error
        )
    orders: list[Order] = []
    files: list[ShownFile] = []
    accepted: list[list[object]] = []
    for place, each in enumerate(announced):
        try:
            orders.append(making.uploads.order(each, make.token(len(accepted))))
        except RequestRefused as error:
            files.append(ShownFile(place, each.filename, each.size_bytes, error))
            continue
        files.append(ShownFile(place, each.filename, each.size_bytes))
        shown = digests_of(orders[-1].planned.jobs)
        accepted.append([each.filename, each.content_type, each.size_bytes, shown])
    found = await shell.read(quote, shell.settings, orders) if orders else None
    sealed = making.seal.close({"make": make.to_store(), "files": accepted})
    return await shell.render(
        request, "regions/files_quote.html", files=files, quote=found, make=make, sealed=sealed
    )


def _announced(form: Form, make: Make) -> list[Announced]:
    names, types, sizes = (form.texts(each) for each in ("name", "type", "size"))
    usable = all(size.isdecimal() and len(size) <= _MAX_SIZE_DIGITS for size in sizes)
    if not 0 < len(names) <= MAX_FILES or not len(names) == len(types) == len(sizes) or not usable:
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "files",
            f"{len(names)} files were chosen.",
            f"Choose 1 to {MAX_FILES} files at a time; for more, put them into a bucket, and "
            "start a batch of it.",
        )
    return [
        make.announced(name, content_type, int(size))
        for name, content_type, size in zip(names, types, sizes, strict=True)
    ]


def _as_json(view: View) -> View:
    """Answer errors as JSON, which upload.js shows beside the file."""

    @wraps(view)
    async def answer(request: Request) -> Response:
        try:
            return await view(request)
        except RequestRefused as error:
            # The remedies of the API's uploads name its requests; upload.js begins anew instead.
            is_over = error.field in _OF_AN_UPLOAD and error.status != HTTPStatus.CONFLICT
            return _error(error.status, error, _AGAIN if is_over else error.remedy)
        except IttybatchError as error:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, error, error.remedy)
        except HTTPException as error:
            return JSONResponse({"error": error.detail, "remedy": ""}, error.status_code)

    return answer


def _error(status: int, error: IttybatchError, remedy: str | None) -> Response:
    return JSONResponse({"error": error.message, "remedy": remedy or ""}, status)


@_as_json
async def begin(request: Request) -> Response:
    """Begin the upload of one of the confirmed files.

    The answer has the form sealed anew: with it this file is completed, and the next ones are
    begun, however long the files before them took.
    """
    making = Making.of(request)
    form = await read_form(request)
    file = _confirmed(making, form)
    begun = await making.uploads.begin(file.announced, file.token)
    # The upload's id was sealed before, so this seal does not end before it.
    sealed = making.seal.close(_asked(making, form))
    return JSONResponse({**describe(begun, ""), "sealed": sealed}, HTTPStatus.CREATED)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A file of a form that somebody has confirmed.

    Args:
        announced: The file.
        token: The random part of its key.
        shown: Digests of the jobs that the form has shown.
    """

    announced: Announced
    token: str
    shown: frozenset[str]


def _asked(making: Making, form: Form) -> dict[str, Any]:
    """What a form has shown. It can be sent for as long as an upload may take."""
    return making.seal.open(form.text("sealed"), making.uploads.life_s)


def _confirmed(making: Making, form: Form) -> Confirmed:
    asked = _asked(making, form)
    number = form.text("number")
    files = asked.get("files", [])
    if not number.isdecimal() or len(number) > _MAX_SIZE_DIGITS or int(number) >= len(files):
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such file in this form.")
    make = Make.from_store(asked["make"])
    name, content_type, size_bytes, shown = files[int(number)]
    announced = make.announced(name, content_type, size_bytes)
    return Confirmed(announced, make.token(int(number)), frozenset(shown))


@_as_json
async def more(request: Request) -> Response:
    """Sign the URLs of further parts, or those of expired ones again."""
    form = await read_form(request)
    after = form.text("after")
    if not after.isdecimal() or len(after) > _MAX_SIZE_DIGITS:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "`after` is not the number of a part.")
    begun = await Making.of(request).uploads.more(form.text("id"), int(after))
    return JSONResponse(describe(begun, ""))


@_as_json
async def complete(request: Request) -> Response:
    """Check that a file has arrived, and make its jobs. Repeated, it makes nothing more."""
    form = await read_form(request)
    making = Making.of(request)
    uploads = making.uploads
    file = _confirmed(making, form)
    order = uploads.order(file.announced, file.token)
    if not file.shown.issuperset(digests_of(order.planned.jobs)):
        item = await uploads.store(form.text("id"), None)
        raise RequestRefused(
            HTTPStatus.CONFLICT,
            "file",
            "What it becomes has changed since you looked. The file is in the bucket, and nothing "
            "more was made.",
            f"Open New, give the address {item.uri}, and look again.",
        )
    taken = await uploads.complete(form.text("id"), None, asker_of(request))
    return JSONResponse({"jobs": [int(job.job_id) for job in taken.jobs]}, HTTPStatus.ACCEPTED)


@_as_json
async def abort(request: Request) -> Response:
    """Give up an upload; see `Uploads.abort`."""
    form = await read_form(request)
    await Making.of(request).uploads.abort(form.text("id"))
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def one_file(request: Request) -> Response:
    """Show a form that puts one file into the bucket, for browsers without script."""
    form = await read_form(request)
    making = Making.of(request)
    try:
        make = Make.from_form(form)
        content_type = form.text("content_type").lower()
        name = with_suffix(form.text("name"), content_type)
        uploads = making.uploads
        token = make.token(0)
        key = uploads.key(make.announced(name, content_type, 1), token)
        sealed = making.seal.close({"make": make.to_store(), "key": key})
        back = f"{_own_origin(request)}/page/new/arrived/{sealed}"
        signed = await uploads.form(name, content_type, token, back)
        origin = await uploads.origin()
    except IttybatchError as error:
        return await show(request, error=error, where="files", given=form)
    return await Shell.of(request).render(
        request, "new_file.html", form_to=origin, make=make, signed=signed, type=content_type,
        uploads=making.declared,
    )  # fmt: skip


async def arrived(request: Request) -> Response:
    """Show what a file that has arrived by the form would make and cost."""
    making = Making.of(request)
    try:
        asked = making.seal.open(request.path_params["sealed"], making.uploads.form_life_s)
        make = Make.from_store(asked["make"])
        item = await making.uploads.arrived(asked["key"])
        found = await quote_of(request, make, item)
    except IttybatchError as error:
        return await show(request, error=error, where="files")
    return await show_quote(request, make, item, found)


def _own_origin(request: Request) -> str:
    """This page's origin. The browser knows it; behind a proxy this server may not."""
    given = request.headers.get("origin", "")
    return given if given.startswith("http") else f"{request.url.scheme}://{request.url.netloc}"


def routes() -> list[Route]:
    """The routes of this page."""
    return [
        Route("/new/files", preview, methods=["POST"]),
        Route("/new/uploads/begin", begin, methods=["POST"]),
        Route("/new/uploads/more", more, methods=["POST"]),
        Route("/new/uploads/complete", complete, methods=["POST"]),
        Route("/new/uploads/abort", abort, methods=["POST"]),
        Route("/new/file", one_file, methods=["POST"]),
        Route("/new/arrived/{sealed}", arrived),
    ]
