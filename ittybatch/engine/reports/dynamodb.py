"""Write ended jobs to a DynamoDB table with the layout of Ittybit's AWS guide.

`pk` is the source's key, `sk` is `task#<id>`, and times are in milliseconds. A job is one item,
even if it is written several times. It replaces the item that the guide's webhook Lambda wrote,
with the same attributes and more. The sink `ittybatch.sinks.dynamodb` writes the same items as jobs
end; this is for batches of earlier times.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.engine.reports.batch_write import (
    GROUP,
    NO_TABLE,
    NoCapacity,
    batch_write,
    describe_failure,
    error_code,
)
from ittybatch.engine.reports.dynamodb_item import guide_values
from ittybatch.engine.reports.tally import Tally
from ittybatch.errors import IttybatchError
from ittybatch.ledger.results import Result
from ittybatch.sources import SourceError
from ittybatch.sources.s3 import aws_client

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, WriteRequestTypeDef

_PATIENCE_S = 120.0
_REMEDIES = {
    "ResourceNotFoundException": NO_TABLE,
    "ValidationException": NO_TABLE,
    "AccessDeniedException": "Allow these credentials dynamodb:BatchWriteItem on the table.",
}


class TableUnavailable(IttybatchError):
    """Jobs could not be written to DynamoDB. Written items stay; writing them again is safe."""


class DynamoTable:
    """Writes ended jobs to a table.

    Args:
        client: The DynamoDB client.
        table: The table's name or ARN.
        batch: Id of the jobs' batch.
        patience_s: Seconds to keep retrying while the table has no capacity.
    """

    def __init__(
        self, client: "DynamoDBClient", table: str, batch: str, *, patience_s: float = _PATIENCE_S
    ) -> None:
        self.written = 0
        self._client = client
        self._table = table
        self._batch = batch
        self._patience_s = patience_s
        self._pending: dict[tuple[str, str], WriteRequestTypeDef] = {}

    def add(self, rows: Sequence[Result]) -> None:
        """Write the jobs that have ended and have an id at Ittybit.

        Raises:
            TableUnavailable: The table refused items, or had no capacity for too long.
        """
        for row in rows:
            if row.task_id is None or not row.state.terminal:
                continue
            item = _item(row, self._batch)
            # DynamoDB refuses a group with a duplicate key, so keep only the last item.
            request: WriteRequestTypeDef = {"PutRequest": {"Item": item}}
            self._pending[item["pk"]["S"], item["sk"]["S"]] = request
            if len(self._pending) == GROUP:
                self._write()

    def end(self, tally: Tally) -> None:
        """Write the remaining jobs.

        Raises:
            TableUnavailable: As for `add`.
        """
        del tally
        if self._pending:
            self._write()

    def _write(self) -> None:
        count = len(self._pending)
        requests = list(self._pending.values())
        self._pending.clear()
        try:
            batch_write(self._client, self._table, requests, patience_s=self._patience_s)
        except NoCapacity as error:
            raise TableUnavailable(
                f"The DynamoDB table {self._table} had no capacity for {self._patience_s:g} s.",
                remedy=f"Raise its capacity, then: ittybatch report {self._batch} "
                f"--dynamodb {self._table}",
            ) from error
        except ClientError as error:
            raise TableUnavailable(
                describe_failure(self._table, error),
                remedy=_REMEDIES.get(error_code(error), "Try again later; written items stay."),
            ) from error
        except BotoCoreError as error:
            raise TableUnavailable(
                describe_failure(self._table, error),
                remedy="Check the network, the AWS credentials and AWS_REGION.",
            ) from error
        self.written += count


@contextmanager
def open_table(table: str, batch: str) -> Iterator[DynamoTable]:
    """Open a table for the jobs of one batch.

    Raises:
        TableUnavailable: The AWS configuration is unusable.
    """
    client = _client(table)
    try:
        yield DynamoTable(client, table, batch)
    finally:
        client.close()


def _item(row: Result, batch: str) -> "dict[str, AttributeValueTypeDef]":
    values = guide_values(
        row.input,
        str(row.task_id),
        row.submitted_at,
        row.completed_at,
        status=row.state.value,
        kind=row.kind,
        output_url=row.output_url,
        batch_id=batch,
        rendition=row.rendition,
        format=row.format,
        size_bytes=row.size_bytes,
        attempts=row.attempts,
        error_kind=row.error_kind,
        error_message=row.error_message,
    )
    return {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in values.items()
        if value is not None
    }


def _client(table: str) -> "DynamoDBClient":
    try:
        return cast("DynamoDBClient", aws_client("dynamodb"))
    except SourceError as error:
        raise TableUnavailable(
            f"The DynamoDB table {table} cannot be reached: {error.message}", remedy=error.remedy
        ) from error
