"""The checks of `ittybatch doctor`, which the page runs on demand."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ittybatch.engine.amounts import format_count
from ittybatch.engine.checking import check_all, check_api
from ittybatch.engine.finding import Finding, Grade
from ittybatch.engine.registration import check_registration
from ittybatch.errors import IttybatchError
from ittybatch.intake.checking import check_intake
from ittybatch.page.access import Access
from ittybatch.settings import Settings
from ittybatch.sinks.checking import check_sinks

logger = logging.getLogger(__name__)

_WORST_FIRST = (Grade.BROKEN, Grade.WARNING, Grade.OK)


def check_everything(settings: Settings) -> list[Finding]:
    """Check all that batches rely on, except a bucket. Calls Ittybit, Prefect and the sinks."""
    return [
        asyncio.run(check_api(settings)),
        *asyncio.run(check_registration(settings)),
        *check_all(settings),
        check_page(settings),
        *check_intake(settings),
        *check_sinks(settings),
    ]


def check_page(settings: Settings) -> Finding:
    """Say for whom the receiver's page is."""
    whom = Access(settings).describe()
    return Finding("Page", Grade.OK, f"the receiver serves it at /page/, for {whom}.")


@dataclass(frozen=True, slots=True)
class Examination:
    """The last run of the checks in this process.

    Args:
        findings: What they found; empty while the first run goes on.
        ended_at: When they ended; None if they never did.
        began_at: When the run that goes on began; None if none does.
    """

    findings: Sequence[Finding] = ()
    ended_at: datetime | None = None
    began_at: datetime | None = None

    @property
    def worst_first(self) -> list[Finding]:
        """The findings, those that need something done first."""
        return sorted(self.findings, key=lambda finding: _WORST_FIRST.index(finding.grade))

    def describe(self) -> str:
        """The numbers in words, such as `9 ok, 1 warning, 2 broken`."""
        counts = Counter(finding.grade for finding in self.findings)
        warnings = format_count(counts[Grade.WARNING], "warning")
        return f"{counts[Grade.OK]} ok, {warnings}, {counts[Grade.BROKEN]} broken"


@dataclass(slots=True)
class Doctor:
    """Runs the checks in a thread, one run at a time, and keeps what they found.

    Args:
        check: The checks.
    """

    check: Callable[[], list[Finding]]
    last: Examination = field(default_factory=Examination)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    def examine(self, wait_s: float) -> str | None:
        """Start the checks, unless they run.

        Args:
            wait_s: How long to wait for their end.

        Returns:
            What they found, in numbers; None if they still run.
        """
        with self._lock:
            if self.last.began_at is None:
                self.last = replace(self.last, began_at=datetime.now(UTC))
                self._ended = threading.Event()
                # A check may hang for minutes, and must not keep the process from ending.
                threading.Thread(
                    target=self._run, args=(self._ended,), name="doctor", daemon=True
                ).start()
            ended = self._ended
        return self.last.describe() if ended.wait(wait_s) else None

    def _run(self, ended: threading.Event) -> None:
        try:
            findings = self.check()
        except IttybatchError as error:
            findings = [Finding("Checks", Grade.BROKEN, error.message, error.remedy or "")]
        except Exception as error:  # or the page would show for ever that they run
            logger.exception("The checks failed.")
            findings = [
                Finding(
                    "Checks",
                    Grade.BROKEN,
                    f"they ended early ({type(error).__name__}).",
                    "Run `ittybatch doctor`, which shows the error.",
                )
            ]
        with self._lock:
            self.last = Examination(findings, datetime.now(UTC))
        ended.set()
