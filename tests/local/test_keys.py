"""The secrets of a home."""

import json
import stat
from pathlib import Path

import pytest

from ittybatch_local.errors import StackError
from ittybatch_local.keys import load_secrets, write_private


def test_secrets_are_made_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    """The same secrets at each start, in a private file."""
    secrets = load_secrets(tmp_path)
    assert load_secrets(tmp_path) == secrets
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert len(secrets.webhook_secret) == 64


def test_secrets_do_not_show_in_a_repr(tmp_path: Path) -> None:
    """A log line with the object contains no secret."""
    secrets = load_secrets(tmp_path)
    assert secrets.webhook_secret not in repr(secrets)
    assert secrets.database_password not in repr(secrets)
    assert secrets.prefect_auth not in repr(secrets)
    assert secrets.api_token not in repr(secrets)


def test_a_home_of_an_earlier_version_gets_what_it_lacks(tmp_path: Path) -> None:
    """Its other secrets stay, because its database needs them."""
    before = {"api_key": "a", "webhook_secret": "b", "database_password": "c"}
    (tmp_path / "secrets.json").write_text(json.dumps(before))
    secrets = load_secrets(tmp_path)
    assert (secrets.api_key, secrets.webhook_secret, secrets.database_password) == ("a", "b", "c")
    assert secrets.prefect_auth.startswith("admin:")
    assert len(secrets.api_token) == 32
    assert load_secrets(tmp_path) == secrets
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"api_key": "x"}'])
def test_damaged_secrets_are_refused(tmp_path: Path, content: str) -> None:
    """The database would refuse new ones."""
    (tmp_path / "secrets.json").write_text(content)
    with pytest.raises(StackError, match="does not contain this stack's secrets"):
        load_secrets(tmp_path)


def test_a_private_file_replaces_one_that_all_could_read(tmp_path: Path) -> None:
    """The mode is that of the new file."""
    path = tmp_path / "stack.env"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
