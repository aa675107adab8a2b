"""The block that makes jobs of one file, and their run."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from prefect.blocks.abstract import JobBlock, JobRun
from pydantic import Field, model_validator

from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.prefect.asking import FlowRunEnds
from ittybatch.prefect.credentials import IttybitCredentials
from ittybatch.prefect.starting import in_flow_run, repeatable_key
from ittybatch.prefect.waiting import await_end, own_ledger

if TYPE_CHECKING:
    from ittybatch.intake.taken import Taken
    from ittybatch.intake.wanted import Wanted
    from ittybatch.ledger import Ledger
    from ittybatch.ledger.job_lookup import JobRow
    from ittybatch.ledger.waiters import Target
    from ittybatch.settings import Settings

# Held: its batch sends nothing until somebody resumes it.
_OPEN = ("processing", "held")
_SUCCEEDED = "succeeded"
# What `ittybatch retry` makes again unless it is told otherwise.
_RETRIED = ("failed", "expired")
_ASKED = {"input", "profile", "kind", "options", "metadata"}


class JobFailed(IttybatchError):
    """A job did not succeed."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """One job that has succeeded.

    Args:
        id: The ledger's id of the job.
        task_id: Ittybit's id.
        rendition: Name of the rendition; the kind if the job was asked for by kind.
        kind: Kind of job.
        output_url: URL of the output.
    """

    id: int
    task_id: str | None
    rendition: str
    kind: str
    output_url: str | None


@dataclass(frozen=True, slots=True)
class JobsResult:
    """The jobs of one file, all succeeded.

    Args:
        batch: The batch that holds them.
        jobs: The jobs, in the order of the profile's renditions.
    """

    batch: str
    jobs: Sequence[JobResult]

    @property
    def output_urls(self) -> dict[str, str | None]:
        """The URL of each output, by rendition."""
        return {job.rendition: job.output_url for job in self.jobs}


class IttybitJobRun(JobRun[JobsResult]):
    """The jobs that `IttybitJob.trigger` has started or found.

    Args:
        batch: The batch that holds them.
        job_ids: The ledger's ids of the jobs.
    """

    def __init__(self, batch: str, job_ids: Sequence[int]) -> None:
        self.batch = batch
        self.job_ids = tuple(job_ids)

    def open_target(self, ledger: "Ledger", ends: FlowRunEnds) -> "Target | None":  # noqa: ARG002  of batches
        """The first job that has not ended; None if all have."""
        from ittybatch.ledger.waiters import Target  # noqa: PLC0415  see the package

        for job in self._read(ledger):
            if job.status in _OPEN:
                return Target(job=job.id)
        return None

    def wait_for_completion(self, timeout_s: float | None = None) -> None:  # type: ignore[override] # its twin is asynchronous
        """Wait in this process until every job has ended.

        Args:
            timeout_s: Seconds to wait at most; None for no limit.

        Raises:
            TimeoutError: A job has not ended in time. It continues.
        """
        await_end(self, timeout_s)

    async def await_for_completion(self, timeout_s: float | None = None) -> None:
        """Do the same without blocking the event loop."""
        await asyncio.to_thread(self.wait_for_completion, timeout_s)

    def fetch_result(self) -> JobsResult:  # type: ignore[override] # its twin is asynchronous
        """Return the outputs of the jobs, once all have succeeded.

        Raises:
            JobFailed: A job has not ended, or did not succeed.
        """
        with own_ledger() as ledger:
            jobs = self._read(ledger)
        for job in jobs:
            if job.status != _SUCCEEDED:
                ended = job.status not in _OPEN
                raise JobFailed(
                    f"Job {job.id} ({job.rendition} of {without_secrets(job.input_url)}) "
                    + (
                        f"is {job.status}: {without_secrets(job.error or 'no reason given')}"
                        if ended
                        else "has not ended yet."
                    ),
                    remedy=_remedy(job)
                    if ended
                    else "Call `wait_suspended` or `wait_for_completion` first.",
                )
        return JobsResult(
            self.batch,
            [
                JobResult(each.id, each.task_id, each.rendition, each.kind, each.output_url)
                for each in jobs
            ],
        )

    async def afetch_result(self) -> JobsResult:
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.fetch_result)

    def _read(self, ledger: "Ledger") -> list["JobRow"]:
        from ittybatch.ledger.job_lookup import read_current_job  # noqa: PLC0415  see the package

        found = []
        for number in self.job_ids:
            if (job := ledger.read(read_current_job, number)) is None:
                raise JobFailed(
                    f"Job {number} is not in this ledger. It continues where it was started.",
                    remedy="Check DATABASE_URL of this flow run's worker: it has to be that of "
                    "the receiver.",
                )
            found.append(job)
        return found


def _remedy(job: "JobRow") -> str:
    state = "" if job.status in _RETRIED else f" --state {job.status}"
    return (
        f"`ittybatch retry {job.batch_id}{state}` makes such jobs of its batch again. Once the new "
        "batch has begun, retry this flow run in Prefect: it takes the result of the new job."
    )


class IttybitJob(JobBlock[JobsResult]):
    """Makes jobs of one file: the renditions of a profile, or one job of a kind."""

    _block_type_name = "Ittybit Job"
    _block_type_slug = "ittybit-job"

    input: str = Field(title="Input", description="The file: s3://bucket/key or an http(s) URL.")
    profile: str | None = Field(
        None, title="Profile", description="Name of the profile whose renditions are made."
    )
    kind: str | None = Field(
        None,
        title="Kind",
        description="The kind of the one job, such as video or image; instead of a profile.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, title="Options", description="Options of that kind."
    )
    metadata: dict[str, Any] = Field(
        default_factory=dict, title="Metadata", description="Your own pairs, sent with each job."
    )
    credentials: IttybitCredentials | None = Field(
        None,
        title="Credentials",
        description="Of the ledger's Ittybit project, where the environment has no API key.",
    )

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> Self:
        if (self.profile is None) == (self.kind is None):
            raise ValueError("Set either `profile` or `kind`: they say what is made and paid for.")
        if self.profile is not None and self.options:
            raise ValueError("`options` are those of `kind`; a profile has its own.")
        return self

    def trigger(self) -> IttybitJobRun:  # type: ignore[override] # its twin is asynchronous
        """Record the jobs in the ledger and send them to Ittybit.

        In a flow run it may be repeated: the same block finds the jobs that it has started, also
        if its profile has changed or is gone. What was made before, by any batch, is found and not
        made again.

        Raises:
            RequestRefused: The input, the profile, the kind or an option cannot be used.
            LedgerUnavailable: The ledger cannot be reached, or is too slow. Repeated, nothing is
                made twice.
            ConfigurationError: There is no API key, or the credentials are of another project.
                Nothing was sent.
            PrefectUnavailable: Prefect did not give the credentials block that the deployment
                names. Nothing was sent.
        """
        wanted = self._wanted()
        if (started := _started_before(wanted)) is not None:
            return started
        settings = self._settings()
        # In a thread of its own: an event loop may be running in this one.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, _take(wanted, settings)).result()

    async def atrigger(self) -> IttybitJobRun:
        """Do the same without blocking the event loop."""
        # Opening the ledger and reading the declared files would block the loop.
        return await asyncio.to_thread(self.trigger)

    def _wanted(self) -> "Wanted":
        from ittybatch.intake.wanted import TaskSpec, Wanted  # noqa: PLC0415  see the package
        from ittybatch.profiles import Item  # noqa: PLC0415  likewise

        asked = self.model_dump(mode="json", include=_ASKED)
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        return Wanted(
            item=Item(self.input),
            profile=self.profile,
            tasks=() if self.kind is None else (TaskSpec(self.kind, self.options),),
            metadata=self.metadata,
            idempotency_key=repeatable_key(digest),
            body_digest=digest,
            by_flow_run=in_flow_run(),
        )

    def _settings(self) -> "Settings":
        from ittybatch.engine.connection import require_key  # noqa: PLC0415  see the package
        from ittybatch.settings import Settings  # noqa: PLC0415  likewise
        from ittybatch.tasks.credentials import with_credentials  # noqa: PLC0415  likewise

        settings = with_credentials(Settings())
        if self.credentials is not None:
            refuse_other_project(settings, self.credentials)
            settings = self.credentials.settings()
        # Without a key the intake leaves the jobs to flow runs, which may have none either.
        require_key(settings)
        return settings


def _started_before(wanted: "Wanted") -> IttybitJobRun | None:
    """What this flow run has started before it was suspended.

    It counts whatever has changed since: the profile, `intake.yaml`, the key.
    """
    from ittybatch.intake.orders import identity_of  # noqa: PLC0415  see the package
    from ittybatch.ledger.intake import find_taken  # noqa: PLC0415  likewise

    key, digest = identity_of(wanted)
    if key is None or not wanted.by_flow_run:
        return None
    with own_ledger() as ledger:
        # Renewed: from now on the flow run may sleep as long again.
        jobs = ledger.write(find_taken, key, digest, renew=True)
    if jobs is None:
        return None
    return IttybitJobRun(jobs[0].job.batch_id, [each.job.id for each in jobs])


async def _take(wanted: "Wanted", settings: "Settings") -> IttybitJobRun:
    from ittybatch.intake.declaration import load_declared  # noqa: PLC0415  see the package
    from ittybatch.intake.intake import Intake  # noqa: PLC0415  likewise
    from ittybatch.intake.objects import Objects  # noqa: PLC0415  likewise

    with own_ledger() as ledger:
        declared = load_declared(settings.intake_file, settings.profiles_dir)
        watched = [each.uri for each in declared.buckets]
        intake = Intake(ledger, settings, declared.options, watched, objects=Objects(declared))
        await intake.start()
        try:
            taken: Taken = await intake.take(wanted, answer_within_s=0)
        finally:
            # Sends what was taken.
            await intake.stop()
    return IttybitJobRun(taken.batch_id, [int(job.job_id) for job in taken.jobs])


def refuse_other_project(settings: "Settings", credentials: IttybitCredentials) -> None:
    """Refuse credentials of another Ittybit project than that of this process's ledger.

    Its receiver would not believe the webhooks, and `reconcile` would not find the jobs, and have
    them made again.

    Raises:
        ConfigurationError: They are of another project.
    """
    ours = (settings.api_key, settings.api_url)
    theirs = (credentials.api_key, credentials.api_url.rstrip("/"))
    if settings.api_key is not None and ours != theirs:
        raise ConfigurationError(
            "These credentials differ from the key and address that this process uses for its "
            "ledger, which is of one Ittybit project. Nothing was sent.",
            remedy="Use a ledger, a receiver and workers of their own for each project.",
        )
