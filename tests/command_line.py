"""The command line in the process of the tests: a process of its own imports for seconds."""

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest
from prefect import context

from ittybatch.cli import main

Done = subprocess.CompletedProcess[str]


def typed(*arguments: str, environment: Mapping[str, str], cwd: Path) -> Done:
    """Run a command to its end, as if it was typed in a folder, with its output in a file.

    Args:
        arguments: What stands behind `ittybatch`.
        environment: All of the command's environment.
        cwd: The folder.
    """
    stdout, stderr = _output(), _output()
    with (
        pytest.MonkeyPatch.context() as patch,
        mock.patch.dict(os.environ, environment, clear=True),
    ):
        patch.chdir(cwd)
        # A command that joins a running stack refreshes Prefect's settings for the whole process.
        patch.setattr(context, "GLOBAL_SETTINGS_CONTEXT", context.GLOBAL_SETTINGS_CONTEXT)
        patch.setattr(sys, "argv", ["ittybatch", *arguments])
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stderr)
        with pytest.raises(SystemExit) as ended:
            main()
    status = ended.value.code
    assert isinstance(status, int)
    return subprocess.CompletedProcess(arguments, status, _text(stdout), _text(stderr))


def _output() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(output: io.TextIOWrapper) -> str:
    output.seek(0)
    return output.read()
