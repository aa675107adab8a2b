"""Check what `intake.yaml` declares: the file, its queues, and the events of its buckets."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing

from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.engine.finding import Finding, Grade
from ittybatch.env_file import LOCAL_S3
from ittybatch.errors import IttybatchError
from ittybatch.intake.declaration import DeclarationError, load_declared
from ittybatch.intake.declared import Declared, QueueDeclared
from ittybatch.intake.upload_checks import check_uploads
from ittybatch.settings import Settings
from ittybatch.sources.s3 import s3_client
from ittybatch.sources.sqs import SqsQueue, refuse_loops

_INTAKE = "Intake"
_QUEUE = "Queue"
_EVENTS = "Bucket's events"
_EVENT_KINDS = (
    "EventBridgeConfiguration",
    "QueueConfigurations",
    "TopicConfigurations",
    "LambdaFunctionConfigurations",
)


def check_intake(settings: Settings) -> Iterator[Finding]:
    """Check the file, whether its events can arrive, and its queues."""
    try:
        declared = load_declared(settings.intake_file, settings.profiles_dir)
    except DeclarationError as error:
        yield Finding(_INTAKE, Grade.BROKEN, error.message, error.remedy or "")
        return
    what = _summary(declared)
    if not what:
        yield Finding(_INTAKE, Grade.OK, f"{settings.intake_file} declares nothing.")
        return
    yield Finding(_INTAKE, Grade.OK, f"{settings.intake_file} declares {what}.")
    if settings.api_token is None and (why := _needs_api(declared)):
        yield Finding(
            _INTAKE,
            Grade.WARNING,
            f"The API is off, so {why}.",
            "Set ITTYBATCH_API_TOKEN for the receiver, and start it again.",
        )
    for queue in declared.queues:
        yield _check_queue(queue)
    for bucket in dict.fromkeys(each.bucket for each in declared.buckets):
        yield from _check_events(bucket)
    if declared.uploads is not None and settings.api_token is not None:
        yield from check_uploads(declared.uploads)


def _summary(declared: Declared) -> str:
    counted = [
        (len(declared.buckets), "folder"),
        (len(declared.tables), "table"),
        (len(declared.queues), "watched queue"),
    ]
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counted if count]
    return ", ".join([*parts, *(["uploads"] if declared.uploads else [])])


def _needs_api(declared: Declared) -> str | None:
    if declared.uploads is not None:
        return "nobody can upload"
    if declared.tables:
        return "no database webhook is accepted"
    if declared.buckets and not declared.queues:
        return "no event of a bucket is accepted"
    return None


def _check_queue(declared: QueueDeclared) -> Finding:
    url = declared.queue_url
    try:
        with ExitStack() as stack:
            queue = stack.enter_context(closing(SqsQueue(url)))
            aside = None
            if declared.dead_letter_url is not None:
                aside = stack.enter_context(closing(SqsQueue(declared.dead_letter_url)))
            refuse_loops(queue, aside)
            found = queue.attributes()
    except IttybatchError as error:
        return Finding(_QUEUE, Grade.BROKEN, error.message, error.remedy or "")
    if not found:
        return Finding(
            _QUEUE,
            Grade.WARNING,
            f"{url} cannot be checked with these credentials.",
            "Allow them sqs:GetQueueAttributes on it, besides sqs:ReceiveMessage, "
            "sqs:DeleteMessage and sqs:ChangeMessageVisibility.",
        )
    if declared.dead_letter_url is None and "RedrivePolicy" not in found:
        return Finding(
            _QUEUE,
            Grade.WARNING,
            f"{url} keeps messages that cannot be read: they are received again and again.",
            "Declare a dead_letter_url for it, or give the queue a redrive policy.",
        )
    count = found.get("ApproximateNumberOfMessages", "0")
    waiting = "no message waits" if count == "0" else f"{count} messages wait"
    return Finding(_QUEUE, Grade.OK, f"{url} can be reached; {waiting}.")


def _check_events(bucket: str) -> Iterator[Finding]:
    """Check that a bucket sends events, if these credentials may look."""
    if os.environ.get(LOCAL_S3):
        what = f"The local S3 sends no events of {bucket}: post them to /process to try it."
        yield Finding(_EVENTS, Grade.OK, what)
        return
    try:
        found = s3_client().get_bucket_notification_configuration(Bucket=bucket)
    except ClientError as error:
        # Looking is a permission that nothing else needs.
        if "NoSuchBucket" in str(error):
            yield Finding(
                _EVENTS,
                Grade.BROKEN,
                f"There is no bucket {bucket} where these credentials look.",
                "Correct `bucket` in intake.yaml, or check AWS_ENDPOINT_URL and AWS_REGION.",
            )
        return
    except (BotoCoreError, IttybatchError):
        return
    if any(kind in found for kind in _EVENT_KINDS):
        yield Finding(_EVENTS, Grade.OK, f"{bucket} sends events.")
    else:
        yield Finding(
            _EVENTS,
            Grade.WARNING,
            f"{bucket} sends no events, so nothing is heard of its new objects.",
            f"Run `aws s3api put-bucket-notification-configuration --bucket {bucket} "
            "--notification-configuration '{\"EventBridgeConfiguration\": {}}'`, and go on with "
            "docs/events.md.",
        )
