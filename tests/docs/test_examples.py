"""What the documentation shows can be used as it stands."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from ittybatch.engine.options import BatchOptions
from ittybatch.engine.work_pools import declared_pools
from ittybatch.flows.run_batch import run_batch
from ittybatch.intake.declaration import load_declared
from ittybatch.profiles import load_profile
from ittybatch.project import CHECKOUT, PROFILES_DIR
from ittybatch.sinks.declared import read_sinks
from ittybatch.sinks.values import parse_value
from ittybatch.sources import ManifestSource, Source, read_pages
from tests.docs.pages import Fence, fences
from tests.docs.test_names import settings

SOURCES: TypeAdapter[Source] = TypeAdapter(Source)


def each(*languages: str, what: str | None = None) -> pytest.MarkDecorator:
    found = fences(*languages, what=what)
    assert found, f"no page shows a {what}"
    return pytest.mark.parametrize("fence", found, ids=str)


@each("yaml", "csv", "json", "jsonl")
def test_every_example_says_what_it_is(fence: Fence) -> None:
    """One that says nothing would be checked by nobody."""
    assert (fence.language, fence.what) in {
        ("yaml", "profile"),
        ("yaml", "source"),
        ("yaml", "options"),
        ("yaml", "sinks"),
        ("yaml", "columns"),
        ("yaml", "intake"),
        ("yaml", "pool"),
        ("csv", "manifest"),
        ("jsonl", "manifest"),
        ("json", "parameters"),
        ("json", "policy"),
        ("json", "answer"),
    }


@each("yaml", what="profile")
def test_a_profile_can_be_loaded(fence: Fence, tmp_path: Path) -> None:
    """Saved to a file, it is one that the program takes."""
    path = tmp_path / "example.yaml"
    path.write_text(fence.text, encoding="utf-8")
    assert load_profile(str(path), tmp_path).renditions


@each("yaml", what="source")
def test_a_source_can_be_read(fence: Fence) -> None:
    """As parameters of a deployment give it: every field is known, every value fits."""
    found = SOURCES.validate_python(yaml.safe_load(fence.text))
    assert found.type


@each("yaml", what="options")
def test_options_can_be_given(fence: Fence) -> None:
    """Every option is known, every value fits."""
    assert BatchOptions.model_validate(yaml.safe_load(fence.text)).model_fields_set


@each("yaml", what="sinks")
def test_sinks_can_be_declared(fence: Fence, tmp_path: Path) -> None:
    """Saved to a file, they are some that the program takes."""
    path = tmp_path / "results.yaml"
    path.write_text(fence.text, encoding="utf-8")
    assert read_sinks(path)


@each("yaml", what="columns")
def test_columns_can_be_written(fence: Fence) -> None:
    """Every value is one that a sink takes."""
    columns = yaml.safe_load(fence.text)
    assert all(parse_value(given) for given in columns.values())


@each("yaml", what="intake")
def test_an_intake_can_be_declared(fence: Fence, tmp_path: Path) -> None:
    """With the profiles that ship."""
    path = tmp_path / "intake.yaml"
    path.write_text(fence.text, encoding="utf-8")
    assert load_declared(path, CHECKOUT / PROFILES_DIR).model_fields_set


@each("yaml", what="pool")
def test_a_work_pool_can_be_declared(fence: Fence, tmp_path: Path) -> None:
    """Flow runs know each setting that its job variables set."""
    entry = yaml.safe_load(fence.text)
    path = tmp_path / "prefect.yaml"
    path.write_text(yaml.safe_dump({"deployments": [{"name": "nightly", **entry}]}))
    [pool] = declared_pools(path)
    assert (pool.name, pool.type) == (entry["work_pool"]["name"], "docker")
    assert set(entry["work_pool"]["job_variables"]["env"]) <= settings() | {"PREFECT_API_URL"}


@each("csv", "jsonl", what="manifest")
def test_a_manifest_has_no_bad_row(fence: Fence, tmp_path: Path) -> None:
    """Every row becomes an item."""
    path = tmp_path / f"example.{fence.language}"
    path.write_text(fence.text, encoding="utf-8")
    (page,) = read_pages(ManifestSource(uri=str(path)))
    assert page.rejects == []
    assert len(page.items) == len(fence.text.splitlines()) - (fence.language == "csv")


@each("json", what="parameters")
def test_parameters_start_a_batch(fence: Fence) -> None:
    """The flow itself takes them, every option by its name."""
    parameters = json.loads(fence.text)
    taken = run_batch.validate_parameters(parameters)
    assert set(parameters["options"]) == taken["options"].model_fields_set


@each("json", what="policy")
def test_a_policy_of_aws_is_whole(fence: Fence) -> None:
    """AWS refuses a statement without one of these."""
    policy = json.loads(fence.text)
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        assert {"Effect", "Action", "Resource"} <= set(statement)
