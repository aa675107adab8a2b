"""Runs jobs, a few at a time; the others wait in a queue."""

import asyncio
import logging
from collections.abc import Callable

from ittybit_sandbox.config import SandboxConfig
from ittybit_sandbox.errors import JobFailure
from ittybit_sandbox.faults import FaultPlan, JobAction
from ittybit_sandbox.jobs import Job, JobError, MediaFile
from ittybit_sandbox.media.estimate import estimate_input, estimate_output
from ittybit_sandbox.memory import Memory
from ittybit_sandbox.pipeline import Pipeline
from ittybit_sandbox.vocabulary import ErrorKind, Stage
from ittybit_sandbox.webhooks import Deliveries

_log = logging.getLogger(__name__)


class Encoder:
    """Runs accepted jobs and announces their end.

    Args:
        config: How many jobs run at once; instant jobs do not run.
        memory: Records every step.
        plan: Decides which jobs fail or hang on purpose.
        deliveries: Sends the webhooks of finished jobs.
        pipeline: Runs one job.
    """

    def __init__(
        self,
        config: SandboxConfig,
        memory: Memory,
        plan: FaultPlan,
        deliveries: Deliveries,
        pipeline: Pipeline,
    ) -> None:
        self._config = config
        self._memory = memory
        self._plan = plan
        self._deliveries = deliveries
        self._pipeline = pipeline
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers and continue the jobs that a restart interrupted."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._config.max_encodes)]
        for job in self._memory.jobs:
            if job.status.ended:
                self._deliveries.announce(job)
            else:
                self.submit(job)

    async def stop(self) -> None:
        """Kill running encodes; the next start runs unfinished jobs again."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def submit(self, job: Job) -> None:
        """Schedule an accepted job."""
        rule = self._plan.rule_for(job) if self._plan.faults.jobs else None
        if rule is not None and rule.action is JobAction.HANG:
            self._memory.begin(job)
            self._memory.enter(job, Stage.ENCODE)
        elif rule is not None:
            error = JobError(kind=rule.error.kind, message=rule.error.message)
            self._schedule(job, lambda: self._fail_at_once(job, error))
        elif self._config.instant:
            self._schedule(job, lambda: self._end(job, output=self._estimate(job)))
        else:
            self._queue.put_nowait(job)

    def _schedule(self, job: Job, act: Callable[[], None]) -> None:
        # Later, so that the response to the request that created the job goes out first.
        def fire() -> None:
            if not job.status.ended:
                act()

        asyncio.get_running_loop().call_later(self._config.instant_latency_s, fire)

    def _estimate(self, job: Job) -> MediaFile:
        job.probed = estimate_input(job.request)
        return estimate_output(job.id, job.request, self._config.base_url)

    def _fail_at_once(self, job: Job, error: JobError) -> None:
        self._memory.begin(job)
        for stage in (Stage.PROBE, Stage.IMPORT, Stage.ENCODE):
            self._memory.enter(job, stage)
        self._end(job, error=error)

    def _end(
        self, job: Job, *, output: MediaFile | None = None, error: JobError | None = None
    ) -> None:
        self._memory.finish(job, output=output, error=error)
        self._deliveries.announce(job)

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                await self._run(job)
            except Exception:  # noqa: BLE001 - one failed write must not stop the queue
                _log.exception("the outcome of job %s could not be recorded", job.id)

    async def _run(self, job: Job) -> None:
        self._memory.begin(job)
        try:
            output = await self._pipeline.run(job)
        except JobFailure as failure:
            self._end(job, error=JobError(kind=failure.kind, message=failure.message))
        except Exception:  # noqa: BLE001 - one bad job must not stop the others
            _log.exception("job %s failed because of an error in the sandbox", job.id)
            message = "the sandbox failed while it ran this job; see its log"
            self._end(job, error=JobError(kind=ErrorKind.INTERNAL_ERROR, message=message))
        else:
            self._end(job, output=output)
