"""Results in a DynamoDB table, as jobs end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pydantic import ValidationError

from ittybatch.engine.reporting import table_output, write_report
from ittybatch.engine.reports import batch_write
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.settings import Settings
from ittybatch.sinks import dynamodb
from ittybatch.sinks.base import SinkUnavailable
from ittybatch.sinks.declared import declared_sinks
from ittybatch.sinks.dynamodb import DynamoOptions, DynamoSink
from tests.aws import create_table
from tests.engine.reports import mixed_batch
from tests.sinks.results import accepted, errors, failed, succeeded

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.service_resource import Table

Open: TypeAlias = Callable[..., DynamoSink]


@pytest.fixture
def open_dynamo() -> Iterator[Open]:
    """Opens sinks, and closes them."""
    opened: list[DynamoSink] = []

    def open_sink(table: str, **options: Any) -> DynamoSink:  # noqa: ANN401
        values = {"name": "results", "kind": "dynamodb", "table": table, **options}
        opened.append(DynamoOptions.model_validate(values).open())
        return opened[-1]

    yield open_sink
    for sink in opened:
        sink.close()


def items(table: "Table") -> list[dict[str, Any]]:
    """What the table holds."""
    return sorted(table.scan()["Items"], key=lambda item: str(item["sk"]))


def client_of(sink: DynamoSink) -> "DynamoDBClient":
    """The client that the sink uses."""
    return sink._open()


def test_a_result_is_the_item_of_the_guide(table: "Table", open_dynamo: Open) -> None:
    """By source and task, with times in milliseconds; attributes without a value are absent."""
    sink = open_dynamo(table.name)
    assert sink.check() is None
    assert errors(sink.deliver([succeeded(1), failed(2)])) == {1: None, 2: None}
    good, bad = items(table)
    assert {name: good[name] for name in ("pk", "sk", "status", "kind", "output_url")} == {
        "pk": "in/1.mov",
        "sk": "task#task-1",
        "status": "succeeded",
        "kind": "video",
        "output_url": "https://cdn.test/1.mp4",
    }
    assert (good["created_at"], good["completed_at"]) == (1_795_777_200_000, 1_795_777_204_500)
    assert good["duration_ms"] == 4500
    assert (bad["status"], bad["error_message"]) == ("failed", "no video stream")
    assert "output_url" not in bad


def test_it_is_the_item_that_the_report_writes(
    table: "Table", open_dynamo: Open, sqlite_url: str
) -> None:
    """`ittybatch report --dynamodb` fills the table with batches of earlier times."""
    ledger = Ledger(create_ledger_engine(sqlite_url))
    batch = mixed_batch(ledger)
    write_report(ledger, batch, [table_output(table.name, batch)])
    ledger.close()
    reported = next(item for item in items(table) if item["status"] == "succeeded")
    sink = open_dynamo(table.name)
    sink.deliver([succeeded(9)])
    [written] = [item for item in items(table) if item["sk"] == "task#task-9"]
    assert reported.keys() == written.keys()


def test_the_last_result_of_a_job_counts(table: "Table", open_dynamo: Open) -> None:
    """Also within one group, in which DynamoDB takes no key twice."""
    given = [accepted(1), succeeded(2, task_id="task-1", input_url="s3://media/in/1.mov")]
    assert errors(open_dynamo(table.name).deliver(given)) == {1: None, 2: None}
    assert [item["status"] for item in items(table)] == ["succeeded"]


def test_a_job_that_ittybit_never_had_is_left_out(table: "Table", open_dynamo: Open) -> None:
    """It has no id that could be its key."""
    assert errors(open_dynamo(table.name).deliver([failed(1, task_id=None)])) == {1: None}
    assert items(table) == []


def test_more_attributes_can_be_declared(table: "Table", open_dynamo: Open) -> None:
    """With the types that they have."""
    sink = open_dynamo(
        table.name,
        attributes={
            "media_id": "{metadata.media_id}",
            "details": "{metadata}",
            "seconds": "{duration_s}",
            "done": "{completed_at}",
            "ready": {"status": {"succeeded": True}},
            "missing": "{metadata.nothing}",
        },
    )
    sink.deliver([succeeded(1)])
    [item] = items(table)
    assert (item["media_id"], item["details"]) == ("m1", {"media_id": "m1"})
    assert (float(item["seconds"]), item["ready"]) == (124.5, True)
    assert item["done"] == "2026-11-27T11:00:04.500Z"
    assert "missing" not in item


def test_an_item_that_is_too_large_is_refused_alone(table: "Table", open_dynamo: Open) -> None:
    """DynamoDB would refuse the whole request."""
    sink = open_dynamo(table.name, attributes={"notes": "{metadata.notes}"})
    given = [succeeded(n) for n in range(30)]
    given[7] = succeeded(7, metadata={"notes": "é" * 205_000})
    given[9] = succeeded(9, metadata={"notes": 10**50})
    outcomes = errors(sink.deliver(given))
    assert {number for number, error in outcomes.items() if error} == {7, 9}
    assert "at most 409,600" in str(outcomes[7])
    assert "no type for the value of notes" in str(outcomes[9])
    assert len(items(table)) == 28


def test_an_item_that_dynamodb_refuses_is_refused_alone(table: "Table", open_dynamo: Open) -> None:
    """One bad item fails a request of 25."""
    given = [succeeded(n) for n in range(30)]
    given[3] = succeeded(3, input_url="https://")
    outcomes = errors(open_dynamo(table.name).deliver(given))
    assert {number for number, error in outcomes.items() if error} == {3}
    assert len(items(table)) == 29


def test_what_was_not_processed_is_sent_again(
    table: "Table", open_dynamo: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy table takes part of a request."""
    monkeypatch.setattr(batch_write, "_FIRST_WAIT_S", 0.001)
    held: list[dict[str, Any]] = []

    def half(params: dict[str, Any], **_: object) -> None:
        [(name, requests)] = params["RequestItems"].items()
        if len(requests) > 3:
            params["RequestItems"] = {name: requests[: len(requests) // 2]}
            held.append({name: requests[len(requests) // 2 :]})

    def give_back(parsed: dict[str, Any], **_: object) -> None:
        if held:
            parsed["UnprocessedItems"] = held.pop()

    sink = open_dynamo(table.name)
    events = client_of(sink).meta.events
    events.register("provide-client-params.dynamodb.BatchWriteItem", half)
    events.register("after-call.dynamodb.BatchWriteItem", give_back)
    assert set(errors(sink.deliver([succeeded(n) for n in range(60)])).values()) == {None}
    assert len(items(table)) == 60


def test_what_a_group_has_no_time_for_waits(
    table: "Table", open_dynamo: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group begins nothing at the end of its time, which is less than the sink's lease."""
    sink = open_dynamo(table.name)
    given = [succeeded(1), succeeded(2, task_id=None)]
    monkeypatch.setattr(dynamodb, "GROUP_S", -1.0)
    assert errors(sink.deliver(given)) == {2: None}
    assert items(table) == []
    monkeypatch.setattr(dynamodb, "GROUP_S", 10.0)
    assert errors(sink.deliver(given)) == {1: None, 2: None}


def test_a_table_without_capacity_is_unavailable(
    table: "Table", open_dynamo: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its results wait in the ledger."""
    monkeypatch.setattr(batch_write, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(dynamodb, "_PATIENCE_S", 0.01)

    sink = open_dynamo(table.name)
    monkeypatch.setattr(
        client_of(sink),
        "batch_write_item",
        lambda **_: {
            "UnprocessedItems": {table.name: [{"PutRequest": {"Item": {"pk": {"S": "a"}}}}]}
        },
    )
    with pytest.raises(SinkUnavailable, match="no capacity"):
        sink.deliver([succeeded()])


@pytest.mark.usefixtures("aws", "aws_region")
def test_a_table_that_is_missing_is_unavailable(open_dynamo: Open) -> None:
    """With how to make it."""
    sink = open_dynamo("no-such-table")
    assert "partition key `pk` and sort key `sk`" in str(sink.check())
    with pytest.raises(SinkUnavailable, match="partition key `pk` and sort key `sk`"):
        sink.deliver([succeeded()])


@pytest.mark.usefixtures("aws", "aws_region")
def test_a_table_with_other_keys_refuses_no_result(open_dynamo: Open) -> None:
    """All results would be refused; they wait for the right table."""
    other = create_table("source", "task")
    sink = open_dynamo(other.name)
    assert "other keys" in str(sink.check())
    with pytest.raises(SinkUnavailable, match="partition key `pk`"):
        sink.deliver([succeeded(1), succeeded(2)])
    other.meta.client.close()


def test_an_unreachable_service_is_unavailable(
    table: "Table", open_dynamo: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an unexpected error."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    sink = open_dynamo(table.name)
    with pytest.raises(SinkUnavailable, match="cannot be reached"):
        sink.deliver([succeeded()])
    assert "cannot be reached" in str(sink.check())


def test_the_setting_declares_a_sink_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has existed before there were sinks; a declared one of that name replaces it."""
    path = tmp_path / "results.yaml"
    path.write_text("# nothing\n")
    monkeypatch.setenv("ITTYBATCH_RESULTS_FILE", str(path))
    assert declared_sinks(Settings()) == []
    monkeypatch.setenv("ITTYBATCH_DYNAMODB_TABLE", "media-results")
    [sink] = declared_sinks(Settings())
    assert isinstance(sink, DynamoOptions)
    assert (sink.name, sink.table, sink.on_accepted) == ("dynamodb", "media-results", False)
    path.write_text("sinks:\n  - {name: dynamodb, kind: dynamodb, table: other}\n")
    [declared] = declared_sinks(Settings())
    assert isinstance(declared, DynamoOptions)
    assert declared.table == "other"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"pk": "{job_id}"}, "pk is part of the key"),
        ({"media": "{metdata.id}"}, "attribute media: {metdata.id} is not a field"),
    ],
)
def test_attributes_are_checked_when_the_file_is_read(
    attributes: dict[str, Any], message: str
) -> None:
    """And not when the first job ends."""
    with pytest.raises(ValidationError) as caught:
        DynamoOptions(name="a", kind="dynamodb", table="t", attributes=attributes)
    assert message in str(caught.value)
