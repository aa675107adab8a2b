"""What goes wrong with the local stack."""

from ittybatch.errors import IttybatchError


class StackError(IttybatchError):
    """A part of the local stack could not be started, or is not there."""
