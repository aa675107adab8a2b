"""The example intake of a stack, and the user's own."""

from pathlib import Path

import pytest

from ittybatch.errors import IttybatchError
from ittybatch.intake.declaration import load_declared
from ittybatch.settings import CHECKOUT, Settings
from ittybatch_local.intake import EXAMPLE_BUCKET, INTAKE_NAME, choose_intake

OWN = "tables:\n  - table: films\n    url_column: address\n    profile: web\n"


def test_a_stack_declares_an_example(tmp_path: Path) -> None:
    """It can be used with the shipped profiles, and is its owner's alone."""
    settings = Settings(intake_file=CHECKOUT / "deployments" / "intake.yaml")
    path = choose_intake(tmp_path, settings)
    assert path == tmp_path / INTAKE_NAME
    declared = load_declared(path, settings.profiles_dir)
    assert {each.bucket for each in declared.buckets} == {EXAMPLE_BUCKET}
    assert declared.uploads is not None
    assert declared.table("public", "jobs") is not None
    assert path.stat().st_mode & 0o077 == 0


def test_what_the_user_has_declared_is_used(tmp_path: Path) -> None:
    """And no example is written."""
    own = tmp_path / "own.yaml"
    own.write_text(OWN)
    home = tmp_path / "home"
    home.mkdir()
    assert choose_intake(home, Settings(intake_file=own)) == own
    assert list(home.iterdir()) == []


def test_a_mistake_of_the_user_is_not_hidden_by_the_example(tmp_path: Path) -> None:
    """The stack does not start, and the message names the line."""
    own = tmp_path / "own.yaml"
    own.write_text("tables:\n  - table: films\n    colour: red\n")
    with pytest.raises(IttybatchError, match=r"own.yaml has"):
        choose_intake(tmp_path, Settings(intake_file=own))
