"""DynamoDB's BatchWriteItem: items go in groups, and what the table had no capacity for again."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import stamina
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestTypeDef

# The limit of one request.
GROUP: Final = 25
NO_TABLE: Final = (
    "Create it with partition key `pk` and sort key `sk`, both strings; check "
    "ITTYBATCH_DYNAMODB_TABLE and AWS_REGION."
)
_FIRST_WAIT_S = 0.05
_MAX_WAIT_S = 5.0
_JITTER_S = 1.0


class NoCapacity(Exception):
    """The table has not taken all items in time. Those that it took stay."""


def batch_write(
    client: "DynamoDBClient",
    table: str,
    requests: "Sequence[WriteRequestTypeDef]",
    *,
    patience_s: float,
) -> None:
    """Write a group of items, and send again what the table has not processed.

    Args:
        client: The DynamoDB client.
        table: The table's name or ARN.
        requests: At most `GROUP` requests, each for another key.
        patience_s: Seconds to keep trying while the table has no capacity.

    Raises:
        NoCapacity: It had none for so long.
        ClientError: DynamoDB refused the request.
        BotoCoreError: DynamoDB could not be reached.
    """
    left = requests
    for attempt in stamina.retry_context(
        on=NoCapacity,
        attempts=None,
        timeout=patience_s,
        wait_initial=_FIRST_WAIT_S,
        wait_max=_MAX_WAIT_S,
        # Jitter keeps throttled writers from colliding again.
        wait_jitter=_JITTER_S,
    ):
        with attempt:
            answer = client.batch_write_item(RequestItems={table: left})
            # Ignore the key: it is the table's name even if an ARN was given.
            unprocessed = answer.get("UnprocessedItems", {}).values()
            left = cast(
                "list[WriteRequestTypeDef]", [each for some in unprocessed for each in some]
            )
            if left:
                raise NoCapacity


def error_code(error: ClientError) -> str:
    """AWS's name for an error, such as `ValidationException`."""
    return str(_detail(error).get("Code", ""))


def error_message(error: ClientError) -> str:
    """What AWS says of an error, at most 500 characters without the full stop."""
    return str(_detail(error).get("Message", "")).rstrip(".")[:500]


def describe_failure(table: str, error: ClientError | BotoCoreError) -> str:
    """Say that a table could not be written to, or not be reached, and why."""
    if isinstance(error, BotoCoreError):
        return f"The DynamoDB table {table} cannot be reached: {error}"
    return (
        f"The DynamoDB table {table} cannot be written to: {error_code(error)} "
        f"({error_message(error)})."
    )


def _detail(error: ClientError) -> Mapping[str, Any]:
    found: Mapping[str, Any] = cast("Mapping[str, Any]", error.response).get("Error", {})
    return found
