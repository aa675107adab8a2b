"""An SQS queue: messages received, given back, deleted, or put aside."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.sources.errors import SourceError
from ittybatch.sources.s3 import aws_client, is_loopback

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_AT_ONCE = 16
_MOST_A_CALL = 10
# Long enough for a page to be planned, whatever the queue itself is set to.
_HIDDEN_S = 600
_MOST_REASON_CHARACTERS = 500
_REGION = re.compile(r"(?:sqs[.-])?([a-z]{2}(?:-[a-z]+)+-\d)\.(?:queue\.)?amazonaws\.com(?:\.cn)?")
_GONE = "QueueDoesNotExist"


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was received.

    Args:
        id: The same each time that it is received.
        receipt: What this time of receiving it is called.
        body: Its text.
    """

    id: str
    receipt: str
    body: str


def check_queue_url(url: str) -> str:
    """Check the URL of a queue.

    Raises:
        ValueError: It is none, or not HTTPS.
    """
    stripped = url.strip()
    parts = urlsplit(stripped)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError(f"{url!r} is not the https:// URL of a queue")
    if not parts.path.strip("/") or parts.username or parts.query:
        raise ValueError(f"{url!r} names no queue; write https://sqs.REGION.amazonaws.com/ID/NAME")
    return stripped


def same_queue(one: str, other: str) -> bool:
    """Say whether two URLs are of the same queue, whichever of its hosts they name."""
    return _place_of(one) == _place_of(other)


def _place_of(url: str) -> tuple[str, str]:
    parts = urlsplit(url.strip())
    at_aws = _REGION.search(parts.netloc)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    host = at_aws[1] if at_aws else f"{(parts.hostname or '').lower()}:{port}"
    return host, parts.path.strip("/")


