"""What Prefect knows of the flows' parameters."""

import pytest

from ittybatch.flows.check_bucket import check_bucket
from ittybatch.flows.process_chunk import process_chunk
from ittybatch.flows.run_batch import run_batch
from ittybatch.flows.steer_batch import steer_batch
from ittybatch.flows.tidy_ledger import tidy_ledger


@pytest.mark.parametrize(
    "flow",
    [run_batch, process_chunk, steer_batch, tidy_ledger, check_bucket],
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


def test_the_profiles_there_are_are_named() -> None:
    """Nobody has to know the folder by heart."""
    profile = run_batch.parameters.model_dump()["properties"]["profile"]
    assert "`web`" in profile["description"]
    assert (profile["type"], profile["default"]) == ("string", "web")
