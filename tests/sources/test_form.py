"""The JSON schemas that Prefect makes its run form of."""

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from ittybatch.engine.options import BatchOptions
from ittybatch.sources import BucketSource, FailedJobsSource, ManifestSource, Source

MODELS: list[type[BaseModel]] = [BucketSource, ManifestSource, FailedJobsSource, BatchOptions]


def _fields(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    return fields


def test_sources_are_tabs() -> None:
    """The form makes tabs of `anyOf`, and a field for JSON of anything else."""
    schema = TypeAdapter(Source).json_schema()
    assert [each["$ref"].rpartition("/")[2] for each in schema["anyOf"]] == [
        "BucketSource",
        "ManifestSource",
        "FailedJobsSource",
    ]
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
    """What cannot be changed comes last."""
    fields = sorted(_fields(model).items(), key=lambda item: item[1]["position"])
    given = [name for name, field in fields if "const" not in field]
    assert given == [name for name in model.model_fields if name in given]
    assert all("const" in field for _, field in fields[len(given) :])


def test_a_manifest_is_told_from_a_bucket_by_its_names() -> None:
    """The form looks for the tab that knows most of a value's names, the first of equals."""
    manifest = ManifestSource(uri="s3://media/list.csv").model_dump(mode="json")
    known = [len(set(manifest) & set(_fields(model))) for model in MODELS[:3]]
    assert known.index(max(known)) == MODELS.index(ManifestSource)


def test_a_size_is_text_with_a_unit_or_a_number_of_bytes() -> None:
    """As the model takes it."""
    kinds = {each["type"] for each in _fields(BucketSource)["min_size"]["anyOf"]}
    assert kinds == {"string", "integer"}
    for value in ("10MB", 10_000_000):
        source = BucketSource.model_validate({"uri": "s3://media/", "min_size": value})
        assert source.min_size == 10_000_000
