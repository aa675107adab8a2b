"""What Prefect knows of the flows' parameters."""

import pytest
from prefect.utilities.schema_tools.validation import validate

from ittybatch.flows.adopt_batch import adopt_batch
from ittybatch.flows.check_bucket import check_bucket
from ittybatch.flows.process_chunk import process_chunk
from ittybatch.flows.run_batch import run_batch
from ittybatch.flows.steer_batch import steer_batch
from ittybatch.flows.tidy_ledger import tidy_ledger


@pytest.mark.parametrize(
    "flow",
    [run_batch, process_chunk, steer_batch, adopt_batch, tidy_ledger, check_bucket],
    ids=lambda f: f.name,
)
def test_every_parameter_has_a_title_and_a_description(flow: object) -> None:
    """The run form shows both."""
    schema = flow.parameters.model_dump()  # type: ignore[attr-defined]
    for name, parameter in schema["properties"].items():
        definition = parameter.get("$ref", "").rpartition("/")[2]
        shown = {**schema["definitions"].get(definition, {}), **parameter}
        assert shown["title"] != name
        assert shown["description"]


def test_runs_that_only_the_receiver_starts_are_accepted_and_marked_in_the_form() -> None:
    """Prefect checks them by the form's schema, so the form cannot leave their tab out."""
    schema = run_batch.parameters.model_dump()
    source = {"type": "requests", "day": "2026-01-31", "digest": "0" * 16}
    assert validate({"source": source}, schema, preprocess=True) == []
    [tab] = [
        each
        for each in schema["definitions"].values()
        if each.get("properties", {}).get("type", {}).get("const") == "requests"
    ]
    assert tab["title"] == "Requests (receiver only)"
    assert "one started here is refused" in tab["properties"]["day"]["description"]


def test_the_profiles_there_are_are_named() -> None:
    """As a list, beside a tab for any other name."""
    profile = run_batch.parameters.model_dump()["properties"]["profile"]
    listed, other = profile["anyOf"]
    assert "web" in listed["enum"]
    assert (other["type"], profile["default"]) == ("string", "web")


@pytest.mark.parametrize(
    "options",
    [
        {"approve_above_jobs": 5},
        {"go_on_with": "20260131-020000-abcdef"},
        {"skip_standing": True},
        {"skip_existing": True, "chunk_size": 10},
    ],
)
def test_options_that_the_form_does_not_show_are_accepted(options: dict[str, object]) -> None:
    """By Prefect's API, which checks them by the same schema as the form."""
    parameters = {"source": {"type": "bucket", "uri": "s3://media/in/"}, "options": options}
    schema = run_batch.parameters.model_dump()
    assert validate(parameters, schema, preprocess=True) == []
    wrong = {**parameters, "options": {**options, "chunk_sise": 5}}
    assert validate(wrong, schema, preprocess=True)
