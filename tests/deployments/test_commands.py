"""What the containers run exists, in images that are pinned."""

import re

import pytest

from ittybatch import __version__
from ittybatch.cli.app import app
from ittybatch.engine.work_pools import WORK_POOL
from tests.deployments.files import DEPLOYMENTS, command_lines, compose, containers, manifests

IMAGE = f"ittybatch:{__version__}"


@pytest.mark.parametrize("line", command_lines(), ids=" ".join)
def test_a_container_runs_a_command_that_exists(line: list[str]) -> None:
    """Our own commands are understood whole; Prefect's are the two that we rely on."""
    if line[0] == "ittybatch":
        app.parse_args(line[1:], exit_on_error=False, print_error=False)
    else:
        assert line[:3] in (["prefect", "server", "start"], ["prefect", "worker", "start"])


def test_workers_take_from_our_pool_without_a_limit_of_their_own() -> None:
    """A limit of the worker crashes it when a run is resumed at once."""
    workers = [line for line in command_lines() if line[:2] == ["prefect", "worker"]]
    assert len(workers) == 2
    for line in workers:
        assert line[line.index("--pool") + 1] == WORK_POOL
        assert not any(word.startswith(("--limit", "-l")) for word in line)
        assert "--no-create-pool-if-not-found" in line


def test_every_image_is_pinned() -> None:
    """Ours by this version, others by a tag that names one."""
    images = {each["image"] for each in containers()}
    images |= {each["image"] for each in compose()["services"].values() if "image" in each}
    assert IMAGE in images
    for image in images:
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+[\w.-]*", image), image
    dockerfile = (DEPLOYMENTS / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"python:3.11-slim"}
    (kustomization,) = [each for each in manifests() if each["kind"] == "Kustomization"]
    assert kustomization["images"] == [{"name": "ittybatch", "newTag": __version__}]
