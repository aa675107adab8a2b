"""The sink that is a DynamoDB table, with the items of Ittybit's AWS guide."""

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field, field_validator

from ittybatch.engine.reports.batch_write import (
    GROUP,
    NO_TABLE,
    NoCapacity,
    batch_write,
    describe_failure,
    error_code,
    error_message,
)
from ittybatch.settings import Settings
from ittybatch.sinks.base import GROUP_S, Outcome, Result, SinkUnavailable
from ittybatch.sinks.dynamodb_item import item_of
from ittybatch.sinks.options import SinkOptions
from ittybatch.sinks.values import Value, parse_value
from ittybatch.sources import SourceError
from ittybatch.sources.s3 import aws_client

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, WriteRequestTypeDef

# A table without capacity for longer is unavailable; its results wait in the ledger.
_PATIENCE_S = 5.0
_IMPLICIT = "dynamodb"
# The code for a bad item, and for a table whose keys are not `pk` and `sk`.
_INVALID = "ValidationException"
_KEY_MISMATCH = ("does not match the schema", "Type mismatch for key", "Missing the key")
_REMEDIES: Final = {
    "ResourceNotFoundException": NO_TABLE,
    "AccessDeniedException": "Allow the receiver's credentials dynamodb:BatchWriteItem and "
    "dynamodb:DescribeTable on the table.",
    "UnrecognizedClientException": "Check the receiver's AWS credentials.",
    "ExpiredTokenException": "Renew the receiver's AWS credentials.",
}
_LATER = "Its results wait in the ledger and are delivered once it can."


class DynamoOptions(SinkOptions):
    """A DynamoDB table that gets the result of each job as an item."""

    kind: Literal["dynamodb"] = Field(description="A DynamoDB table.")
    table: str = Field(min_length=1, max_length=1024, description="The table's name or ARN.")
    region: str | None = Field(
        None, min_length=1, description="Its region; by default AWS_REGION of the receiver."
    )
    attributes: dict[str, Any] = Field(
        default_factory=dict,
        max_length=100,
        description="More attributes of the items: constants, templates, or cases, such as "
        "{media_id: '{metadata.media_id}'}.",
    )

    @field_validator("attributes")
    @classmethod
    def _values(cls, attributes: dict[str, Any]) -> dict[str, Any]:
        for name, given in attributes.items():
            if name in {"pk", "sk"}:
                raise ValueError(f"{name} is part of the key and cannot be replaced")
            try:
                parse_value(given)
            except ValueError as error:
                raise ValueError(f"attribute {name}: {error}") from None
        return attributes

    @cached_property
    def attribute_values(self) -> Mapping[str, Value]:
        """The parsed values of `attributes`."""
        return {name: parse_value(given) for name, given in self.attributes.items()}

    def open(self) -> "DynamoSink":
        """Make the sink. It connects when it is used."""
        return DynamoSink(self)


def implicit_sink(settings: Settings) -> DynamoOptions | None:
    """The sink that ITTYBATCH_DYNAMODB_TABLE declares, which needs no file; None without it."""
    if settings.dynamodb_table is None:
        return None
    return DynamoOptions(name=_IMPLICIT, kind="dynamodb", table=settings.dynamodb_table)


