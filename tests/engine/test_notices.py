"""Events and waiters: what Prefect refuses of one keeps no other from being sent or resumed."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from prefect.client.schemas.objects import StateType
from sqlalchemy import update

from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable
from ittybatch.engine.notices import Notices
from ittybatch.engine.run_status import RunStatus
from ittybatch.engine.waking import Waker
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.models import Notice
from ittybatch.ledger.notices import notices_wait
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.waiters import Target, anybody_waits, begin_waiting
from tests.ledger import library

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


class Prefect(FlowRuns):
    """A Prefect that refuses some of what it is asked.

    Args:
        refuses: Events, by name, and flow runs that it refuses.
        status: The status that it refuses with.
        away: Whether it does not answer at all.
    """

    def __init__(self, *refuses: str, status: int = 422, away: bool = False) -> None:
        super().__init__(cast("SyncPrefectClient", None))
        self.refuses = refuses
        self.status = status
        self.away = away
        self.events: list[str] = []
        self.resumed: list[str] = []
        self.runs: dict[str, StateType] = {}

    def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        names = [str(each["event"]) for each in events]
        self._answer(*names)
        self.events += names

    def statuses(self, ids: Sequence[str]) -> dict[str, RunStatus]:
        now = datetime.now(UTC)
        return {each: RunStatus(self.runs[each], "", now) for each in ids if each in self.runs}

    def resume(self, flow_run: str) -> bool:
        self._answer(flow_run)
        self.resumed.append(flow_run)
        return True

    def probe(self) -> None:
        self._answer()

    def _answer(self, *asked: str) -> None:
        if self.away:
            raise PrefectUnavailable("Prefect's API could not be reached.")
        if set(asked) & set(self.refuses):
            raise PrefectUnavailable("Prefect's API refused.", status=self.status)


def test_an_event_that_prefect_refuses_is_left_out(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """The others of the same request are sent."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    ledger.write(hold_batch, batch, "Held.")
    prefect = Prefect("ittybatch.batch.planned")
    assert Notices(ledger, prefect).send() == 1
    assert prefect.events == ["ittybatch.batch.held"]
    assert "refuses the event batch.planned" in caplog.text
    assert Notices(ledger, prefect).send() == 0


@pytest.mark.parametrize(
    "prefect", [Prefect(away=True), Prefect("ittybatch.batch.planned", status=403)]
)
def test_events_wait_for_a_prefect_that_takes_none(ledger: Ledger, prefect: Prefect) -> None:
    """And the round of the waker goes on without them."""
    library.planned_batch(ledger, library.job("a.mov"))
    assert Notices(ledger, prefect).send() == 0

    def age(transaction: Transaction) -> None:
        transaction.execute(update(Notice).values(claimed_at=library.LONG_AGO))

    ledger.write(age)
    assert ledger.read(notices_wait)
    assert Notices(ledger, Prefect()).send() == 1


def test_a_prefect_that_takes_no_events_is_not_asked_each_second(ledger: Ledger) -> None:
    """Each request may take its time, and the round of the waker has more to do."""
    library.planned_batch(ledger, library.job("a.mov"))
    prefect = Prefect(away=True)
    notices = Notices(ledger, prefect)
    assert notices.send() == 0
    library.planned_batch(ledger, library.job("b.mov"))
    prefect.away = False
    assert notices.send() == 0
    assert prefect.events == []


def test_an_event_of_a_newer_version_is_sent_by_an_older_one(ledger: Ledger) -> None:
    """While a version is rolled over, both look after one ledger."""
    library.planned_batch(ledger, library.job("a.mov"))

    def rename(transaction: Transaction) -> None:
        transaction.execute(update(Notice).values(event="batch.dreamt"))

    ledger.write(rename)
    prefect = Prefect()
    assert Notices(ledger, prefect).send() == 1
    assert prefect.events == ["ittybatch.batch.dreamt"]


def test_a_run_that_prefect_does_not_resume_keeps_no_other_asleep(ledger: Ledger) -> None:
    """One is refused, one has ended, one was deleted, one has not fallen asleep yet."""
    _, submissions = library.submitted(ledger, library.job("a.mov"))
    target = Target(job=submissions[0].job_id)
    for run in ("refused", "ended", "deleted", "awake", "asleep"):
        ledger.write(begin_waiting, run, target)
    ledger.write(settle, [library.remote("task-0")])
    prefect = Prefect("refused")
    prefect.runs = {
        "refused": StateType.PAUSED,
        "ended": StateType.CANCELLED,
        "awake": StateType.RUNNING,
        "asleep": StateType.PAUSED,
    }
    notices = Notices(ledger, prefect)
    assert notices.resume_waiters() == ["asleep"]
    assert notices.resume_waiters() == [], "not each second"
    assert ledger.read(anybody_waits)


def test_a_users_flow_that_goes_on_is_no_sign_of_a_missing_automation(ledger: Ledger) -> None:
    """The alert counts runs of batches and chunks that the waker had to resume itself."""
    _, submissions = library.submitted(ledger, library.job("a.mov"))
    ledger.write(begin_waiting, "asleep", Target(job=submissions[0].job_id))
    ledger.write(settle, [library.remote("task-0")])
    prefect = Prefect()
    prefect.runs = {"asleep": StateType.PAUSED}
    woken = Waker(ledger, prefect, lease_s=60).round()
    assert (woken.continued, woken.resumed) == (["asleep"], [])
