"""The block that starts a batch, and its run."""

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

from prefect.blocks.abstract import JobBlock, JobRun
from pydantic import Field

from ittybatch.prefect.asking import FlowRunEnds
from ittybatch.prefect.starting import repeatable_key
from ittybatch.prefect.waiting import await_end, own_ledger

if TYPE_CHECKING:
    from ittybatch.engine.summary import BatchSummary
    from ittybatch.ledger import Ledger
    from ittybatch.ledger.waiters import Target


class IttybitBatchRun(JobRun["BatchSummary"]):
    """The batch that `IttybitBatch.trigger` has started.

    Args:
        flow_run_id: The flow run of the deployment, which begins the batch.
    """

    def __init__(self, flow_run_id: str) -> None:
        self.flow_run_id = flow_run_id
        self._batch: str | None = None

    def open_target(self, ledger: "Ledger", ends: FlowRunEnds) -> "Target | None":
        """The batch; None if it has ended, or will never begin."""
        from ittybatch.ledger.waiters import Target, batch_has_ended  # noqa: PLC0415

        has_ended = self._find(ledger) is None and ends.has_ended(self.flow_run_id)
        # It may have begun the batch meanwhile.
        batch = self._find(ledger)
        if batch is None:
            return None if has_ended else Target(batch_run=self.flow_run_id)
        return None if ledger.read(batch_has_ended, batch) else Target(batch=batch)

    def wait_for_completion(self, timeout_s: float | None = None) -> None:  # type: ignore[override] # its twin is asynchronous
        """Wait in this process until the batch has ended.

        Args:
            timeout_s: Seconds to wait at most; None for no limit.

        Raises:
            TimeoutError: The batch has not ended in time. It continues.
            PrefectUnavailable: Prefect refuses to say whether the flow run has ended.
        """
        await_end(self, timeout_s)

    async def await_for_completion(self, timeout_s: float | None = None) -> None:
        """Do the same without blocking the event loop."""
        await asyncio.to_thread(self.wait_for_completion, timeout_s)

    def fetch_result(self) -> "BatchSummary":  # type: ignore[override] # its twin is asynchronous
        """Return the summary of the batch: its id, its state, and its jobs by state.

        Raises:
            NoBatch: The flow run has not begun a batch.
        """
        from ittybatch.engine.following import NoBatch  # noqa: PLC0415  see the package
        from ittybatch.engine.summary import summarise  # noqa: PLC0415  likewise
        from ittybatch.ledger.queries import batch_status  # noqa: PLC0415  likewise

        with own_ledger() as ledger:
            batch = self._find(ledger)
            if batch is None:
                raise NoBatch(
                    f"Flow run {self.flow_run_id} has not begun a batch.",
                    remedy="Look at it in the Prefect UI.",
                )
            return summarise(ledger.read(batch_status, batch))

    async def afetch_result(self) -> "BatchSummary":
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.fetch_result)

    def _find(self, ledger: "Ledger") -> str | None:
        from ittybatch.ledger.waiters import batch_begun_by  # noqa: PLC0415  see the package

        if self._batch is None:
            self._batch = ledger.read(batch_begun_by, self.flow_run_id)
        return self._batch


class IttybitBatch(JobBlock["BatchSummary"]):
    """Starts a batch: a flow run of a deployment of run-batch."""

    _block_type_name = "Ittybit Batch"
    _block_type_slug = "ittybit-batch"

    source: str = Field(
        title="Source", description="s3://bucket/prefix/, or the path or URL of a manifest."
    )
    profile: str = Field("web", title="Profile", description="Name of the profile.")
    options: dict[str, Any] = Field(
        default_factory=dict, title="Options", description="Options of the batch, by name."
    )
    deployment: str = Field(
        "adhoc", title="Deployment", description="The deployment of run-batch that runs it."
    )

    def trigger(self) -> IttybitBatchRun:  # type: ignore[override] # its twin is asynchronous
        """Start the batch. In a flow run it may be repeated: it finds what it has started.

        Raises:
            SourceError: The source cannot be understood.
            NoDeployment: Prefect does not have the deployment.
            PrefectUnavailable: Prefect does not answer or refused the request, or its address is
                not set.
        """
        from ittybatch.engine.flow_runs import (  # noqa: PLC0415  see the package
            open_flow_runs,
            require_prefect,
        )
        from ittybatch.engine.starting import start_batch  # noqa: PLC0415  likewise
        from ittybatch.sources import parse_source  # noqa: PLC0415  likewise

        require_prefect()
        asked = self.model_dump(mode="json", include={"source", "profile", "options", "deployment"})
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        parameters: dict[str, Any] = {
            "source": parse_source(self.source).model_dump(mode="json", exclude_none=True),
            "profile": self.profile,
        }
        if self.options:
            parameters["options"] = self.options
        with open_flow_runs() as flow_runs:
            started = start_batch(
                flow_runs,
                self.deployment,
                parameters,
                tags=["started-by:flow"],
                idempotency_key=repeatable_key(digest),
            )
        return IttybitBatchRun(started)

    async def atrigger(self) -> IttybitBatchRun:
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.trigger)
