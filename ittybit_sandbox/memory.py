"""Keeps jobs, keys and endpoints, and remembers them over a restart."""

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
    """All that the sandbox knows.

    Args:
        journal: Where it is written down; nothing outlives the process without one.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self.jobs = JobStore()
        self.endpoints = EndpointStore()
        self.keys: KeyRing[Job | Endpoint] = KeyRing()

    def accept(
        self, request: JobRequest, *, key: str | None, fingerprint: str, standalone: bool = False
    ) -> Job:
        """Take in a job; it is written down before this returns."""
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
        """Mark a job as being worked on."""
        job.status = Status.PROCESSING
        job.started_at = job.updated_at = now_ms()
        job.stages = {}

    def enter(self, job: Job, stage: Stage) -> None:
        """Mark the stage a job has come to, and the ones before it as done."""
        moment = now_ms()
        for past, (started_at, finished_at) in job.stages.items():
            if finished_at is None:
                job.stages[past] = (started_at, moment)
        job.stages[stage] = (moment, None)
        job.updated_at = moment

    def finish(self, job: Job, *, output: MediaFile | None, error: JobError | None) -> None:
        """Settle a job, one way or the other."""
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
                    "output": output,
                    "error": error,
                    "started_at": job.started_at,
                    "finished_at": moment,
                    "stages": {stage.value: times for stage, times in job.stages.items()},
                }
            )

    def settle(self, job: Job, delivery: Delivery) -> None:
        """Write down that nothing more is to be sent to a URL."""
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
        """Take in a webhook endpoint."""
        self.endpoints.add(endpoint)
        if key is not None:
            self.keys.remember(key, fingerprint, endpoint, used_at=endpoint.created_at)
        if self._journal is not None:
            entry: Entry = {"what": "endpoint", "key": key, "fingerprint": fingerprint}
            self._journal.append(entry | {"endpoint": asdict(endpoint)})

    def unregister(self, endpoint_id: str) -> Endpoint:
        """Forget a webhook endpoint.

        Raises:
            ApiError: There is none of that id.
        """
        endpoint = self.endpoints.remove(endpoint_id)
        if self._journal is not None:
            self._journal.append({"what": "endpoint_removed", "id": endpoint_id})
        return endpoint

    def recall(self) -> None:
        """Read the journal back, at the start."""
        if self._journal is None:
            return
        recallers = {
            "job": self._recall_job,
            "end": self._recall_end,
            "delivery": self._recall_delivery,
            "endpoint": self._recall_endpoint,
            "endpoint_removed": self._recall_removal,
        }
        for entry in self._journal.replay():
            recallers[entry["what"]](entry)

    def _recall_job(self, entry: Entry) -> None:
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

    def _recall_end(self, entry: Entry) -> None:
        job = self.jobs.get(entry["id"])
        if job is None:
            return
        job.output, job.error = entry["output"], entry["error"]
        job.status = Status.FAILED if job.output is None else Status.SUCCEEDED
        job.started_at = entry["started_at"]
        job.finished_at = job.updated_at = entry["finished_at"]
        job.stages = {Stage(name): (at, until) for name, (at, until) in entry["stages"].items()}

    def _recall_delivery(self, entry: Entry) -> None:
        job = self.jobs.get(entry["id"])
        if job is None:
            return
        state = DeliveryState(entry["state"])
        ordinal = len(job.deliveries)
        delivery = Delivery(entry["url"], ordinal, state=state, attempts=entry["attempts"])
        job.deliveries.append(delivery)

    def _recall_endpoint(self, entry: Entry) -> None:
        raw: dict[str, Any] = entry["endpoint"]
        endpoint = Endpoint(**raw | {"topics": tuple(raw["topics"])})
        self.endpoints.add(endpoint)
        if entry["key"] is not None:
            self.keys.remember(
                entry["key"], entry["fingerprint"], endpoint, used_at=endpoint.created_at
            )

    def _recall_removal(self, entry: Entry) -> None:
        if any(endpoint.id == entry["id"] for endpoint in self.endpoints):
            self.endpoints.remove(entry["id"])
