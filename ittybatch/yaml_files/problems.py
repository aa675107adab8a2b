"""Problems of a file, each with its line and field."""

from collections.abc import Iterable
from dataclasses import dataclass

# The path from a document's root to one of its values.
Location = tuple[int | str, ...]
# What a document as a whole is called.
ROOT = "the file"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file.

    Args:
        line: Line of the file, counted from 1; None if it has none.
        field: Path of the field, such as `renditions[0].options.width`.
        message: What is wrong with its value.
    """

    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}, {self.field}" if self.line else self.field
        return f"{place}: {self.message}"


def field_path(location: Location, *, root: str = ROOT) -> str:
    """Format a location as a path, such as `renditions[0].options.width`.

    Args:
        location: The location.
        root: What the document as a whole is called.
    """
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return path.removeprefix(".") or root


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems by their lines."""
    return sorted(problems, key=lambda problem: problem.line or 0)


def list_problems(file: str, problems: Iterable[Problem]) -> str:
    """Say how many problems a file has, and list them in its order, each on a line.

    Args:
        file: What the file is called.
        problems: Its problems.
    """
    ordered = in_order(problems)
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    return "\n  ".join([f"{file} has {count}:", *map(str, ordered)])
