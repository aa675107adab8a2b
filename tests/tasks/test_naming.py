"""A batch's flow run is named for what it does."""

from typing import Any

import pytest

from ittybatch.engine.naming import source_name
from ittybatch.engine.options import BatchOptions
from ittybatch.sources import BucketSource
from ittybatch.tasks.labels import name_of

BUCKET = {"type": "bucket", "uri": "s3://media/uploads/"}


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"source": BUCKET, "profile": "web"}, "nightly: s3://media/uploads/, web"),
        (
            {"source": BUCKET, "profile": "web", "options": {"name": "Spring", "dry_run": True}},
            "Spring: s3://media/uploads/, web (dry run)",
        ),
        (
            {"source": {"type": "failed", "batch": "latest"}, "profile": "web"},
            "nightly: failed jobs of latest",
        ),
    ],
)
def test_the_name_says_which_source_and_profile(parameters: dict[str, Any], name: str) -> None:
    """Under the deployment's name, or the one that its starter gave."""
    assert name_of(parameters, "nightly") == name


def test_models_are_read_as_their_json_is() -> None:
    """A flow called in Python is given models."""
    source = BucketSource(uri="s3://media/uploads/")
    parameters = {"source": source, "profile": "web", "options": BatchOptions()}
    assert name_of(parameters, None) == "run-batch: s3://media/uploads/, web"


def test_a_long_source_is_cut_in_the_middle() -> None:
    """Its bucket and its last folder tell it from others."""
    uri = f"s3://media/{'deep/' * 30}uploads/"
    name = name_of({"source": {"type": "bucket", "uri": uri}, "profile": "web"}, "adhoc")
    assert name.startswith("adhoc: s3://media/")
    assert name.endswith("uploads/, web")
    assert len(name) < 80


@pytest.mark.parametrize("parameters", [{}, {"source": None}, {"source": "nonsense"}])
def test_parameters_that_are_none_still_have_a_name(parameters: dict[str, Any]) -> None:
    """What is wrong with them is told elsewhere."""
    assert name_of(parameters, "adhoc").startswith("adhoc: ")


def test_a_name_tells_no_secret() -> None:
    """The query of a manifest's address may sign it."""
    source = {"type": "manifest", "uri": "https://cdn.test/a.csv?X-Amz-Signature=abc"}
    assert source_name(source) == "https://cdn.test/a.csv"
