"""Check a bucket: list it on a worker, with the worker's credentials."""

from prefect import State, flow
from prefect.states import Completed

from ittybatch.engine.bucket_checks import LISTED, why_not_listed
from ittybatch.flows.parameters import BucketName, RequestPayer
from ittybatch.settings import Settings


@flow(name="check-bucket", flow_run_name="check {bucket}", description=__doc__)
def check_bucket(
    bucket: BucketName,
    request_payer: RequestPayer = False,
) -> State[None]:
    """Report in the state's message whether a bucket or prefix can be listed."""
    Settings()  # exports AWS_* of .env for boto3
    why = why_not_listed(bucket, request_payer=request_payer)
    return Completed(message=str(why) if why else LISTED)
