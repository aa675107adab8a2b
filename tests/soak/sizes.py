"""How large a soak's backfill is, and everything that goes with it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large everything is, all of it in jobs unless it says otherwise.

    Args:
        jobs: Of the backfill.
        chunk_items: Items a chunk of the backfill.
        nightly_jobs: Of the nightly batch.
        room: That may be at Ittybit or next in line, of both batches together.
        slow_per_s: Submissions a second that the backfill is slowed to.
    """

    jobs: int
    chunk_items: int
    nightly_jobs: int
    room: int
    slow_per_s: float

    @classmethod
    def of(cls, jobs: int) -> "Sizes":
        """Sizes that fit a backfill: 20,000 jobs are chunks of 833, and room for three."""
        chunk_jobs = max(50, min(833, jobs // 20))
        return cls(
            jobs=jobs,
            # Three items give five jobs.
            chunk_items=chunk_jobs * 3 // 5,
            nightly_jobs=max(30, min(300, jobs // 20)),
            room=3 * chunk_jobs,
            slow_per_s=max(5.0, jobs / 1000),
        )

    @property
    def settings(self) -> dict[str, str]:
        """What every process is told."""
        return {"ITTYBATCH_MAX_IN_FLIGHT": str(self.room)}
