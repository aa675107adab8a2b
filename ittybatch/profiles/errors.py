"""Errors of profiles, and of items that a profile cannot be applied to."""

from collections.abc import Sequence

from ittybatch.errors import IttybatchError
from ittybatch.yaml_files import Problem

# What a profile as a whole is called in problems.
ROOT = "profile"


class ProfileError(IttybatchError):
    """A profile cannot be found, read or used. Nothing was submitted for it.

    Args:
        message: What happened, and with which file; it lists the problems.
        problems: Every problem found.
        remedy: What to do next.
    """

    def __init__(
        self, message: str, *, problems: Sequence[Problem] = (), remedy: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        # After a list, the remedy starts on a line of its own.
        parts = (self.message, self.remedy or "")
        return ("\n" if "\n" in self.message else " ").join(filter(None, parts))


class UnusableItem(IttybatchError):
    """The jobs of one item cannot be made. Other items of the batch are not affected."""