class SqsQueue:
    """A queue; several threads work for one.

    Args:
        url: Its URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        at_aws = _REGION.search(parts.netloc)
        # The URL says where it is, and goes before the region and endpoint of the environment.
        self._client = cast(
            "SQSClient",
            aws_client(
                "sqs",
                region=at_aws[1] if at_aws else None,
                endpoint_url=None if at_aws else f"{parts.scheme}://{parts.netloc}",
            ),
        )
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="queue")

    def receive(self, limit: int, wait_s: int) -> list[Message]:
        """Receive messages; none once the queue is empty.

        Args:
            limit: At most so many.
            wait_s: Seconds to wait for the first.

        Raises:
            SourceError: The queue cannot be read.
        """
        calls = [_MOST_A_CALL] * (limit // _MOST_A_CALL)
        if rest := limit % _MOST_A_CALL:
            calls.append(rest)
        found: list[Message] = []
        while calls:
            now, calls = calls[:_AT_ONCE], calls[_AT_ONCE:]
            got = [each for each in self._pool.map(self._receive, now) if each]
            # A call that does not wait asks only some of the queue's servers, and a waiting one
            # waits even beside others that find something.
            if not got and wait_s:
                got = [each for each in (self._receive(now[0], wait_s),) if each]
            if not got:
                break
            found += [message for messages in got for message in messages]
        return found

    def _receive(self, limit: int, wait_s: int = 0) -> list[Message]:
        try:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=_HIDDEN_S,
            )
        except (ClientError, BotoCoreError) as error:
            raise self._failure("read", "sqs:ReceiveMessage", error) from error
        return [
            Message(each["MessageId"], each["ReceiptHandle"], each["Body"])
            for each in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages; one that is not deleted comes again, which does no harm.

        Raises:
            SourceError: Nothing may be deleted.
        """

        def call(some: Sequence[Message]) -> Any:  # noqa: ANN401 - nobody reads it
            return self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": each.receipt}
                    for number, each in enumerate(some)
                ],
            )

        self._all(call, messages, "emptied", "sqs:DeleteMessage")

    def give_back(self, messages: Sequence[Message]) -> None:
        """Let messages be received again at once.

        Raises:
            SourceError: They may not be.
        """

        def call(some: Sequence[Message]) -> Any:  # noqa: ANN401 - nobody reads it
            return self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": each.receipt, "VisibilityTimeout": 0}
                    for number, each in enumerate(some)
                ],
            )

        self._all(call, messages, "left as it was", "sqs:ChangeMessageVisibility")

    def attributes(self) -> dict[str, str]:
        """Look what the queue says of itself; nothing if these credentials may not.

        Raises:
            SourceError: There is no queue.
        """
        try:
            answer = self._client.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=["QueueArn", "RedrivePolicy"]
            )
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and "AccessDenied" in str(error):
                return {}
            raise self._failure("looked at", "sqs:GetQueueAttributes", error) from error
        return cast("dict[str, str]", answer.get("Attributes", {}))

    @property
    def url(self) -> str:
        """Its URL."""
        return self._url

    def put_aside(self, messages: Sequence[tuple[Message, str]]) -> None:
        """Keep copies of another queue's messages here, each with why it is here.

        Raises:
            SourceError: One cannot be sent.
        """
        list(self._pool.map(self._put_aside, messages))

    def _put_aside(self, given: tuple[Message, str]) -> None:
        message, reason = given
        fifo: dict[str, Any] = {}
        if self._url.endswith(".fifo"):
            fifo = {"MessageGroupId": "unreadable", "MessageDeduplicationId": message.id}
        try:
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=message.body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in (
                        ("reason", reason[:_MOST_REASON_CHARACTERS]),
                        ("message_id", message.id),
                    )
                },
                **fifo,
            )
        except (ClientError, BotoCoreError) as error:
            raise self._failure("written to", "sqs:SendMessage", error) from error

    def close(self) -> None:
        """Let go of threads and connections."""
        self._pool.shutdown()
        self._client.close()

    def _all(
        self,
        call: Callable[[Sequence[Message]], Any],
        messages: Sequence[Message],
        done: str,
        right: str,
    ) -> None:
        try:
            list(self._pool.map(call, _tens(messages)))
        except (ClientError, BotoCoreError) as error:
            raise self._failure(done, right, error) from error

    def _failure(self, done: str, right: str, error: Exception) -> SourceError:
        reason = str(error)
        remedy = "Try again later; what was not deleted comes again, and is done only once."
        if isinstance(error, ClientError):
            detail = error.response.get("Error", {})
            code = str(detail.get("Code", "")).rpartition(".")[2]
            reason = f"{code} ({str(detail.get('Message', '')).rstrip('.')})"
            if _GONE in code or "NonExistent" in code:
                remedy = "Check the queue's URL; it names the region and the account, too."
            elif "AccessDenied" in code:
                remedy = f"Allow these credentials {right} on the queue."
        return SourceError(f"The queue {self._url} cannot be {done}: {reason}.", remedy=remedy)


def refuse_loops(queue: SqsQueue, aside: SqsQueue | None) -> None:
    """Make sure that no message comes back to the queue that it was taken from.

    Also finds out that a queue does not exist, before any message was taken.

    Raises:
        SourceError: A queue does not exist, or gives what it gives up back to itself.
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
            f"The queue {queue.url} gets its own unreadable messages back, so that they would be "
            "read again and again. No message was taken.",
            remedy="Name another queue as `dead_letter_url` (`--dead-letter-url`), and check the "
            "redrive policies of both: neither may name this queue.",
        )


def _redrive_target(attributes: dict[str, str]) -> str | None:
    try:
        policy = orjson.loads(attributes.get("RedrivePolicy", "{}"))
    except orjson.JSONDecodeError:
        return None
    return policy.get("deadLetterTargetArn") if isinstance(policy, dict) else None


def _tens(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for start in range(0, len(messages), _MOST_A_CALL):
        yield messages[start : start + _MOST_A_CALL]
