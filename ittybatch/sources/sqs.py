"""An SQS queue: receive messages, return them, delete them, or copy them to another queue."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.ittybit.redaction import without_secrets
from ittybatch.sources.page import SourceError
from ittybatch.sources.s3 import aws_client, is_loopback, patient

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_AT_ONCE = 16
_BATCH_SIZE = 10
_VISIBILITY_TIMEOUT_S = 600
_MAX_REASON_CHARACTERS = 500
_REGION = re.compile(
    r"(?:sqs[.-])?([a-z]{2,4}(?:-[a-z]+)+-\d)\.(?:queue\.)?amazonaws\.(?:com(?:\.cn)?|eu)"
)
_GONE = "QueueDoesNotExist"
_FIRST_ERROR = 300

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Message:
    """A received message.

    Args:
        id: Its id, the same each time it is received.
        receipt: Its receipt handle, another one each time it is received.
        body: Its text.
    """

    id: str
    receipt: str
    body: str


class _StrangeAnswerError(BotoCoreError):
    fmt = "the answer is not one of SQS"


def _require_json(response_dict: Any, **_: Any) -> None:  # noqa: ANN401 - botocore's
    """Refuse a web page. botocore's parser would make an empty answer of it."""
    if response_dict["status_code"] >= _FIRST_ERROR:
        return
    kind = response_dict["headers"].get("Content-Type", "json").lower()
    if "json" not in kind or not response_dict["body"].lstrip().startswith(b"{"):
        raise _StrangeAnswerError


def check_queue_url(url: str) -> str:
    """Check the URL of a queue.

    Raises:
        ValueError: It is not the URL of a queue, or not HTTPS.
    """
    stripped = url.strip()
    shown = without_secrets(url)
    try:
        parts = urlsplit(stripped)
        is_readable = parts.port != 0
    except ValueError:
        is_readable = False
    if not is_readable:
        raise ValueError(f"the host or the port of {shown!r} cannot be read")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError(f"{shown!r} is not the https:// URL of a queue")
    if not parts.path.strip("/") or parts.username or parts.query:
        raise ValueError(f"{shown!r} has no queue; write https://sqs.REGION.amazonaws.com/ID/NAME")
    return stripped


def same_queue(one: str, other: str) -> bool:
    """Say whether two URLs are of the same queue; AWS has several hosts for one."""
    return _place_of(one) == _place_of(other)


def _place_of(url: str) -> tuple[str, str]:
    parts = urlsplit(url.strip())
    at_aws = _REGION.search(parts.netloc)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    host = at_aws[1] if at_aws else f"{(parts.hostname or '').lower()}:{port}"
    return host, parts.path.strip("/")


