"""What can be wrong with a source as a whole."""

import re

from ittybatch.errors import IttybatchError

# Greedy on purpose: a comma or a quote may stand in a signature.
_QUERY = re.compile(r"(https?://[^\s?]*)\?\S*", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/\s]*@")


class SourceError(IttybatchError):
    """A source cannot be read, or not to its end; what was read before it stands."""


def without_secrets(text: str) -> str:
    """Take signatures and passwords out of the URLs in a text, for messages."""
    return _QUERY.sub(r"\1?...", _USER.sub("", text))
