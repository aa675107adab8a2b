"""Addresses of a batch's pages, and the batch that an address names."""

from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request

from ittybatch.ledger.batches import UnknownBatch, read_batch
from ittybatch.page.shell import Shell

_MAX_ID_CHARS = 64
# Numbers of chunks and lines are 32-bit integers.
_MAX_NUMBER = 2**31 - 1
_MAX_NUMBER_DIGITS = 10


async def known_batch(request: Request) -> str:
    """The id of the batch in a request's path.

    Raises:
        HTTPException: There is no such batch.
    """
    batch: str = request.path_params["batch"]
    # Postgres takes no NUL in text.
    if len(batch) <= _MAX_ID_CHARS and batch.isprintable():
        try:
            return (await Shell.of(request).read(read_batch, batch)).id
        except UnknownBatch:
            pass
    raise HTTPException(HTTPStatus.NOT_FOUND, "The ledger has no batch with this id.")


def batch_url(batch: str, below: str = "", **query: Any) -> str:  # noqa: ANN401  any value
    """The address of a page of a batch.

    Args:
        batch: The batch's id.
        below: The page below the batch's own: `retry`.
        query: Parameters; those that are None or empty are left out.
    """
    given = {name: value for name, value in query.items() if value not in {None, ""}}
    path = f"/page/batches/{quote(batch, safe='')}" + (f"/{below}" if below else "")
    return f"{path}?{urlencode(given)}" if given else path


def region_url(batch: str, name: str) -> str:
    """The address of a region of a batch's page."""
    return f"/page/regions/batches/{quote(batch, safe='')}/{name}"


def batch_context(batch: str) -> dict[str, Any]:
    """What every template of a batch uses: its id, and the addresses of its pages."""
    return {
        "batch": batch,
        "url": partial(batch_url, batch),
        "region_url": partial(region_url, batch),
    }


def number_in(request: Request, name: str, default: int) -> int:
    """A number in a request's query; the default if it is missing or cannot be one."""
    text = request.query_params.get(name, "")
    if not text.isdecimal() or len(text) > _MAX_NUMBER_DIGITS:
        return default
    number = int(text)
    return number if number <= _MAX_NUMBER else default
