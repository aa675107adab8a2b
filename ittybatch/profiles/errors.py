"""What can be wrong with a profile, and with an item under one."""

from collections.abc import Sequence
from dataclasses import dataclass

from ittybatch.errors import IttybatchError

# Steps that lead from a document's root to one of its values.
Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a profile's file.

    Args:
        line: Line of the file, counted from 1; None where the profile came from no file.
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
    """Write a location as people do, such as `renditions[0].options.width`."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return path.removeprefix(".") or "profile"


class ProfileError(IttybatchError):
    """A profile cannot be found, read or used; nothing has been dispatched for it.

    Args:
        message: What happened, and to which file.
        problems: Every problem found, in the file's order.
        remedy: What to do next.
    """

    def __init__(
        self, message: str, *, problems: Sequence[Problem] = (), remedy: str | None = None
    ) -> None:
        super().__init__("\n  ".join([message, *map(str, problems)]), remedy=remedy)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        # A list ends before the advice on what to do about it begins.
        parts = (self.message, self.remedy or "")
        return ("\n" if "\n" in self.message else " ").join(filter(None, parts))


class UnusableItem(IttybatchError):
    """One item cannot be given its jobs; the others of its batch are unharmed."""
