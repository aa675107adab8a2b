"""Findings: the results of checks of an installation."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding of one check.

    Args:
        check: What was checked.
        grade: The result.
        what: What was found.
        remedy: How to fix it; empty if there is nothing to fix.
        command: A command that fixes it, to copy as it is; empty if there is none.
    """

    check: str
    grade: Grade
    what: str
    remedy: str = ""
    command: str = ""
