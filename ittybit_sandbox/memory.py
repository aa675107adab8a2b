"""Keeps jobs, keys and endpoints in memory and records every change in the journal."""

from dataclasses import asdict
from typing import Any

from ittybit_sandbox.endpoints import Endpoint, EndpointStore
from ittybit_sandbox.idempotency import KeyRing
from ittybit_sandbox.jobs import (
    Delivery,
    DeliveryState,
    Job,
    JobError,
    JobStore,
    MediaFile,
    now_ms,
)
from ittybit_sandbox.journal import Entry, Journal
from ittybit_sandbox.validation import JobRequest
from ittybit_sandbox.vocabulary import Kind, Stage, Status


class Memory:
    """The state of a sandbox.

    Args:
        journal: Records the changes; without one, the state ends with the process.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self.jobs = JobStore()
        self.endpoints = EndpointStore()
        self.keys: KeyRing[Job | Endpoint] = KeyRing()

    def accept(
        self, request: JobRequest, *, key: str | None, fingerprint: str, standalone: bool = False
    ) -> Job:
        """Add a job; the journal has it when this returns."""
        job = self.jobs.create(request, key=key, fingerprint=fingerprint, standalone=standalone)
        if self._journal is not None:
            self._journal.append(
                {
                    "what": "job",
                    "id": job.id,
                    "request": asdict(request),
                    "standalone": standalone,
                    "key": key,
                    "fingerprint": fingerprint,
                    "created_at": job.created_at,
                }
            )
        if key is not None:
            self.keys.remember(key, fingerprint, job, used_at=job.created_at)
        return job

    def begin(self, job: Job) -> None:
        """Mark a job as processing."""
        job.status = Status.PROCESSING
        job.started_at = job.updated_at = now_ms()
        job.stages = {}
        job.probed = None

    def enter(self, job: Job, stage: Stage) -> None:
        """Mark the current stage of a job, and the earlier stages as finished."""
        moment = now_ms()
        for past, (started_at, finished_at) in job.stages.items():
            if finished_at is None:
                job.stages[past] = (started_at, moment)
        job.stages[stage] = (moment, None)
        job.updated_at = moment

    def finish(self, job: Job, *, output: MediaFile | None, error: JobError | None) -> None:
        """Record the outcome of a job."""
        moment = now_ms()
        job.status = Status.FAILED if output is None else Status.SUCCEEDED
        job.output, job.error = output, error
        job.started_at = job.started_at or moment
        job.finished_at = job.updated_at = moment
        if output is not None:
            for stage, (started_at, finished_at) in job.stages.items():
                job.stages[stage] = (started_at, finished_at or moment)
        if self._journal is not None:
            self._journal.append(
                {
                    "what": "end",
                    "id": job.id,
                    "probed": job.probed,
                    "output": output,
                    "error": error,
                    "started_at": job.started_at,
                    "finished_at": moment,
                    "stages": {stage.value: times for stage, times in job.stages.items()},
                }
            )

    def settle(self, job: Job, delivery: Delivery) -> None:
        """Record that a delivery is over."""
        if self._journal is not None:
            self._journal.append(
                {
                    "what": "delivery",
                    "id": job.id,
                    "url": delivery.url,
                    "state": delivery.state,
                    "attempts": delivery.attempts,
                }
            )

    def register(self, endpoint: Endpoint, *, key: str | None, fingerprint: str) -> None:
        """Add a webhook endpoint."""
        self.endpoints.add(endpoint)
        if key is not None:
            self.keys.remember(key, fingerprint, endpoint, used_at=endpoint.created_at)
        if self._journal is not None:
            entry: Entry = {"what": "endpoint", "key": key, "fingerprint": fingerprint}
            self._journal.append(entry | {"endpoint": asdict(endpoint)})

    def unregister(self, endpoint_id: str) -> Endpoint:
        """Delete a webhook endpoint.

        Raises:
            ApiError: No endpoint has this id.
        """
        endpoint = self.endpoints.remove(endpoint_id)
        if self._journal is not None:
            self._journal.append({"what": "endpoint_removed", "id": endpoint_id})
        return endpoint

    def load(self) -> None:
        """Read the journal."""
        if self._journal is None:
            return
        loaders = {
            "job": self._load_job,
            "end": self._load_end,
            "delivery": self._load_delivery,
            "endpoint": self._load_endpoint,
            "endpoint_removed": self._load_removal,
        }
        for entry in self._journal.replay():
            loaders[entry["what"]](entry)

    def _load_job(self, entry: Entry) -> None:
        raw: dict[str, Any] = entry["request"]
        job = self.jobs.create(
            JobRequest(**raw | {"kind": Kind(raw["kind"])}),
            key=entry["key"],
            fingerprint=entry["fingerprint"],
            standalone=entry["standalone"],
            job_id=entry["id"],
            created_at=entry["created_at"],
        )
        if job.idempotency_key is not None:
            self.keys.remember(job.idempotency_key, job.fingerprint, job, used_at=job.created_at)

    def _load_end(self, entry: Entry) -> None:
        job = self.jobs.get(entry["id"])
        if job is None:
            return
        # Journals of earlier versions do not have it.
        job.probed = entry.get("probed")
        job.output, job.error = entry["output"], entry["error"]
        job.status = Status.FAILED if job.output is None else Status.SUCCEEDED
        job.started_at = entry["started_at"]
        job.finished_at = job.updated_at = entry["finished_at"]
        job.stages = {Stage(name): (at, until) for name, (at, until) in entry["stages"].items()}

    def _load_delivery(self, entry: Entry) -> None:
        job = self.jobs.get(entry["id"])
        if job is None:
            return
        state = DeliveryState(entry["state"])
        ordinal = len(job.deliveries)
        delivery = Delivery(entry["url"], ordinal, state=state, attempts=entry["attempts"])
        job.deliveries.append(delivery)

    def _load_endpoint(self, entry: Entry) -> None:
        raw: dict[str, Any] = entry["endpoint"]
        endpoint = Endpoint(**raw | {"topics": tuple(raw["topics"])})
        self.endpoints.add(endpoint)
        if entry["key"] is not None:
            self.keys.remember(
                entry["key"], entry["fingerprint"], endpoint, used_at=endpoint.created_at
            )

    def _load_removal(self, entry: Entry) -> None:
        if any(endpoint.id == entry["id"] for endpoint in self.endpoints):
            self.endpoints.remove(entry["id"])
