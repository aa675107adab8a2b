"""One figure beside its reference, over several rounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and the reference that was measured in turn with it.

    Args:
        bench: The bench that it belongs to.
        what: What was measured.
        unit: Of both, such as `jobs/s`.
        ours: One measurement a round.
        reference: What it is measured against.
        theirs: The reference's measurements, of the same rounds.
        target: What it should come to, in words.
    """

    bench: str
    what: str
    unit: str
    ours: Sequence[float]
    reference: str
    theirs: Sequence[float]
    target: str

    @property
    def ratios(self) -> list[float]:
        """Ours to theirs, round by round: a machine's mood touches both sides of a round."""
        return [_ratio(ours, theirs) for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """All of it, for a machine."""
        return {
            "bench": self.bench,
            "what": self.what,
            "unit": self.unit,
            "median": round(median(self.ours), 2),
            "reference": self.reference,
            "reference_median": round(median(self.theirs), 2),
            "ratio": _told(median(self.ratios)),
            "ratio_min": _told(min(self.ratios)),
            "ratio_max": _told(max(self.ratios)),
            "rounds": len(self.ours),
            "target": self.target,
        }


def _ratio(ours: float, theirs: float) -> float:
    """Nothing beside nothing is the same; anything beside nothing is past all measure."""
    if theirs:
        return ours / theirs
    return math.inf if ours else 1.0


def _told(ratio: float) -> float | None:
    """A ratio as JSON has it, which knows no infinity."""
    return round(ratio, 3) if math.isfinite(ratio) else None
