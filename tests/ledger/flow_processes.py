"""The flows' own sequences of transactions, cut at each of them, and Prefect's rules."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from prefect.client.schemas.objects import StateType

from ittybatch.engine.flow_runs import FlowRuns
from ittybatch.engine.run_status import RunStatus
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import end_batch, finish_planning, read_batch
from ittybatch.ledger.chunks import chunk_of, finish_chunk, release_chunks
from ittybatch.ledger.identity import batch_owner, owned_chunk
from ittybatch.ledger.legs import Ending, Leg, ask, begin_leg, begin_wait, end_run, is_suspended
from ittybatch.ledger.planning import NotPlanning, plan_page
from ittybatch.ledger.queries import batch_status
from ittybatch.ledger.states import BatchState, ChunkState
from ittybatch.ledger.stopping import hold_and_end
from ittybatch.ledger.submission import Accepted, claim_due, record_accepted, unanswered
from tests.ledger import library

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
MAX_IN_FLIGHT = 4
Process = Generator[None, None, None]


class Prefect(FlowRuns):
    """Prefect's rules for flow runs, without its server."""

    def __init__(self) -> None:
        super().__init__(cast("SyncPrefectClient", None))
        self.states: dict[str, StateType] = {}
        self.owners: dict[str, str] = {}
        self._by_key: dict[str, str] = {}

    def add(self, owner: str, state: StateType) -> str:
        run = str(uuid4())
        self.states[run], self.owners[run] = state, owner
        return run

    def make(self, deployment: str, *, idempotency_key: str, **given: Any) -> str:  # noqa: ANN401
        del deployment
        if idempotency_key not in self._by_key:
            given = given["parameters"]
            chunk = given.get("chunk_id")
            owner = f"chunk:{chunk}" if chunk else batch_owner(given["options"]["go_on_with"])
            self._by_key[idempotency_key] = self.add(owner, StateType.SCHEDULED)
        return self._by_key[idempotency_key]

    def statuses(self, ids: Sequence[str]) -> dict[str, RunStatus]:
        return {
            run: RunStatus(self.states[run], self.states[run].value, LONG_AGO)
            for run in ids
            if run in self.states
        }

    def call(self, ids: Sequence[str]) -> None:
        for run in ids:
            self.resume(run)

    def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take any event."""

    def resume(self, flow_run: str) -> bool:
        if self.states.get(flow_run) is not StateType.PAUSED:
            return False
        self.states[flow_run] = StateType.SCHEDULED
        return True

    def suspend(self, flow_run: str) -> None:
        if self.states.get(flow_run) is StateType.RUNNING:
            self.states[flow_run] = StateType.PAUSED

    def finish(self, flow_run: str, state: StateType) -> None:
        if flow_run in self.states:
            self.states[flow_run] = state

    def mark_crashed(self, flow_run: str, why: str) -> None:
        del why
        self.finish(flow_run, StateType.CRASHED)

    def probe(self) -> None:
        """It is always well."""


@dataclass
class Plan:
    """What the source of a batch holds."""

    pages: list[list[str]]
    why_ask: str | None
    breaks_at: int | None


class FlowProcesses:
    """What the flows do to a ledger, a transaction at a time: any may be the last."""

    ledger: Ledger
    prefect: Prefect
    plans: dict[str, Plan]

    def batch_process(self, owner: str, flow_run: str) -> Process:
        batch = owner.partition(":")[2]
        leg = self.ledger.write(begin_leg, owner, flow_run)
        yield
        if leg is None:
            return self.prefect.finish(flow_run, StateType.COMPLETED)
        while True:
            yield from self._scan(batch, leg)
            state = self.ledger.read(read_batch, batch).state
            yield
            if state is BatchState.UNAPPROVED:
                if self.ledger.write(ask, leg, flow_run):
                    yield
                    return self.prefect.suspend(flow_run)
            else:
                waits = yield from self._see_through(batch, leg)
                yield
                if waits:
                    return self.prefect.suspend(flow_run)
                if waits is None:
                    return self.prefect.finish(flow_run, StateType.CRASHED)
            yield
            if (yield from self._leave(leg, flow_run)):
                return None

    def _scan(self, batch: str, leg: Leg) -> Process:
        plan = self.plans[batch]
        found = self.ledger.read(read_batch, batch)
        while found.state is BatchState.PLANNING:
            done = int(found.scan_cursor or 0)
            if done == plan.breaks_at:
                plan.breaks_at = None
                self.ledger.write(hold_and_end, leg, "The source cannot be read.")
            elif done < len(plan.pages):
                jobs = [library.job(name, attempts=2) for name in plan.pages[done]]
                page = library.page(*jobs, cursor=str(done + 1))
                try:
                    self.ledger.write(plan_page, batch, page, after=found.scan_cursor, chunk_size=2)
                except NotPlanning:
                    return
            else:
                self.ledger.write(finish_planning, batch, plan.why_ask)
            yield
            found = self.ledger.read(read_batch, batch)

    def _see_through(self, batch: str, leg: Leg) -> Generator[None, None, bool | None]:
        """Release and wait; whether it waits, or may leave. None: another run has replaced it."""
        while True:
            self.ledger.write(release_chunks, batch, 2, MAX_IN_FLIGHT)
            yield
            self.ledger.write(end_batch, batch)
            yield
            status = self.ledger.read(batch_status, batch)
            billing = status.state is BatchState.CANCELLED and status.chunks_done < status.chunks
            if status.state is not BatchState.RUNNING and not billing:
                return False
            yield
            if self.ledger.write(begin_wait, leg):
                return True
            if not self.ledger.read(is_suspended, leg):
                return None

    def _leave(self, leg: Leg, flow_run: str) -> Generator[None, None, bool]:
        ending = self.ledger.write(end_run, leg)
        yield
        if ending is Ending.SUSPENDED:
            self.prefect.suspend(flow_run)
        elif ending is not Ending.GO_ON:
            self.prefect.finish(flow_run, StateType.COMPLETED)
        return ending is not Ending.GO_ON

    def chunk_process(self, owner: str, flow_run: str) -> Process:
        chunk = owned_chunk(owner)
        assert chunk is not None
        leg = self.ledger.write(begin_leg, owner, flow_run)
        yield
        while leg is not None:
            left = self.ledger.read(unanswered, chunk)
            sent = [*left, *self.ledger.write(claim_due, chunk, 10)]
            yield
            self.ledger.write(
                record_accepted,
                [Accepted(each.job_id, each.attempt, each.idempotency_key) for each in sent],
            )
            yield
            self.ledger.write(finish_chunk, chunk)
            yield
            place = self.ledger.read(chunk_of, chunk)
            state = self.ledger.read(read_batch, place.batch_id).state
            yield
            if place.state is ChunkState.DONE:
                break
            if state is BatchState.HELD:
                if (yield from self._leave(leg, flow_run)):
                    return None
                continue
            if self.ledger.write(begin_wait, leg):
                yield
                return self.prefect.suspend(flow_run)
            if not self.ledger.read(is_suspended, leg):
                break
            yield
        return self.prefect.finish(flow_run, StateType.COMPLETED)
