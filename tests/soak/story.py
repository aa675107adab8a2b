"""What came of a soak: its figures, and everything that is not as it should be."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Story:
    """What came of it.

    Args:
        tell: Told of each line as it comes.
        figures: What was measured, by what it is.
        wrong: Everything that is not as it should be.
    """

    tell: Callable[[str], None]
    figures: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def note(self, what: str, figure: str) -> None:
        """Keep a figure."""
        name = f"{what}, again" if what in self.figures else what
        self.figures[name] = figure
        self.tell(f"{what}: {figure}")

    def expect(self, holds: bool, otherwise: str) -> None:
        """Keep what is wrong where something does not hold."""
        if not holds:
            self.wrong.append(otherwise)
            self.tell(f"WRONG: {otherwise}")