class DynamoSink:
    """Writes results to a table as items. A job is one item, however often it is written."""

    wants_raw = False

    def __init__(self, options: DynamoOptions) -> None:
        self._options = options
        self._client: DynamoDBClient | None = None

    @property
    def name(self) -> str:
        """Its name in `results.yaml`."""
        return self._options.name

    def deliver(self, results: Sequence[Result]) -> Sequence[Outcome]:
        """Write results to the table. Jobs that Ittybit never had have no key, and are left out.

        Raises:
            SinkUnavailable: The table cannot be used, or has no capacity.
        """
        errors: dict[int, str | None] = {}
        # DynamoDB refuses a request with the same key twice: the last result of a job counts.
        items: dict[tuple[str, str], dict[str, Any]] = {}
        sources: dict[tuple[str, str], list[int]] = {}
        for result in results:
            errors[result.outbox_id] = None
            if result.task_id is None or not self._options.wants(result):
                continue
            try:
                item = item_of(result, self._options.attribute_values)
            except ValueError as error:
                errors[result.outbox_id] = f"Not written: {error}."
                continue
            key = (item["pk"]["S"], item["sk"]["S"])
            items[key] = item
            sources.setdefault(key, []).append(result.outbox_id)
        keys = list(items)
        ends_at = time.monotonic() + GROUP_S
        for start in range(0, len(keys), GROUP):
            if time.monotonic() > ends_at:
                late = {number for key in keys[start:] for number in sources[key]}
                errors = {number: errors[number] for number in errors if number not in late}
                break
            some = keys[start : start + GROUP]
            for key, refusal in self._write({key: items[key] for key in some}).items():
                errors |= dict.fromkeys(sources[key], refusal)
        return [Outcome(number, error) for number, error in errors.items()]

    def check(self) -> str | None:
        """Say what is wrong with the table; None if it has the keys `pk` and `sk`."""
        try:
            table = self._open().describe_table(TableName=self._options.table)["Table"]
        except SinkUnavailable as error:
            return str(error)
        except ClientError as error:
            # Writing needs no right to describe the table.
            if error_code(error) == "AccessDeniedException":
                return None
            return str(self._unavailable(error))
        except BotoCoreError as error:
            return str(self._unreachable(error))
        types = {
            each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]
        }
        keys = [
            (each["AttributeName"], types[each["AttributeName"]]) for each in table["KeySchema"]
        ]
        if keys != [("pk", "S"), ("sk", "S")]:
            return f"The DynamoDB table {self._options.table} has other keys. {NO_TABLE}"
        return None

    def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _open(self) -> "DynamoDBClient":
        if self._client is None:
            try:
                client = aws_client("dynamodb", region=self._options.region)
            except SourceError as error:
                raise SinkUnavailable(
                    f"The DynamoDB table {self._options.table} cannot be reached: {error.message}",
                    remedy=error.remedy,
                ) from error
            self._client = cast("DynamoDBClient", client)
        return self._client

    def _write(
        self, items: "Mapping[tuple[str, str], dict[str, AttributeValueTypeDef]]"
    ) -> dict[tuple[str, str], str]:
        """Write up to 25 items, and return why some were refused, by their key."""
        try:
            self._put([{"PutRequest": {"Item": item}} for item in items.values()])
        except ClientError as error:
            if not _is_refusal(error):
                raise self._unavailable(error) from error
            if len(items) == 1:
                return dict.fromkeys(items, f"Refused: {error_message(error)}.")
        except BotoCoreError as error:
            raise self._unreachable(error) from error
        else:
            return {}
        # One bad item fails the whole request, so each gets one of its own.
        refused: dict[tuple[str, str], str] = {}
        for key, item in items.items():
            refused |= self._write({key: item})
        return refused

    def _put(self, requests: "Sequence[WriteRequestTypeDef]") -> None:
        try:
            batch_write(self._open(), self._options.table, requests, patience_s=_PATIENCE_S)
        except NoCapacity as error:
            raise SinkUnavailable(
                f"The DynamoDB table {self._options.table} had no capacity for {_PATIENCE_S:g} s.",
                remedy=f"Raise its capacity. {_LATER}",
            ) from error

    def _unavailable(self, error: ClientError) -> SinkUnavailable:
        code = error_code(error)
        remedy = NO_TABLE if code == _INVALID else _REMEDIES.get(code, "")
        return SinkUnavailable(
            describe_failure(self._options.table, error),
            remedy=f"{remedy} {_LATER}".strip(),
        )

    def _unreachable(self, error: BotoCoreError) -> SinkUnavailable:
        return SinkUnavailable(
            describe_failure(self._options.table, error),
            remedy=f"Check the network, the AWS credentials and AWS_REGION. {_LATER}",
        )


def _is_refusal(error: ClientError) -> bool:
    message = error_message(error)
    return error_code(error) == _INVALID and not any(part in message for part in _KEY_MISMATCH)
