"""Errors of profiles, and of items that a profile cannot be applied to."""

from collections.abc import Sequence
from dataclasses import dataclass

from ittybatch.errors import IttybatchError

# The path from a document's root to one of its values.
Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a profile.

    Args:
        line: Line of the file, counted from 1; None if the profile was not read from a file.
        field: Path of the field, such as `renditions[0].options.width`.
        message: What is wrong with its value.
    """

    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}, {self.field}" if self.line else self.field
        return f"{place}: {self.message}"


def field_path(location: Location) -> str:
    """Format a location as a path, such as `renditions[0].options.width`."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return path.removeprefix(".") or "profile"


class ProfileError(IttybatchError):
    """A profile cannot be found, read or used. Nothing was submitted for it.

    Args:
        message: What happened, and with which file.
        problems: Every problem found, in the file's order.
        remedy: What to do next.
    """

    def __init__(
        self, message: str, *, problems: Sequence[Problem] = (), remedy: str | None = None
    ) -> None:
        super().__init__("\n  ".join([message, *map(str, problems)]), remedy=remedy)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        # After a list, the remedy starts on a line of its own.
        parts = (self.message, self.remedy or "")
        return ("\n" if "\n" in self.message else " ").join(filter(None, parts))


class UnusableItem(IttybatchError):
    """The jobs of one item cannot be made. Other items of the batch are not affected."""
