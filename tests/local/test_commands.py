"""The commands of the extra, as a user types them."""

import subprocess
import sys

import pytest

from ittybatch.cli.app import app
from ittybit_sandbox import WebhookDialect


@pytest.mark.parametrize("dialect", ["flat", "completed", "envelope"])
def test_up_and_sandbox_offer_every_dialect(dialect: str) -> None:
    """Each of the shapes that Ittybit's guides show."""
    for command in ("up", "sandbox"):
        _, bound, _ = app.parse_args([command, "--dialect", dialect], exit_on_error=False)
        assert bound.kwargs["dialect"] is WebhookDialect(dialect)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [(("--port", "99999"), 3, "--port"), (("--dialect", "nested"), 2, "nested")],
)
def test_an_impossible_option_is_named(
    arguments: tuple[str, ...], status: int, message: str
) -> None:
    """Without a traceback."""
    command = [sys.executable, "-m", "ittybatch", "sandbox", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
