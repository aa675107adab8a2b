"""The verdict: what the ledger, the report, Prefect and the other side of the wire say."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ittybatch.ledger import Transaction
from ittybatch.ledger.counters import recount
from ittybatch.ledger.models import Run
from ittybatch.ledger.results import JobRow
from ittybatch.ledger.states import JobState, RunState
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

_SERVER_WITHIN_S = 60.0
_SHOWN = 5
# What the sandbox has to say of a job that the ledger says has ended so.
_THEIRS: dict[JobState, set[str | None]] = {
    JobState.SUCCEEDED: {"succeeded"},
    JobState.FAILED: {"failed"},
    # A job that never ends there is given up here.
    JobState.EXPIRED: {"queued", "processing"},
    # Cancelled before it was sent, or before it was sent again.
    JobState.CANCELLED: {None, "failed"},
}


# A job's columns, and what the report calls them.
_REPORTED = {
    "input": "input",
    "rendition": "rendition",
    "kind": "kind",
    "state": "status",
    "attempts": "attempts",
    "task_id": "task_id",
    "output_url": "output_url",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What both sides of the wire say once it is over.

    Args:
        lost: What should be there and is not.
        doubled: What is there more often than it should be.
        wrong: Everything else that does not fit together.
        wire: What went over the wire during the soak, by what it was.
        states: Jobs by the state the ledger has them in.
        attempts: Jobs accepted by the sandbox, retries included.
    """

    lost: list[str]
    doubled: list[str]
    wrong: list[str]
    wire: dict[str, int]
    states: dict[str, int]
    attempts: int

    @property
    def holds(self) -> bool:
        """Whether everything fits together."""
        return not (self.lost or self.doubled or self.wrong)

    def told(self) -> list[str]:
        """What does not fit together: the first few of each."""
        lines = []
        for what in ("lost", "doubled", "wrong"):
            found: list[str] = getattr(self, what)
            lines += [f"{what}: {line}" for line in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"{what}: {len(found) - _SHOWN} more")
        return lines


def judge(
    system: System,
    batch: str,
    flow_run: str,
    jobs: int | None,
    before: Mapping[str, Any],
    *,
    retry: bool = False,
) -> Verdict:
    """Compare all sides.

    Args:
        system: The system, everybody in it up again.
        batch: The batch.
        flow_run: The flow run that it was started with.
        jobs: How many jobs it should have; None for a batch that was cancelled while it planned.
        before: What the sandbox counted before the batch began.
        retry: Whether attempts go on counting where an earlier batch left off.
    """
    rows = system.jobs(batch)
    theirs = system.wire.jobs(batch)
    return Verdict(
        lost=[*_missing(system, batch, rows, theirs, jobs)],
        doubled=[*_doubled(rows, theirs, retry=retry)],
        wrong=[
            *_different_outcomes(rows, theirs),
            *_different_report(system, batch, rows),
            *_left_behind(system, batch, flow_run),
            *_wrong_counters(system, batch, rows),
            *_believed(system, before),
        ],
        wire=_wire(before, system.wire.summary()),
        states=dict(Counter(row.state.value for row in rows)),
        attempts=len(theirs),
    )


def judge_jobs(system: System, batch: str, before: Mapping[str, Any]) -> Verdict:
    """Compare the jobs of a batch that goes on taking requests, all of them ended.

    Args:
        system: The system, everybody in it up again.
        batch: The batch.
        before: What the sandbox counted before the batch began.
    """
    rows = system.jobs(batch)
    theirs = system.wire.jobs(batch)
    return Verdict(
        lost=[*_missing(system, batch, rows, theirs, None)],
        doubled=[*_doubled(rows, theirs, retry=False)],
        wrong=[
            *_different_outcomes(rows, theirs),
            *_wrong_counters(system, batch, rows),
            *_believed(system, before),
        ],
        wire=_wire(before, system.wire.summary()),
        states=dict(Counter(row.state.value for row in rows)),
        attempts=len(theirs),
    )


def _missing(
    system: System, batch: str, rows: list[JobRow], theirs: list[dict[str, Any]], jobs: int | None
) -> Iterator[str]:
    if jobs is not None and len(rows) != jobs:
        yield f"{len(rows)} jobs were planned, not {jobs}"
    for row in rows:
        if not row.state.terminal:
            yield f"job {row.id} ({row.input}, {row.rendition}) is still {row.state}"
    created = {job["idempotency_key"]: job["id"] for job in theirs}
    for key, task in system.attempts(batch).items():
        if key not in created:
            yield f"attempt {key} is in the ledger and was never accepted"
        elif task != created[key]:
            yield f"attempt {key} is job {created[key]} there and {task} here"


