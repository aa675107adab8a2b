"""Run a batch from Python: of a source, or of the rows of a DataFrame."""

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import BaseModel

from ittybatch.analysis.ledger import opened_ledger
from ittybatch.analysis.manifest import write_manifest
from ittybatch.engine.local_stack import join_local_stack
from ittybatch.errors import IttybatchError
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings
from ittybatch.sources import Source, SourceError, parse_source
from ittybatch.sources.s3 import is_loopback

if TYPE_CHECKING:
    import pandas as pd

    from ittybatch.engine.options import BatchOptions
    from ittybatch.engine.summary import BatchSummary


def run(
    source: "Source | str | pd.DataFrame",
    *,
    profile: str = "web",
    options: "BatchOptions | None" = None,
    deployment: str | None = None,
    manifest_to: str | None = None,
) -> "BatchSummary":
    """Run a batch until it has ended, and return its summary.

    Args:
        source: A source, a text as `ittybatch run` takes it, or a DataFrame with the columns of a
            manifest: `input`, and for example `fingerprint`, `kind`, `options`, `metadata.NAME`.
        profile: Name or path of the profile.
        options: The batch's options; None for the defaults. With `dry_run` the summary is that of
            the plan, and `deployment` cannot be set.
        deployment: A deployment of run-batch, such as `adhoc`, whose worker runs the batch; None to
            run it in this process.
        manifest_to: Folder or `s3://bucket/prefix/` that a DataFrame is written to, which the
            process of the batch can read. None: the folder `manifests` of the home.

    Raises:
        BatchFailed: Jobs failed, or the batch is held.
        BatchStopped: The batch was paused or cancelled, or waits for approval.
        SourceError: The source cannot be read, or a worker could not read the frame.
        PrefectUnavailable: Prefect does not answer, or does not have the deployment.
        NoBatch: The run of the deployment ended before it began a batch.
        IttybatchError: A dry run is asked of a deployment.
    """
    if deployment is not None and options is not None and options.dry_run:
        raise IttybatchError(
            f"A dry run of the deployment {deployment!r} has no summary to return: it makes no "
            "batch, and its plan is on the pages of its flow run. Nothing was started.",
            remedy="Leave out `deployment` to plan here, or run `ittybatch plan SOURCE`.",
        )
    # Before Prefect is imported: it reads its settings once.
    join_local_stack()
    if deployment is not None:
        from ittybatch.engine.flow_runs import require_prefect  # noqa: PLC0415 - imports Prefect

        # Before a manifest is written.
        require_prefect()
    chosen = _source_of(source, deployment, manifest_to)
    if deployment is not None:
        return _run_deployed(deployment, chosen, profile, options)
    from ittybatch.flows.parameters import DEFAULTS  # noqa: PLC0415 - imports Prefect
    from ittybatch.flows.run_batch import run_batch  # noqa: PLC0415 - imports Prefect

    found: BatchSummary = run_batch(chosen, profile, options=options or DEFAULTS)
    return found


def _source_of(
    source: "Source | str | pd.DataFrame", deployment: str | None, manifest_to: str | None
) -> Source:
    if isinstance(source, str):
        return parse_source(source)
    if isinstance(source, BaseModel):
        return source
    # Whoever has a frame has imported pandas.
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(source, pandas.DataFrame):
        raise SourceError(
            f"A {type(source).__name__} is not a source.",
            remedy="Give a DataFrame, a text as `ittybatch run` takes it, or a source of "
            "`ittybatch.api`.",
        )
    if deployment is not None and manifest_to is None:
        _require_worker_here(deployment)
    return write_manifest(source, manifest_to, Settings().home)


def _require_worker_here(deployment: str) -> None:
    """Refuse to write a frame to this machine for a worker that may be on another one."""
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415 - imports Prefect

    host = urlsplit(PREFECT_API_URL.value() or "").hostname
    if host is None or is_loopback(host):
        return
    raise SourceError(
        f"The worker of the deployment {deployment!r} may be on another machine than this one "
        f"(Prefect is at {host}), where it could not read a file of this home. Nothing was "
        "submitted.",
        remedy="Set `manifest_to` to an s3://bucket/prefix/ that both can reach, or to a folder "
        "that both see under the same path.",
    )


def _run_deployed(
    deployment: str, source: Source, profile: str, options: "BatchOptions | None"
) -> "BatchSummary":
    from ittybatch.engine.flow_runs import open_flow_runs  # noqa: PLC0415 - imports Prefect
    from ittybatch.engine.following import await_batch, await_end  # noqa: PLC0415 - likewise
    from ittybatch.engine.starting import start_batch  # noqa: PLC0415 - likewise
    from ittybatch.tasks.outcome import outcome, unapproved_outcome  # noqa: PLC0415 - likewise

    parameters = {
        # Prefect refuses nulls for parameters that offer a choice.
        "source": source.model_dump(mode="json", exclude_none=True),
        "profile": profile,
    }
    if options is not None:
        parameters["options"] = options.model_dump(mode="json", exclude_unset=True)
    with open_flow_runs() as flow_runs, opened_ledger() as ledger:
        flow_run = start_batch(
            flow_runs,
            deployment,
            parameters,
            tags=["started-by:python"],
            idempotency_key=str(uuid4()),
        )
        batch = await_batch(ledger, flow_runs, flow_run)
        if batch is None:
            raise AssertionError("unreachable: without a limit it waits until there is a batch")
        status = await_end(ledger, batch)
    waits = status.state is BatchState.UNAPPROVED
    # As a direct call: the summary, or an error that contains it.
    found: Any = (unapproved_outcome(status) if waits else outcome(status)).data
    if isinstance(found, Exception):
        raise found
    summary: BatchSummary = found
    return summary
