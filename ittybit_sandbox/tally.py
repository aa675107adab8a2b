"""Counts requests, jobs and deliveries, so that tests can compare them with the client's."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts since the start."""

    requests: Counter[str] = field(default_factory=Counter)
    jobs_created: int = 0
    jobs_resumed: int = 0
    tasks_created: int = 0
    replays: int = 0
    conflicts: int = 0
    answers_cut: int = 0
    deliveries: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, object]:
        """Return the counts; requests by route and status."""
        names = (
            "planned",
            "sent",
            "acknowledged",
            "refused",
            "duplicated",
            "delayed",
            "reordered",
            "lost",
            "wrongly_signed",
            "forged",
            "forged_and_believed",
            "abandoned",
            "redelivered",
        )
        return {
            "requests": dict(sorted(self.requests.items())),
            "jobs_created": self.jobs_created,
            "jobs_resumed": self.jobs_resumed,
            "tasks_created": self.tasks_created,
            "replays": self.replays,
            "conflicts": self.conflicts,
            "answers_cut": self.answers_cut,
            "deliveries": {name: self.deliveries[name] for name in names},
        }
