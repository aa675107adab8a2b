"""The page of new jobs: an address, files, or a bucket; what it would make and cost; then it."""

import secrets
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ittybatch.errors import IttybatchError
from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.quoting import Quote, quote
from ittybatch.intake.taken import Taken
from ittybatch.intake.upload_names import known_types
from ittybatch.intake.upload_store import StoreUnavailable
from ittybatch.intake.wanted import RequestRefused
from ittybatch.page.forms import Form, read_form
from ittybatch.page.made import made_url
from ittybatch.page.making import KINDS, Make, Making, asker_of
from ittybatch.page.shell import Shell
from ittybatch.profiles import Item

# The other forms of the page do not need the bucket.
_ORIGIN_WITHIN_S = 3.0


async def view(request: Request) -> Response:
    """Show the forms."""
    return await show(request)


async def show(
    request: Request,
    *,
    error: IttybatchError | None = None,
    where: str = "",
    given: Form | None = None,
) -> Response:
    """Show the forms, with what is wrong with one of them.

    Args:
        request: The request.
        error: What is wrong.
        where: The form that it is about: `address`, `files` or `library`.
        given: What was filled in, to be shown again.
    """
    making, shell = Making.of(request), Shell.of(request)
    origin, unavailable = "", None
    if making.declared is not None and request.state.viewer.may_act:
        try:
            with anyio.fail_after(_ORIGIN_WITHIN_S):
                origin = await making.uploads.origin()
        except StoreUnavailable as failed:
            unavailable = failed
        except TimeoutError:
            unavailable = StoreUnavailable(
                f"The bucket {making.declared.bucket} has not answered, so no files can be sent "
                "now.",
                remedy="Load the page again. `ittybatch doctor` checks the bucket.",
            )
    return await shell.render(
        request,
        "new.html",
        status=_status_of(error),
        connect=origin,
        profiles=await shell.load(making.profiles),
        kinds=KINDS,
        uploads=making.declared,
        origin=origin,
        unavailable=unavailable,
        error=error,
        where=where,
        given=given or Form({}),
        none_given=Form({}),
        file_types=_accepted(making.declared),
        form_key=secrets.token_hex(16),
    )


def _status_of(error: IttybatchError | None) -> int:
    if error is None:
        return HTTPStatus.OK
    return error.status if isinstance(error, RequestRefused) else HTTPStatus.CONFLICT


def _accepted(declared: UploadsDeclared | None) -> list[str]:
    """The types that a form without script offers: a browser would not send the file's own."""
    if declared is None:
        return []
    return [each for each in known_types() if declared.accepts(each)]


async def preview(request: Request) -> Response:
    """Show what an address would make and cost. Nothing is sent."""
    form = await read_form(request)
    try:
        make = Make.from_form(form)
        item = await Making.of(request).objects.identified(Item(form.text("url")))
        found = await quote_of(request, make, item)
    except RequestRefused as error:
        return await show(request, error=error, where="address", given=form)
    return await show_quote(request, make, item, found)


async def quote_of(request: Request, make: Make, item: Item) -> Quote:
    """Say what one item would make and cost.

    Raises:
        RequestRefused: It cannot be taken.
    """
    shell = Shell.of(request)
    order = Making.of(request).order(make, item)
    return await shell.read(quote, shell.settings, [order])


async def show_quote(
    request: Request, make: Make, item: Item, found: Quote, *, changed: bool = False
) -> Response:
    """Show a quote, with the form that confirms it."""
    sealed = Making.of(request).seal.close(
        {
            "make": make.of_item(item).to_store(),
            "uri": item.uri,
            "fingerprint": item.fingerprint,
            "size_bytes": item.size_bytes,
            "modified_at": item.modified_at.isoformat() if item.modified_at else None,
            "paid": found.paid_digests,
        }
    )
    return await Shell.of(request).render(
        request,
        "new_quote.html",
        status=HTTPStatus.CONFLICT if changed else HTTPStatus.OK,
        make=make,
        quote=found,
        sealed=sealed,
        changed=changed,
    )


async def take(request: Request) -> Response:
    """Take what was confirmed. Sent twice, it makes nothing twice."""
    form = await read_form(request)
    making = Making.of(request)
    try:
        asked: dict[str, Any] = making.seal.open(form.text("sealed"))
        make = Make.from_store(asked["make"])
        # Not in forms of an earlier version.
        modified = asked.get("modified_at")
        shown = Item(
            asked["uri"],
            asked["fingerprint"],
            asked["size_bytes"],
            datetime.fromisoformat(modified) if modified else None,
        )
        # What was made, whatever has changed since: a quote would offer to pay for it once more.
        confirmed = make.wanted(shown, asker_of(request))
        if (taken := await making.intake.taken_before(confirmed)) is not None:
            return _redirect(taken)
        # The store may answer by now, and the object may have been overwritten.
        item = await making.objects.identified(Item(shown.uri))
        item = shown if item.fingerprint is None else item
        is_another = shown.fingerprint not in {None, item.fingerprint}
        found = await quote_of(request, make, item)
        if is_another or not set(found.paid_digests) <= set(asked["paid"]) or found.refused:
            # Somebody has seen and confirmed another file, or other or fewer jobs than would be
            # paid for now. What they confirm next is another request.
            anew = replace(make, key=secrets.token_hex(16))
            return await show_quote(request, anew, item, found, changed=True)
        taken = await making.intake.take(make.wanted(item, asker_of(request)))
    except RequestRefused as error:
        return await show(request, error=error, where="address")
    return _redirect(taken)


def _redirect(taken: Taken) -> Response:
    """Lead to the jobs."""
    return RedirectResponse(made_url([int(job.job_id) for job in taken.jobs]), HTTPStatus.SEE_OTHER)


def routes() -> list[Route]:
    """The routes of this page."""
    return [
        Route("/new", view),
        Route("/new/address", preview, methods=["POST"]),
        Route("/new/take", take, methods=["POST"]),
    ]
