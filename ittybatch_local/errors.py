"""The error of the local stack."""

from ittybatch.errors import IttybatchError


class StackError(IttybatchError):
    """The local stack cannot start or go on."""
