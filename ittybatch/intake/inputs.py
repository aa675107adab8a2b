"""Checks the address of a request's upload before anything else is done with it."""

from http import HTTPStatus
from urllib.parse import urlsplit

from ittybatch.intake.addresses import is_private
from ittybatch.intake.wanted import RequestRefused
from ittybatch.sources.entry import has_unseen
from ittybatch.sources.rows import BadCellError, checked_input
from ittybatch.sources.s3 import SCHEME

# A signature with a session token takes up to 3,000.
_MAX_CHARS = 8192
_REMEDY = "Send an https:// URL, or s3://bucket/key."


def check_input(uri: str, *, allow_private: bool) -> None:
    """Refuse an upload's address that Ittybit cannot read, or must not be sent to.

    Names are not resolved: Ittybit reads the file from its own network, at another time.

    Args:
        uri: The address.
        allow_private: Whether it may be of a private network or of this machine.

    Raises:
        RequestRefused: The address cannot be used. The message does not repeat it.
    """
    if len(uri) > _MAX_CHARS:
        raise _refused(f"It has {len(uri):,} characters; the maximum is {_MAX_CHARS:,}.", _REMEDY)
    if has_unseen(uri):
        raise _refused("It has an invisible character.", _REMEDY)
    try:
        checked_input(uri)
    except BadCellError as error:
        raise _refused(f"It {error.reason}.", _REMEDY) from None
    if allow_private or uri.startswith(SCHEME):
        return
    if is_private(urlsplit(uri).hostname or ""):
        raise _refused(
            "It is an address of a private network or of this machine.",
            "Send an address that Ittybit can reach. For a local Ittybit, set "
            "ITTYBATCH_ALLOW_PRIVATE_URLS=true for the receiver.",
        )


def _refused(message: str, remedy: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, "url", message, remedy)
