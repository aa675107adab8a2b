"""One figure beside its reference, over several rounds."""

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
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """All of it, for a machine."""
        return {
            "bench": self.bench,
            "what": self.what,
            "unit": self.unit,
            "median": round(median(self.ours), 2),
            "reference": self.reference,
            "reference_median": round(median(self.theirs), 2),
            "ratio": round(median(self.ratios), 3),
            "ratio_min": round(min(self.ratios), 3),
            "ratio_max": round(max(self.ratios), 3),
            "rounds": len(self.ours),
            "target": self.target,
        }
