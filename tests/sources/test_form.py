"""The JSON schemas that Prefect makes its run form of."""

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from ittybatch.engine.options import BatchOptions
from ittybatch.sources import (
    BucketSource,
    FailedJobsSource,
    InventorySource,
    ManifestSource,
    QueueSource,
    RequestsSource,
    Source,
    SqlSource,
)

TABS: list[type[BaseModel]] = [
    BucketSource,
    ManifestSource,
    InventorySource,
    SqlSource,
    QueueSource,
    FailedJobsSource,
    # Nobody chooses it: Prefect would refuse the run of a day's requests without it.
    RequestsSource,
]
WRITTEN_IN = [model for model in TABS if model is not RequestsSource]
MODELS = [*TABS, BatchOptions]
QUEUE = "https://sqs.eu-west-1.amazonaws.com/1/uploads"


def _fields(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    return fields


def test_sources_are_tabs() -> None:
    """The form makes tabs of `anyOf`, and a field for JSON of anything else."""
    schema = TypeAdapter(Source).json_schema()
    tabs = [each["$ref"].rpartition("/")[2] for each in schema["anyOf"]]
    assert tabs == [model.__name__ for model in TABS]
    assert not {"oneOf", "discriminator"} & set(schema)


@pytest.mark.parametrize("model", MODELS)
def test_no_field_is_a_choice_between_text_and_none(model: type[BaseModel]) -> None:
    """Left empty, a field is not sent; its default is then the model's own."""
    for name, field in _fields(model).items():
        assert "type" in field or "anyOf" in field, name
        assert {"type": "null"} not in field.get("anyOf", []), name
        assert field.get("default", 0) is not None, name


@pytest.mark.parametrize("model", MODELS)
def test_fields_keep_their_order(model: type[BaseModel]) -> None:
    """What is needed comes first, and what cannot be changed last."""
    fields = sorted(_fields(model).items(), key=lambda item: item[1]["position"])
    given = [name for name, field in fields if "const" not in field]
    needed = model.model_json_schema().get("required", [])
    assert given[: len(needed)] == needed
    rest = given[len(needed) :]
    assert rest == [name for name in model.model_fields if name in rest]
    assert all("const" in field for _, field in fields[len(given) :])


@pytest.mark.parametrize(
    "value",
    [
        BucketSource(uri="s3://media/in/"),
        BucketSource(uri="s3://media/in/", since_last_scan=True),
        ManifestSource(uri="s3://media/list.csv"),
        InventorySource(manifest_uri="s3://inv/manifest.json"),
        SqlSource(database="LIBRARY_URL", query="SELECT 1 AS input"),
        QueueSource(queue_url=QUEUE, uri="s3://media/in/"),
        FailedJobsSource(batch="latest"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("unset", [False, True])
def test_the_form_opens_on_the_tab_of_its_value(value: BaseModel, *, unset: bool) -> None:
    """It looks for the tab that knows most of a value's names, the first of equals."""
    names = set(value.model_dump(mode="json", exclude_none=True, exclude_unset=unset)) | {"type"}
    if isinstance(value, ManifestSource):
        names.add("format")
    assert _tab_of(names) is type(value)


@pytest.mark.parametrize("model", WRITTEN_IN)
def test_a_tab_stays_whatever_is_written_in_it_and_emptied_again(model: type[BaseModel]) -> None:
    """A tab begins with the defaults of its schema, and sends no field that is empty."""
    fields = _fields(model)
    begins = {name for name, field in fields.items() if "default" in field}
    assert _tab_of(begins) is model
    assert _tab_of(begins - set(model.model_json_schema()["required"])) is model
    for name, field in fields.items():
        if "const" not in field:
            assert _tab_of(begins | {name}) is model, name
            assert _tab_of(begins - {name}) is model, name


@pytest.mark.parametrize("model", WRITTEN_IN)
def test_a_field_that_is_needed_is_not_taken_empty(model: type[BaseModel]) -> None:
    """Though the form may begin with an empty text in it."""
    schema = model.model_json_schema()
    for name in schema["required"]:
        if "default" in schema["properties"][name]:
            assert schema["properties"][name]["default"] == ""
            assert schema["properties"][name]["minLength"] >= 1


def _tab_of(names: set[str]) -> type[BaseModel]:
    """The tab that the form takes a value to be of."""
    known = [len(names & set(_fields(model))) for model in TABS]
    return TABS[known.index(max(known))]


def test_a_size_is_text_with_a_unit_or_a_number_of_bytes() -> None:
    """As the model takes it."""
    kinds = {each["type"] for each in _fields(BucketSource)["min_size"]["anyOf"]}
    assert kinds == {"string", "integer"}
    for value in ("10MB", 10_000_000):
        source = BucketSource.model_validate({"uri": "s3://media/", "min_size": value})
        assert source.min_size == 10_000_000
