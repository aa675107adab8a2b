"""Send the ledger's notices to Prefect as events, and resume the flow runs that wait for an end.

Both are done by the waker, in each of its rounds.
"""

import logging
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable
from ittybatch.engine.run_status import RunStatus
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.ledger import Ledger
from ittybatch.ledger.notices import (
    Pending,
    claim_notices,
    notices_wait,
    remove_notices,
    remove_stale_notices,
)
from ittybatch.ledger.waiters import (
    Waiting,
    anybody_waits,
    due_waiters,
    forget_waiter,
    note_resumed,
    waiters_without_batch,
)

logger = logging.getLogger(__name__)

_PREFIX = "ittybatch."
# A notice that is sent twice is the same event twice.
_IDS = uuid.UUID("6f0d0d0a-5a9e-4b5e-9a57-1f6f7d0c2b11")
# A claim lasts as long.
_RETRY_S = 60.0
# Statuses that are about the content of a request.
_ABOUT_AN_EVENT = {
    httpx.codes.BAD_REQUEST,
    httpx.codes.REQUEST_ENTITY_TOO_LARGE,
    httpx.codes.UNPROCESSABLE_ENTITY,
}


class Notices:
    """Sends notices and resumes waiters; one of them for each waker.

    Args:
        ledger: Holds the notices and the waiters.
        flow_runs: Access to Prefect.
    """

    def __init__(self, ledger: Ledger, flow_runs: FlowRuns) -> None:
        self._ledger = ledger
        self._flow_runs = flow_runs
        self._send_at = -math.inf

    def send(self) -> int:
        """Send what was not sent yet, oldest first.

        If Prefect does not accept events, they wait for a minute: runs are woken without them.

        Returns:
            How many events were sent.
        """
        if time.monotonic() < self._send_at or not self._ledger.read(notices_wait):
            return 0
        # None of them may be a month old: a ledger can have been without a waker.
        self._ledger.write(remove_stale_notices)
        claimed = self._ledger.write(claim_notices)
        if not claimed:
            return 0
        try:
            sent = self._emit(claimed)
        except PrefectUnavailable as error:
            self._send_at = time.monotonic() + _RETRY_S
            logger.warning("%d events wait for Prefect: %s", len(claimed), error)
            return 0
        self._ledger.write(remove_notices, [each.id for each in claimed])
        return sent

    def _emit(self, notices: Sequence[Pending]) -> int:
        """Emit events in one request; if Prefect refuses that, each by itself."""
        try:
            self._flow_runs.emit([_event(each) for each in notices])
        except PrefectUnavailable as error:
            if error.status not in _ABOUT_AN_EVENT:
                raise
            if len(notices) > 1:
                return sum(self._emit([each]) for each in notices)
            logger.warning("Prefect refuses the event %s: %s", notices[0].event, error)
            return 0
        return len(notices)

    def resume_waiters(self) -> list[str]:
        """Resume the flow runs whose batch or job has ended.

        Returns:
            The flow runs that were resumed.

        Raises:
            PrefectUnavailable: Prefect does not answer; the next round continues.
        """
        if not self._ledger.read(anybody_waits):
            return []
        due = [*self._ledger.read(due_waiters), *self._without_batch()]
        if not due:
            return []
        # Before they are resumed: what goes wrong with one of them is tried again in a while, and
        # keeps no other from being resumed.
        self._ledger.write(note_resumed, due)
        statuses = self._flow_runs.statuses([each.flow_run_id for each in due])
        return [each.flow_run_id for each in due if self._resume(each, statuses)]

    def _resume(self, waiting: Waiting, statuses: Mapping[str, RunStatus]) -> bool:
        status = statuses.get(waiting.flow_run_id)
        if status is None or status.ended:
            self._ledger.write(forget_waiter, waiting)
            return False
        try:
            return status.suspended and self._flow_runs.resume(waiting.flow_run_id)
        except PrefectUnavailable as error:
            # If Prefect is unavailable, this raises and the round ends.
            self._flow_runs.probe()
            logger.warning("Flow run %s could not be resumed: %s", waiting.flow_run_id, error)
            return False

    def _without_batch(self) -> list[Waiting]:
        """The waiters whose batch will never begin: its flow run has ended without one."""
        waiting = self._ledger.write(waiters_without_batch)
        if not waiting:
            return []
        runs = self._flow_runs.statuses([each.batch_run or "" for each in waiting])
        return [
            each
            for each in waiting
            if (status := runs.get(each.batch_run or "")) is None or status.ended
        ]


def _event(notice: Pending) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(_IDS, f"{notice.batch_id}:{notice.id}")),
        "occurred": notice.at.isoformat(),
        "event": f"{_PREFIX}{notice.event}",
        "resource": {
            "prefect.resource.id": f"ittybatch.batch.{notice.batch_id}",
            "prefect.resource.name": notice.batch_name,
            "ittybatch.profile": notice.profile,
        },
        "related": _related(notice),
        "payload": {"batch": notice.batch_id, "name": notice.batch_name, **_safe(notice.details)},
    }


def _related(notice: Pending) -> Sequence[dict[str, str]]:
    tag = {
        "prefect.resource.id": f"prefect.tag.batch:{notice.batch_id}",
        "prefect.resource.role": "tag",
    }
    if notice.flow_run_id is None:
        return [tag]
    run = {
        "prefect.resource.id": f"prefect.flow-run.{notice.flow_run_id}",
        "prefect.resource.role": "flow-run",
    }
    return [run, tag]


def _safe(details: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    """Keep secrets out of what everybody with access to Prefect can read."""
    return {
        name: without_secrets(value) if isinstance(value, str) else value
        for name, value in details.items()
    }