class SqsQueue:
    """A queue, called from several threads at the same time.

    Args:
        url: Its URL.
        visibility_s: Seconds for which received messages are hidden from other readers, whatever
            the queue's default is. The default here is long enough to plan a page.
        patience: Repeat calls for minutes while the queue fails or cannot be reached. Otherwise
            boto3's few tries are all.
    """

    def __init__(
        self, url: str, *, visibility_s: int = _VISIBILITY_TIMEOUT_S, patience: bool = False
    ) -> None:
        self._url = url
        self._visibility_s = visibility_s
        self._patience = patience
        self._answered = False
        parts = urlsplit(url)
        at_aws = _REGION.search(parts.netloc)
        # The URL overrides the region and the endpoint of the environment.
        self._client = cast(
            "SQSClient",
            aws_client(
                "sqs",
                region=at_aws[1] if at_aws else None,
                endpoint_url=None if at_aws else f"{parts.scheme}://{parts.netloc}",
            ),
        )
        self._client.meta.events.register("before-parse.sqs", _require_json)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="queue")

    def receive(self, limit: int, wait_s: int) -> list[Message]:
        """Receive messages; none if the queue is empty.

        Args:
            limit: How many messages at most.
            wait_s: Seconds to wait for the first one.

        Raises:
            SourceError: The queue cannot be read.
        """
        calls = [_BATCH_SIZE] * (limit // _BATCH_SIZE)
        if rest := limit % _BATCH_SIZE:
            calls.append(rest)
        found: list[Message] = []
        while calls:
            now, calls = calls[:_AT_ONCE], calls[_AT_ONCE:]
            got = [each for each in self._pool.map(self._receive, now) if each]
            # Short polling asks only some of the queue's servers. A long poll waits even if
            # parallel calls find messages, so make it only if they found none.
            if not got and wait_s:
                got = [each for each in (self._receive(now[0], wait_s),) if each]
            if not got:
                break
            found += [message for messages in got for message in messages]
        return found

    def wait(self, wait_s: int) -> list[Message]:
        """Receive up to ten messages with one long poll, in the calling thread.

        Args:
            wait_s: Seconds to wait for the first message, at most 20.

        Raises:
            SourceError: The queue cannot be read.
        """
        return self._receive(_BATCH_SIZE, wait_s)

    def _receive(self, limit: int, wait_s: int = 0) -> list[Message]:
        receive = partial(
            self._client.receive_message,
            QueueUrl=self._url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=self._visibility_s,
        )
        try:
            answer = self._ask(receive)
        except (ClientError, BotoCoreError) as error:
            raise self._failure("read", "sqs:ReceiveMessage", error) from error
        return [
            Message(each["MessageId"], each["ReceiptHandle"], each["Body"])
            for each in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages. One that is not deleted is received again, which is harmless.

        Raises:
            SourceError: The messages cannot be deleted.
        """

        def call(some: Sequence[Message]) -> Any:  # noqa: ANN401 - not read
            return self._ask(
                partial(
                    self._client.delete_message_batch,
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(number), "ReceiptHandle": each.receipt}
                        for number, each in enumerate(some)
                    ],
                )
            )

        self._call_in_batches(call, messages, "emptied", "sqs:DeleteMessage")

    def give_back(self, messages: Sequence[Message]) -> None:
        """Make messages visible again at once.

        Raises:
            SourceError: Their visibility cannot be changed.
        """

        def call(some: Sequence[Message]) -> Any:  # noqa: ANN401 - not read
            return self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": each.receipt, "VisibilityTimeout": 0}
                    for number, each in enumerate(some)
                ],
            )

        self._call_in_batches(call, messages, "left as it was", "sqs:ChangeMessageVisibility")

    def attributes(self) -> dict[str, str]:
        """Return the queue's attributes; empty if these credentials may not read them.

        Raises:
            SourceError: The queue does not exist or cannot be reached, or this is not a queue.
        """
        look = partial(
            self._client.get_queue_attributes,
            QueueUrl=self._url,
            AttributeNames=["QueueArn", "RedrivePolicy", "ApproximateNumberOfMessages"],
        )
        try:
            answer = self._ask(look)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and "AccessDenied" in str(error):
                return {}
            raise self._failure("looked at", "sqs:GetQueueAttributes", error) from error
        found = cast("dict[str, str]", answer.get("Attributes", {}))
        if "QueueArn" not in found:
            raise self._failure("looked at", "", _StrangeAnswerError())
        return found

    @property
    def url(self) -> str:
        """Its URL."""
        return self._url

    def put_aside(self, messages: Sequence[tuple[Message, str]]) -> None:
        """Send copies of another queue's messages to this queue, each with a reason.

        Raises:
            SourceError: A message cannot be sent.
        """
        list(self._pool.map(self._put_aside, messages))

    def _put_aside(self, given: tuple[Message, str]) -> None:
        message, reason = given
        fifo: dict[str, Any] = {}
        if self._url.endswith(".fifo"):
            fifo = {"MessageGroupId": "unreadable", "MessageDeduplicationId": message.id}
        send = partial(
            self._client.send_message,
            QueueUrl=self._url,
            MessageBody=message.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in (
                    ("reason", reason[:_MAX_REASON_CHARACTERS]),
                    ("message_id", message.id),
                )
            },
            **fifo,
        )
        try:
            self._ask(send)
        except (ClientError, BotoCoreError) as error:
            raise self._failure("written to", "sqs:SendMessage", error) from error

    def close(self) -> None:
        """Close threads and connections."""
        self._pool.shutdown()
        self._client.close()

    def _ask(self, call: Callable[[], T]) -> T:
        answer = patient(call, first=not self._answered) if self._patience else call()
        self._answered = True
        return answer

    def _call_in_batches(
        self,
        call: Callable[[Sequence[Message]], Any],
        messages: Sequence[Message],
        done: str,
        permission: str,
    ) -> None:
        try:
            list(self._pool.map(call, _batches(messages)))
        except (ClientError, BotoCoreError) as error:
            raise self._failure(done, permission, error) from error

    def _failure(self, done: str, permission: str, error: Exception) -> SourceError:
        reason = str(error)
        remedy = "Try again later; messages that come again are processed only once."
        if isinstance(error, _StrangeAnswerError):
            reason = f"{self._client.meta.endpoint_url} answered, but not as a queue"
            remedy = (
                "Check the queue's URL: it must be the address of an SQS queue, not of a console "
                "or of a proxy's login page. This was not treated as an empty queue."
            )
        if isinstance(error, ClientError):
            detail = error.response.get("Error", {})
            code = str(detail.get("Code", "")).rpartition(".")[2]
            reason = f"{code} ({str(detail.get('Message', '')).rstrip('.')})"
            if _GONE in code or "NonExistent" in code:
                remedy = "Check the queue's URL, also its region and account."
            elif "AccessDenied" in code:
                remedy = f"Allow these credentials {permission} on the queue."
        return SourceError(f"The queue {self._url} cannot be {done}: {reason}.", remedy=remedy)


def refuse_loops(queue: SqsQueue, aside: SqsQueue | None) -> None:
    """Refuse queues that would return messages to the queue they were taken from.

    This also finds a queue that does not exist before any message is taken.

    Raises:
        SourceError: A queue does not exist, or its dead letters come back to it.
    """
    own = queue.attributes()
    loops = "RedrivePolicy" in own and own.get("QueueArn") == _redrive_target(own)
    if aside is not None:
        theirs = aside.attributes()
        arn = own.get("QueueArn")
        loops = loops or (
            arn is not None and arn in {theirs.get("QueueArn"), _redrive_target(theirs)}
        )
    if loops:
        raise SourceError(
            f"The queue {queue.url} gets its own unreadable messages back, so they would be "
            "read again and again. No message was taken.",
            remedy="Give another queue as `dead_letter_url` (`--dead-letter-url`), and check the "
            "redrive policies of both: neither may name this queue.",
        )


def _redrive_target(attributes: dict[str, str]) -> str | None:
    try:
        policy = orjson.loads(attributes.get("RedrivePolicy", "{}"))
    except orjson.JSONDecodeError:
        return None
    return policy.get("deadLetterTargetArn") if isinstance(policy, dict) else None


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for start in range(0, len(messages), _BATCH_SIZE):
        yield messages[start : start + _BATCH_SIZE]
