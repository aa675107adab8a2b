"""A chunk with two jobs, and its flow run on a real Prefect server."""

from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Running, Suspended
from sqlalchemy import update

from ittybatch.engine.flow_runs import FlowRuns
from ittybatch.engine.orders import make_run
from ittybatch.engine.waking import Waker
from ittybatch.ledger import Ledger, runs
from ittybatch.ledger.chunks import release_chunks
from ittybatch.ledger.legs import begin_leg, begin_wait
from ittybatch.ledger.models import Run
from ittybatch.ledger.runs import OwnedRun
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.submission import claim_due
from tests.ledger import library

LEASE_S = 60.0


class Watched(FlowRuns):
    """The real thing, counting what it asks of Prefect."""

    def __init__(self, client: SyncPrefectClient) -> None:
        super().__init__(client)
        self.questions = 0

    def statuses(self, ids):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        self.questions += 1
        return super().statuses(ids)


class Scene:
    """A chunk with one job at Ittybit, and a flow run that waits for it."""

    def __init__(self, ledger: Ledger, client: SyncPrefectClient) -> None:
        self.ledger = ledger
        self.client = client
        self.flow_runs = Watched(client)
        self.waker = Waker(ledger, self.flow_runs, lease_s=LEASE_S)
        batch = library.planned_batch(ledger, library.job("a.mov"), library.job("b.mov"))
        self.batch = batch
        [self.owner] = ledger.write(release_chunks, batch, 1)
        self.flow_run = make_run(self.ledger, self.flow_runs, self.owner) or ""
        self.chunk = int(self.owner.partition(":")[2])

    def put(self, state: State) -> None:
        self.client.set_flow_run_state(UUID(self.flow_run), state, force=True)

    def begin(self) -> None:
        leg = self.ledger.write(begin_leg, self.owner, self.flow_run)
        assert leg is not None
        self.leg = leg
        self.put(Running())

    def send(self, count: int = 2) -> None:
        library.accept(self.ledger, self.ledger.write(claim_due, self.chunk, count))

    def suspend(self) -> None:
        self.ledger.write(begin_wait, self.leg)
        self.put(Suspended(timeout_seconds=3600))

    def end_all(self) -> None:
        self.ledger.write(settle, [library.remote("task-0"), library.remote("task-1")])

    def age(self, seconds: float) -> None:
        step = timedelta(seconds=seconds)
        run = self.run
        self.ledger.write(
            lambda tx: tx.execute(
                update(Run)
                .where(Run.owner == self.owner)
                .values(
                    heartbeat_at=run.heartbeat_at - step,
                    called_at=run.called_at - step if run.called_at else None,
                )
            )
        )

    @property
    def run(self) -> OwnedRun:
        found = self.ledger.read(runs.read_run, self.owner)
        assert found is not None
        return found

    @property
    def state(self) -> str:
        state = self.client.read_flow_run(UUID(self.flow_run)).state
        assert state is not None
        return state.name or ""
