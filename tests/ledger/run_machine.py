"""Processes, an operator, Prefect and its waker, in any order: no batch ever stands still.

The processes are the flows' own sequence of transactions, cut at each of them: any may die
there. The waker is the real one; Prefect is a stand-in that keeps its rules.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from prefect.client.schemas.objects import StateType
from sqlalchemy import delete, select, update

from ittybatch.engine.waking import Waker
from ittybatch.ledger import Transaction, runs
from ittybatch.ledger.batches import change_options, open_batch
from ittybatch.ledger.control import approve, cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.identity import batch_owner, owned_chunk
from ittybatch.ledger.intake import take
from ittybatch.ledger.models import Attempt, Base, Batch, Chunk, Job, Run
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, ChunkState, RunState
from ittybatch.ledger.submission import Accepted, record_accepted
from ittybatch.ledger.sweep import find_broken
from tests.ledger import library
from tests.ledger.flow_processes import FlowProcesses, Plan, Prefect, Process
from tests.ledger.whole import unfinished_batches

LEASE_S = 60.0
NUMBERS = st.integers(0, 99)
_GONE = {StateType.COMPLETED, StateType.CANCELLED, StateType.CRASHED}


class RunMachine(FlowProcesses, RuleBasedStateMachine):
    """What may happen to batches, in any order."""

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
        self.processes[flow_run] = self.batch_process(batch_owner(batch), flow_run)

    @rule(
        names=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4),
        digest=st.sampled_from(["d1", "d1", "d2"]),
        dies=st.booleans(),
        sends=st.booleans(),
    )
    def requests_come(self, names: list[str], digest: str, *, dies: bool, sends: bool) -> None:
        """And their receiver sends them and records the answers, or dies before that."""
        orders = [library.order(library.job(name, attempts=2), digest=digest) for name in names]
        receipt = self.ledger.write(take, orders, send=sends, lease_s=LEASE_S)
        for batch in self.ledger.read(unfinished_batches):
            self.plans.setdefault(batch, Plan([], None, None))
        if not dies:
            accepted = [
                Accepted(each.job_id, each.attempt, each.idempotency_key)
                for each in receipt.submissions
            ]
            self.ledger.write(record_accepted, accepted)

    @rule()
    def a_day_ends(self) -> None:
        self.ledger.write(library.end_of_day)

    @rule(which=NUMBERS, times=st.integers(1, 6))
    def a_process_goes_on(self, which: int, times: int) -> None:
        if not self.processes:
            return
        flow_run = self._pick(list(self.processes), which)
        for _ in range(times):
            if not self._step(flow_run):
                break

    @rule(which=NUMBERS, seen=st.booleans())
    def a_process_dies(self, which: int, *, seen: bool) -> None:
        """And its worker tells Prefect so, or dies with it."""
        if not self.processes:
            return
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
        batch = self._pick([each for each in self.plans if each in batches], which)
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
        self.a_day_ends()
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
                # Resumed on Prefect's page after its process died: a worker starts it again.
                scheduled = self.prefect.states.get(run.flow_run_id or "") is StateType.SCHEDULED
                return works or scheduled or self.died
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
                else (Chunk.id == chunk)
                & ((Chunk.in_flight > 0) | (Chunk.growing.is_(True) & (Chunk.planned == 0)))
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
        for woken in (waker.round(), waker.check_waiting()):
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
        process = self.batch_process if owned_chunk(owner) is None else self.chunk_process
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
