"""Every command that the documentation names is one that the program has."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from ittybatch.cli.app import app
from ittybatch.flows.run_batch import run_batch
from ittybatch.settings import CHECKOUT
from tests.docs.pages import PAGES, fences, spans

# A sentence may name a command alone, without what it is about.
_ABOUT_SOMETHING = {"plan", "run", "jobs", "failures", "report", "retry", "resume", "cancel"}


def shown(program: str) -> list[str]:
    """Command lines of shell blocks, and code spans that read like one."""
    lines = [line.strip() for fence in fences("sh") for line in fence.text.splitlines()]
    lines += [span for page in PAGES for span in spans(page)]
    return sorted({line for line in lines if re.match(rf"{program} [a-z]", line)})


@pytest.mark.parametrize("line", shown("ittybatch"))
def test_an_ittybatch_command_can_be_given_like_this(line: str) -> None:
    """Command, arguments and options are all understood."""
    words = ["8" if word == "N" else word for word in shlex.split(line)[1:]]
    if len(words) == 1 and words[0] in _ABOUT_SOMETHING:
        words.append("latest")
    if words[-1] == "--concurrency":
        words.append("8")
    function, _, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert function.__module__.startswith(("ittybatch.cli.", "ittybatch_local."))


@pytest.mark.parametrize("line", shown("make"))
def test_a_make_target_exists(line: str) -> None:
    """The Makefile has it."""
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.MULTILINE)


def test_parameters_for_prefect_start_a_batch() -> None:
    """What is handed to `prefect deployment run` is what the flow takes."""
    lines = [line for line in shown("prefect") if "--params" in line]
    assert lines
    for line in lines:
        words = shlex.split(line)
        parameters = json.loads(words[words.index("--params") + 1])
        assert run_batch.validate_parameters(parameters)


def test_the_worker_is_started_with_options_that_it_has() -> None:
    """Prefect's worker knows each; the one that crashes it is not among them."""
    lines = [line for line in shown("prefect") if line.startswith("prefect worker start")]
    assert lines
    helped = subprocess.run(
        [sys.executable, "-m", "prefect", "worker", "start", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "", "COLUMNS": "200", "NO_COLOR": "1"},
    ).stdout
    for line in lines:
        options = {word for word in shlex.split(line) if word.startswith("--")}
        assert "--limit" not in options
        assert all(option in helped for option in options), line
