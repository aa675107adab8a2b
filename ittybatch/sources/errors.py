"""What can be wrong with a source as a whole."""

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import without_secrets

__all__ = ["SourceError", "without_secrets"]


class SourceError(IttybatchError):
    """A source cannot be read, or not to its end; what was read before it stands."""