def _doubled(rows: list[JobRow], theirs: list[dict[str, Any]], *, retry: bool) -> Iterator[str]:
    sent: dict[str, list[int]] = defaultdict(list)
    for job in theirs:
        if job["created_by_key"] != 1:
            yield f"key {job['idempotency_key']} made {job['created_by_key']} jobs"
        metadata = job["metadata"]
        sent[metadata["ittybatch_job_key"]].append(int(metadata["ittybatch_attempt"]))
    for row in rows:
        numbers = sorted(sent.pop(row.job_key, []))
        first = numbers[0] if retry and numbers else 1
        if numbers != [*range(first, first + row.attempts)]:
            yield f"job {row.id} has {row.attempts} attempts here, and there {numbers}"
    for key in sent:
        yield f"nobody has planned job {key}"


def _different_outcomes(rows: list[JobRow], theirs: list[dict[str, Any]]) -> Iterator[str]:
    status = {job["id"]: job["status"] for job in theirs}
    for row in rows:
        found = status.get(row.task_id or "")
        if found not in _THEIRS.get(row.state, set()):
            yield f"job {row.id} is {row.state} here, and {found} there ({row.task_id})"


def _different_report(system: System, batch: str, rows: list[JobRow]) -> Iterator[str]:
    path = system.stack.home / "batches" / batch / "report.json"
    if not path.exists():
        yield "there is no report"
        return
    report = json.loads(path.read_text())
    ours = Counter(tuple(getattr(row, name) for name in _REPORTED) for row in rows)
    told = Counter(tuple(entry[_REPORTED[name]] for name in _REPORTED) for entry in report["jobs"])
    for which, difference in (("ledger", ours - told), ("report", told - ours)):
        for entry in difference:
            yield f"only in the {which}: {entry}"
    counts = {name: report["counts"][name] for name in ("jobs", "succeeded", "failed", "expired")}
    states = Counter(row.state for row in rows)
    if counts != {
        "jobs": len(rows),
        "succeeded": states[JobState.SUCCEEDED],
        "failed": states[JobState.FAILED],
        "expired": states[JobState.EXPIRED],
    }:
        yield f"the report counts {counts}, the rows {dict(states)}"


def _left_behind(system: System, batch: str, flow_run: str) -> Iterator[str]:
    open_runs = until(
        lambda: (system.prefect.open_runs(f"batch:{batch}"),),
        "Prefect answers",
        within_s=_SERVER_WITHIN_S,
    )[0]
    for run in open_runs:
        yield f"flow run {run['name']} ({run['id']}) is left in Prefect as {run['state_name']}"
    first = system.prefect.flow_run(flow_run)
    if first["state_type"] not in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}:
        yield f"the first flow run ({flow_run}) is left in Prefect as {first['state_name']}"

    def unfinished(transaction: Transaction) -> list[str]:
        query = select(Run.owner).where(Run.batch_id == batch, Run.state != RunState.ENDED.value)
        return [row.owner for row in transaction.rows(query)]

    for owner in system.ledger.read(unfinished):
        yield f"the ledger still waits for a run of {owner}"


def _wrong_counters(system: System, batch: str, rows: list[JobRow]) -> Iterator[str]:
    counts = system.status(batch).counts
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED):
        found = sum(row.state is state for row in rows)
        if counts[state.value] != found:
            yield f"the counters say {counts[state.value]} {state}, the rows {found}"
    for number, true in system.ledger.write(recount, batch):
        yield f"the counters of chunk {number} were wrong; they are {dict(true)}"


def _believed(system: System, before: Mapping[str, Any]) -> Iterator[str]:
    name = "forged_and_believed"
    believed = system.wire.summary()["deliveries"][name] - before["deliveries"][name]
    if believed:
        yield f"{believed} forged webhooks were answered 2xx"


def _wire(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, int]:
    """What went over the wire in between."""
    asked, failed = _requests(after), _requests(before)
    requests = {name: count - failed.get(name, 0) for name, count in asked.items()}
    deliveries = {
        name: count - before["deliveries"][name] for name, count in after["deliveries"].items()
    }
    return {
        **requests,
        "answers cut after the job was accepted": after["answers_cut"] - before["answers_cut"],
        "submissions recognised by their key": after["replays"] - before["replays"],
        "webhooks planned": deliveries["planned"],
        "webhooks lost": deliveries["lost"],
        "webhooks doubled": deliveries["duplicated"],
        "webhooks delayed beyond the deadline": deliveries["delayed"],
        "webhooks out of order": deliveries["reordered"],
        "webhooks wrongly signed": deliveries["wrongly_signed"],
        "webhooks forged": deliveries["forged"],
        "deliveries not taken, and sent again": deliveries["refused"],
        "deliveries given up": deliveries["abandoned"],
    }


def _requests(summary: Mapping[str, Any]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for line, count in summary["requests"].items():
        status = int(line.rpartition(" ")[2])
        found["API calls"] += count
        if status == 429 or status >= 500:
            found["API calls failed"] += count
    return {"API calls": found["API calls"], "API calls failed": found["API calls failed"]}
