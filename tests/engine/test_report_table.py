"""Jobs in a DynamoDB table: the guide's layout, once each, and all of them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from boto3.dynamodb.conditions import Key
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from ittybatch.engine.reporting import table_output, write_report
from ittybatch.engine.reports import batch_write
from ittybatch.engine.reports.dynamodb import DynamoTable, TableUnavailable
from ittybatch.engine.reports.dynamodb_item import partition_key
from ittybatch.engine.reports.tally import Tally
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.results import Result, result_pages
from tests.engine.reports import mixed_batch, output, settled_batch

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """One database is enough where the ledger has no part in it."""
    opened = Ledger(create_ledger_engine(sqlite_url))
    yield opened
    opened.close()


def sent(ledger: Ledger, batch: str, table: "Table") -> list[dict[str, Any]]:
    """What a table holds after a batch was written to it."""
    write_report(ledger, batch, [table_output(table.name, batch)])
    return sorted(table.scan()["Items"], key=lambda item: str(item["sk"]))


def test_a_job_is_laid_out_as_in_the_guide(ledger: Ledger, table: "Table") -> None:
    """By source and task, with times in milliseconds; more stands beside it."""
    good, bad = sent(ledger, mixed_batch(ledger), table)
    assert (good["pk"], good["sk"]) == ("a.mov", "task#task-0")
    assert (good["status"], good["kind"]) == ("succeeded", "video")
    assert good["output_url"] == "https://cdn.test/out.mp4"
    assert good["completed_at"] == 1_795_219_200_000
    assert good["created_at"] > 1_700_000_000_000
    assert good["duration_ms"] == max(0, good["completed_at"] - good["created_at"])
    assert (good["rendition"], good["size_bytes"], good["attempts"]) == ("sd", 1000, 1)
    assert (bad["pk"], bad["status"]) == ("=cmd()|x.mov", "failed")
    assert bad["error_kind"] == "invalid_input"
    assert "output_url" not in bad


def test_all_jobs_of_a_source_are_found_by_its_key(ledger: Ledger, table: "Table") -> None:
    """That is what the table is for."""
    sent(ledger, mixed_batch(ledger), table)
    found = table.query(KeyConditionExpression=Key("pk").eq("a.mov"))["Items"]
    assert [item["sk"] for item in found] == ["task#task-0"]


def test_what_is_written_again_changes_nothing(ledger: Ledger, table: "Table") -> None:
    """A leg may run twice, and a command be given twice."""
    batch = mixed_batch(ledger)
    assert sent(ledger, batch, table) == sent(ledger, batch, table)


def test_every_job_arrives_though_the_table_is_busy(
    ledger: Ledger, table: "Table", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not processed is sent again until it is, with a pause."""
    batch = settled_batch(ledger, {f"{n}.mov": output(f"https://c.test/{n}") for n in range(60)})
    monkeypatch.setattr(batch_write, "_FIRST_WAIT_S", 0.001)
    client = boto3.client("dynamodb")
    groups: list[int] = []

    def half(params: dict[str, Any], **_: object) -> None:
        """Hand the server only half of a large group, as one without capacity takes it."""
        [(name, requests)] = params["RequestItems"].items()
        groups.append(len(requests))
        if len(requests) > 3:
            params["RequestItems"] = {name: requests[: len(requests) // 2]}
            held.append({name: requests[len(requests) // 2 :]})

    def give_back(parsed: dict[str, Any], **_: object) -> None:
        if held:
            parsed["UnprocessedItems"] = held.pop()

    held: list[dict[str, Any]] = []
    client.meta.events.register("provide-client-params.dynamodb.BatchWriteItem", half)
    client.meta.events.register("after-call.dynamodb.BatchWriteItem", give_back)
    writer = DynamoTable(client, table.name, batch)
    for page in result_pages(ledger, batch):
        writer.add(page)
    writer.end(Tally())
    assert len(table.scan()["Items"]) == writer.written == 60
    assert max(groups) == 25
    assert len(groups) > 3
    client.close()


def test_a_table_without_capacity_is_given_up_with_the_command(
    ledger: Ledger, table: "Table", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written stays; all of it may be written again."""
    batch = mixed_batch(ledger)
    monkeypatch.setattr(batch_write, "_FIRST_WAIT_S", 0.001)
    client = boto3.client("dynamodb")

    def refuse(request: object, **_: object) -> AWSResponse:
        del request
        return AWSResponse("http://x", 200, HTTPHeaders(), _Body(kept))

    kept = b'{"UnprocessedItems": {"t": [{"PutRequest": {"Item": {"pk": {"S": "a"}}}}]}}'
    # The stubs say that handlers give nothing; one of `before-send` gives the answer.
    client.meta.events.register("before-send.dynamodb.BatchWriteItem", cast("Any", refuse))
    writer = DynamoTable(client, table.name, batch, patience_s=0.01)
    for page in result_pages(ledger, batch):
        writer.add(page)
    with pytest.raises(TableUnavailable, match=f"ittybatch report {batch} --dynamodb"):
        writer.end(Tally())
    client.close()


class _Body:
    """The raw answer that botocore reads."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> list[bytes]:
        return [self._content]


def test_the_same_job_twice_in_a_group_is_one(ledger: Ledger, table: "Table") -> None:
    """DynamoDB refuses a group that names an item twice."""
    batch = mixed_batch(ledger)
    rows: list[Result] = [row for page in result_pages(ledger, batch) for row in page]
    client = boto3.client("dynamodb")
    writer = DynamoTable(client, table.name, batch)
    writer.add([rows[0], replace(rows[0], attempts=2), rows[1]])
    writer.end(Tally())
    assert [item["attempts"] for item in table.scan()["Items"] if item["pk"] == "a.mov"] == [2]
    client.close()


@pytest.mark.usefixtures("aws", "aws_region")
def test_a_table_that_is_not_there_is_told(ledger: Ledger) -> None:
    """With how to make it."""
    batch = mixed_batch(ledger)
    with pytest.raises(TableUnavailable, match="partition key `pk` and sort key `sk`"):
        write_report(ledger, batch, [table_output("no-such-table", batch)])


@pytest.mark.usefixtures("aws", "aws_region")
def test_the_endpoint_is_https_or_this_machine(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever listens learns the library's names."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:8000")
    batch = mixed_batch(ledger)
    with pytest.raises(TableUnavailable, match="not HTTPS"):
        write_report(ledger, batch, [table_output("jobs", batch)])


def test_a_source_is_known_by_its_key() -> None:
    """The one of the metadata; without one by its host, and one that is too long by its hash."""
    assert partition_key("s3://media/in/a b.mov") == "in/a b.mov"
    assert partition_key("https://cdn.test/in/a%20b.mov?sig=1") == "in/a b.mov"
    assert partition_key("https://cdn.test/") == "cdn.test"
    first, second = (partition_key(f"https://cdn.test/{'é' * 2000}{n}") for n in (1, 2))
    assert first != second
    assert max(len(first.encode()), len(second.encode())) <= 2048
