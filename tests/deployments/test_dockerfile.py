"""The Dockerfile copies what the program looks for, and nothing else."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from ittybatch import __version__
from ittybatch.settings import CHECKOUT
from tests.deployments.files import DEPLOYMENTS


def test_the_image_copies_what_exists_and_is_not_ignored() -> None:
    """Each source of a COPY is in the checkout, and .dockerignore lets it through."""
    dockerfile = (DEPLOYMENTS / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", dockerfile, re.MULTILINE)
    assert {"requirements.txt", "prefect.yaml", "ittybatch"} <= set(copied)
    let_through = {
        line.removeprefix("!")
        for line in (CHECKOUT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert set(copied) == let_through
    assert all((CHECKOUT / each).exists() for each in copied)
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER \d+$", dockerfile, re.MULTILINE)


def test_the_image_holds_what_the_program_looks_for_beside_itself() -> None:
    """prefect.yaml, the automations and the profiles, at the places they have in a checkout."""
    dockerfile = (DEPLOYMENTS / "Dockerfile").read_text()
    for source, target in re.findall(r"^COPY (?!--from)(\S+) (/opt\S+)$", dockerfile, re.MULTILINE):
        assert target == f"/opt/ittybatch/{source}"


def test_the_image_has_the_metadata_of_this_version() -> None:
    """An entry point is found through it alone: Prefect's blocks are."""
    dockerfile = (DEPLOYMENTS / "Dockerfile").read_text()
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert f"/ittybatch-{__version__}.dist-info" in dockerfile
    assert f"Name: ittybatch\\nVersion: {__version__}\\n" in dockerfile
    for group, entries in project["entry-points"].items():
        lines = "".join(f"{name} = {target}\\n" for name, target in entries.items())
        assert f"'[{group}]\\n{lines}' > \"$about/entry_points.txt\"" in dockerfile


def test_hadolint_finds_nothing() -> None:
    """Its rules are those of the field for Dockerfiles."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, DEPLOYMENTS / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
