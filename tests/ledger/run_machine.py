"""Processes, an operator, Prefect and its waker, in any order: no batch ever stands still.

The processes are the flows' own sequence of transactions, cut at each of them: any may die
there. The waker is the real one; Prefect is a stand-in that keeps its rules.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from prefect.client.schemas.objects import StateType
from sqlalchemy import delete, select, update

from ittybatch.engine.flow_runs import FlowRuns, RunStatus
from ittybatch.engine.waking import Waker
from ittybatch.ledger import Ledger, Transaction, runs
from ittybatch.ledger.approval import approve, ask
from ittybatch.ledger.batches import (
    cancel_batch,
    change_options,
    end_batch,
    finish_planning,
    hold_batch,
    open_batch,
    read_batch,
    resume_batch,
)
from ittybatch.ledger.chunks import chunk_of, finish_chunk, release_chunks
from ittybatch.ledger.counters import recount
from ittybatch.ledger.identity import batch_owner, owned_chunk
from ittybatch.ledger.legs import Ending, Leg, begin_leg, begin_wait, end_run
from ittybatch.ledger.models import Attempt, Base, Batch, Chunk, Job, Run
from ittybatch.ledger.planning import NotPlanning, plan_page
from ittybatch.ledger.queries import batch_status, unfinished_batches
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, ChunkState, RunState
from ittybatch.ledger.stopping import hold_and_end
from ittybatch.ledger.submission import Accepted, claim_due, record_accepted
from ittybatch.ledger.sweep import find_broken
from tests.ledger import library

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LEASE_S = 60.0
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
MAX_IN_FLIGHT = 4
NUMBERS = st.integers(0, 99)
_GONE = {StateType.COMPLETED, StateType.CANCELLED, StateType.CRASHED}
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

    def give_up(self, flow_run: str, why: str) -> None:
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


class RunMachine(RuleBasedStateMachine):
    """What may happen to batches, in any order."""

    ledger: Ledger

    def __init__(self) -> None:
        super().__init__()
        self.prefect = Prefect()
        self.plans: dict[str, Plan] = {}
        self.processes: dict[str, Process] = {}
        self.died = False

    @initialize()
    def an_empty_ledger(self) -> None:
        def clear(tx: Transaction) -> None:
            for table in reversed(Base.metadata.sorted_tables):
                tx.execute(delete(table))

        self.ledger.write(clear)

    # What the flows do, a transaction at a time.

    def _batch_process(self, owner: str, flow_run: str) -> Process:
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
            elif (yield from self._see_through(batch, leg)):
                yield
                return self.prefect.suspend(flow_run)
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

    def _see_through(self, batch: str, leg: Leg) -> Generator[None, None, bool]:
        """Release and wait; whether it waits, or has nothing to wait for any more."""
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
            return self.ledger.write(begin_wait, leg)

    def _leave(self, leg: Leg, flow_run: str) -> Generator[None, None, bool]:
        ending = self.ledger.write(end_run, leg)
        yield
        if ending is Ending.SUSPENDED:
            self.prefect.suspend(flow_run)
        elif ending is not Ending.GO_ON:
            self.prefect.finish(flow_run, StateType.COMPLETED)
        return ending is not Ending.GO_ON

    def _chunk_process(self, owner: str, flow_run: str) -> Process:
        chunk = owned_chunk(owner)
        assert chunk is not None
        leg = self.ledger.write(begin_leg, owner, flow_run)
        yield
        while leg is not None:
            sent = self.ledger.write(claim_due, chunk, 10)
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
            break
        return self.prefect.finish(flow_run, StateType.COMPLETED)

    # What may happen.

    @rule(
        pages=st.lists(
            st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4), min_size=0, max_size=3
        ),
        options=st.sampled_from(
            [{}, {"canary_items": 1}, {"max_submissions": 2}, {"priority": "high"}]
        ),
        ask_first=st.booleans(),
        breaks_at=st.sampled_from([None, None, 0, 1]),
    )
    def a_batch_begins(
        self,
        pages: list[list[str]],
        options: dict[str, Any],
        breaks_at: int | None,
        *,
        ask_first: bool,
    ) -> None:
        flow_run = self.prefect.add("", StateType.RUNNING)
        batch = self.ledger.write(
            open_batch,
            flow_run_id=flow_run,
            deployment_id=str(uuid4()),
            name="test",
            source={"type": "bucket", "uri": "s3://media/"},
            profile=library.PROFILE,
            options=options,
        ).id
        self.prefect.owners[flow_run] = batch_owner(batch)
        self.plans[batch] = Plan(pages, "look at it" if ask_first else None, breaks_at)
        self.processes[flow_run] = self._batch_process(batch_owner(batch), flow_run)

    @precondition(lambda self: self.processes)
    @rule(which=NUMBERS, times=st.integers(1, 6))
    def a_process_goes_on(self, which: int, times: int) -> None:
        flow_run = self._pick(list(self.processes), which)
        for _ in range(times):
            if not self._step(flow_run):
                break

    @precondition(lambda self: self.processes)
    @rule(which=NUMBERS, seen=st.booleans())
    def a_process_dies(self, which: int, *, seen: bool) -> None:
        """And its worker tells Prefect so, or dies with it."""
        flow_run = self._pick(list(self.processes), which)
        self._kill(flow_run)
        if seen and self.prefect.states.get(flow_run) is StateType.RUNNING:
            self.prefect.finish(flow_run, StateType.CRASHED)

    @rule(which=NUMBERS)
    def a_worker_starts_a_run(self, which: int) -> None:
        scheduled = [
            run for run, state in self.prefect.states.items() if state is StateType.SCHEDULED
        ]
        if scheduled:
            self._start(self._pick(scheduled, which))

    @rule()
    def the_waker_makes_a_round(self) -> None:
        self._round()

    @rule(
        which=NUMBERS,
        how=st.sampled_from(["pause", "resume", "resume", "cancel", "approve", "tune"]),
        makes=st.booleans(),
    )
    def an_operator_steers(self, which: int, how: str, *, makes: bool) -> None:
        if not (batches := self.ledger.read(unfinished_batches)):
            return
        batch = self._pick(sorted(batches), which)
        match how:
            case "pause":
                self.ledger.write(hold_batch, batch, "Paused.")
            case "resume":
                self.ledger.write(resume_batch, batch)
            case "cancel":
                self.ledger.write(cancel_batch, batch, "enough")
            case "approve":
                self.ledger.write(approve, batch)
            case _:
                self.ledger.write(change_options, batch, {"max_submissions": None})
        if makes and how in {"resume", "approve"}:
            self._lose_heartbeats()
            waker = Waker(self.ledger, self.prefect, lease_s=LEASE_S)
            waker.replace_dead(batch)
            waker.make_missing(batch)

    @rule(which=NUMBERS, how=st.sampled_from(["suspend", "resume", "cancel", "delete"]))
    def somebody_clicks_on_prefects_page(self, which: int, how: str) -> None:
        if not self.prefect.states:
            return
        flow_run = self._pick(list(self.prefect.states), which)
        match how:
            case "suspend":
                self.prefect.suspend(flow_run)
            case "resume":
                self.prefect.resume(flow_run)
            case "cancel":
                if self.prefect.states[flow_run] not in _GONE:
                    self._kill(flow_run)
                    self.prefect.finish(flow_run, StateType.CANCELLED)
            case _:
                self._kill(flow_run)
                del self.prefect.states[flow_run]

    @rule(which=NUMBERS, well=st.booleans())
    def a_webhook_arrives(self, which: int, *, well: bool) -> None:
        if tasks := self._tasks():
            task = self._pick(tasks, which)
            self.ledger.write(settle, [library.remote(task) if well else library.failed(task)])

    @rule()
    def time_passes(self) -> None:
        def shift(tx: Transaction) -> None:
            tx.execute(update(Job).values(not_before=None))
            tx.execute(update(Run).where(Run.wake_at.is_not(None)).values(wake_at=tx.now))
            tx.execute(update(Run).where(Run.retry_at.is_not(None)).values(retry_at=tx.now))

        self.ledger.write(shift)

    # What always holds.

    @invariant()
    def every_owner_has_a_run_or_an_end(self) -> None:
        """Told from the rows here, and by the sweep, which must find nothing to mend."""
        alone = [owner for owner in self._needing() if not self._is_served(owner)]
        assert alone == []
        assert self.ledger.read(find_broken, LEASE_S) == []

    def teardown(self) -> None:
        """Whatever has happened, every batch comes to an end that somebody is told of."""
        for attempt in range(60):
            if self._is_over():
                break
            self._everything_goes_on(attempt)
        else:
            raise AssertionError(f"It stands still: {self._rows()}")
        for batch in self.plans:
            assert self.ledger.write(recount, batch) == []

    def _everything_goes_on(self, attempt: int) -> None:
        for batch in self.ledger.read(unfinished_batches):
            if attempt > 30:
                self.ledger.write(cancel_batch, batch, "It has reached its ceiling.")
            self.ledger.write(resume_batch, batch)
            self.ledger.write(approve, batch)
        self.time_passes()
        self._round()
        for run, state in list(self.prefect.states.items()):
            if state is StateType.SCHEDULED:
                self._start(run)
        for flow_run in list(self.processes):
            for _ in range(200):
                if not self._step(flow_run):
                    break
        self.ledger.write(settle, [library.remote(task) for task in self._tasks()])

    def _needing(self) -> list[str]:
        def look(tx: Transaction) -> list[str]:
            states = {row.id: row.state for row in tx.rows(select(Batch.id, Batch.state))}
            chunks = tx.rows(
                select(Chunk.id, Chunk.batch_id).where(Chunk.state == ChunkState.RELEASED.value)
            )
            open_chunks = [row for row in chunks if states[row.batch_id] != BatchState.HELD]
            return [
                batch_owner(batch)
                for batch, state in states.items()
                if state in {BatchState.PLANNING, BatchState.RUNNING}
            ] + [f"chunk:{row.id}" for row in open_chunks]

        return self.ledger.read(look)

    def _is_served(self, owner: str) -> bool:
        run = self.ledger.read(runs.read_run, owner)
        if run is None:
            return False
        match run.state:
            case RunState.AWAKE:
                works = any(
                    self.prefect.owners.get(flow_run) == owner for flow_run in self.processes
                )
                return works or self.died
            case RunState.WAITING:
                wake_at, under_way = self._reasons(owner)
                return wake_at is not None or under_way
            case state:
                return state is RunState.STARTING

    def _reasons(self, owner: str) -> tuple[datetime | None, bool]:
        def look(tx: Transaction) -> tuple[datetime | None, bool]:
            run = tx.execute(select(Run.wake_at, Run.batch_id).where(Run.owner == owner)).one()
            chunk = owned_chunk(owner)
            which = (
                (Chunk.batch_id == run.batch_id) & (Chunk.state == ChunkState.RELEASED.value)
                if chunk is None
                else (Chunk.id == chunk) & (Chunk.in_flight > 0)
            )
            return run.wake_at, bool(tx.rows(select(Chunk.id).where(which)))

        return self.ledger.read(look)

    def _is_over(self) -> bool:
        ends = select(Run.owner).where(Run.state != RunState.ENDED.value)
        open_runs = self.ledger.read(lambda tx: tx.rows(ends))
        return not open_runs and not self.ledger.read(unfinished_batches)

    def _round(self) -> None:
        self._lose_heartbeats()
        waker = Waker(self.ledger, self.prefect, lease_s=LEASE_S)
        made: list[Callable[[], Any]] = [waker.round, waker.check_waiting]
        for each in made:
            woken = each()
            assert woken.mended == []
            assert woken.troubled == []
        self.died = False

    def _lose_heartbeats(self) -> None:
        """A lease passes; whoever is alive has said so meanwhile."""
        alive = {self.prefect.owners[flow_run] for flow_run in self.processes}

        def shift(tx: Transaction) -> None:
            then = tx.now - timedelta(seconds=2 * LEASE_S)
            dead = update(Run).where(Run.owner.not_in(alive))
            tx.execute(dead.values(heartbeat_at=then, since=then))
            tx.execute(update(Run).where(Run.called_at.is_not(None)).values(called_at=then))

        self.ledger.write(shift)

    def _start(self, flow_run: str) -> None:
        owner = self.prefect.owners[flow_run]
        process = self._batch_process if owned_chunk(owner) is None else self._chunk_process
        self.prefect.states[flow_run] = StateType.RUNNING
        self.processes[flow_run] = process(owner, flow_run)

    def _step(self, flow_run: str) -> bool:
        try:
            next(self.processes[flow_run])
        except StopIteration:
            del self.processes[flow_run]
            return False
        return True

    def _kill(self, flow_run: str) -> None:
        if self.processes.pop(flow_run, None) is not None:
            self.died = True

    def _tasks(self) -> list[str]:
        sent = select(Attempt.task_id).where(Attempt.state == "accepted").order_by(Attempt.job_id)
        return [row.task_id for row in self.ledger.read(lambda tx: tx.rows(sent))]

    def _rows(self) -> list[Any]:
        columns = (Run.owner, Run.state, Run.wake_at, Run.flow_run_id, Batch.state, Batch.reason)
        query = select(*columns).join(Batch, Batch.id == Run.batch_id)
        return self.ledger.read(lambda tx: tx.rows(query))

    @staticmethod
    def _pick(some: list[str], which: int) -> str:
        return some[which % len(some)]
