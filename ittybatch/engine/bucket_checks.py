"""Check whether this process and a worker can list a bucket."""

import time
from collections.abc import Iterator
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from prefect.client.schemas.objects import StateType

from ittybatch.engine.finding import Finding, Grade
from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable, open_flow_runs
from ittybatch.engine.run_status import RunStatus
from ittybatch.errors import IttybatchError
from ittybatch.project import RUN_DEPLOY
from ittybatch.sources.s3 import SCHEME, failure, request_payer_parameters, s3_client, split_uri

CHECK_DEPLOYMENT = "check-bucket/check-bucket"
LISTED = "It can be listed."
# The worker has to start a process, on a machine that may be busy.
_WORKER_TIMEOUT_S = 90.0
_POLL_INTERVAL_S = 0.5


def why_not_listed(bucket: str, *, request_payer: bool = False) -> IttybatchError | None:
    """Explain why this process cannot list a bucket or `s3://bucket/prefix/`; None if it can.

    Args:
        bucket: The bucket.
        request_payer: Whether the requester agrees to pay.
    """
    uri = _uri(bucket)
    try:
        name, prefix = split_uri(uri)
        s3_client().list_objects_v2(
            Bucket=name, Prefix=prefix, MaxKeys=1, **request_payer_parameters(request_payer)
        )
    except (ClientError, BotoCoreError) as error:
        return failure("listed", uri, error)
    except IttybatchError as error:
        return error
    except ValueError as error:
        return IttybatchError(f"{error}.", remedy="Write s3://bucket/prefix/.")
    return None


def check_bucket(
    bucket: str, *, worker_is_there: bool, request_payer: bool = False
) -> Iterator[Finding]:
    """List a bucket from this process, then from a worker.

    Args:
        bucket: A bucket, or `s3://bucket/prefix/`, that a source reads.
        worker_is_there: Whether a worker is running.
        request_payer: Whether the requester agrees to pay.
    """
    uri = _uri(bucket)
    why = why_not_listed(bucket, request_payer=request_payer)
    if why is None:
        yield Finding("Bucket", Grade.OK, f"{uri} can be listed from here.")
    else:
        yield Finding("Bucket", Grade.BROKEN, f"From here: {why.message}", why.remedy or "")
    if worker_is_there:
        yield _ask_worker(uri, request_payer=request_payer)


def _uri(bucket: str) -> str:
    return bucket if bucket.startswith(SCHEME) else f"{SCHEME}{bucket}/"


def _ask_worker(uri: str, *, request_payer: bool) -> Finding:
    check = "Bucket (worker)"
    try:
        with open_flow_runs() as flow_runs:
            status = _answer(flow_runs, uri, request_payer=request_payer)
    except PrefectUnavailable as error:
        return Finding(
            check,
            Grade.WARNING,
            f"No worker has tried: {error.message}",
            f"{RUN_DEPLOY} Then run `ittybatch doctor` again.",
        )
    if status is None:
        return Finding(
            check,
            Grade.WARNING,
            f"No worker has answered in {_WORKER_TIMEOUT_S:g} s.",
            "Check in the Prefect UI why the run of check-bucket does not end, then try again.",
        )
    if status.type is StateType.COMPLETED and status.message == LISTED:
        return Finding(check, Grade.OK, f"{uri} can be listed by a worker.")
    return Finding(
        check,
        Grade.BROKEN,
        f"By a worker: {status.message or status.name}",
        "Set AWS_* for the worker, in its environment or in the .env of its folder.",
    )


def _answer(flow_runs: FlowRuns, uri: str, *, request_payer: bool) -> RunStatus | None:
    # A deployment from before this parameter would refuse it.
    agreed = {"request_payer": True} if request_payer else {}
    run = flow_runs.make(
        CHECK_DEPLOYMENT,
        parameters={"bucket": uri, **agreed},
        name=None,
        tags=["ittybatch", "doctor"],
        idempotency_key=uuid4().hex,
    )
    deadline = time.monotonic() + _WORKER_TIMEOUT_S
    while time.monotonic() < deadline:
        status = flow_runs.statuses([run]).get(run)
        if status is not None and status.ended:
            return status
        time.sleep(_POLL_INTERVAL_S)
    return None
