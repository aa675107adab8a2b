"""Reads posted forms, bounded, and says what is wrong with a field."""

from http import HTTPStatus
from urllib.parse import parse_qs

from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ittybatch.bodies import read_body

_MAX_FORM_BYTES = 262_144
_MAX_FIELDS = 2_000
_FORM = "application/x-www-form-urlencoded"

_NUMBER = "Write a number, for example 0.5."
_WHOLE = "Write a whole number, for example 5."
# pydantic's own words are about its types, which nobody sees in a form.
_IN_WORDS = {
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
}


def words_of(error: ErrorDetails) -> str:
    """Say what is wrong with the value of a field, for whoever filled it in."""
    return _IN_WORDS.get(error["type"], f"{error['msg'].removeprefix('Value error, ')}.")


class Form:
    """The fields of a posted form.

    Args:
        fields: Values by name.
    """

    def __init__(self, fields: dict[str, list[str]]) -> None:
        # Postgres takes no NUL in text.
        self._fields = {
            name: [value.replace("\x00", "") for value in values] for name, values in fields.items()
        }

    def text(self, name: str) -> str:
        """The first value of a field without surrounding spaces; "" if there is none."""
        return next(iter(self._fields.get(name, ())), "").strip()

    def texts(self, name: str) -> list[str]:
        """Every value of a field."""
        return self._fields.get(name, [])

    def is_on(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self.text(name))


async def read_form(request: Request) -> Form:
    """Read a posted form.

    Raises:
        HTTPException: It is too large, too slow, or not a form.
    """
    if request.headers.get("content-type", _FORM).partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The page's forms are sent as {_FORM}."
        )
    body = await read_body(request, _MAX_FORM_BYTES)
    try:
        fields = parse_qs(
            body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, strict_parsing=False
        )
    except ValueError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The form cannot be read.") from None
    return Form(fields)
