"""The error of the local stack."""

from ittybatch.errors import IttybatchError


class StackError(IttybatchError):
    """A part of the local stack does not start or is missing."""
