"""The built wheel in an environment of its own, with the locked dependencies and nothing else."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from ittybatch.settings import CHECKOUT

_COMMAND_WITHIN_S = 180


def build_wheel(folder: Path) -> Path:
    """Build the product's wheel from the checkout."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        timeout=_COMMAND_WITHIN_S,
    )
    (wheel,) = folder.glob("ittybatch-*.whl")
    return wheel


class Installed:
    """A virtual environment with the wheel, used from a project folder outside of the checkout.

    Args:
        root: Where to make both.
        wheel: The wheel.
    """

    def __init__(self, root: Path, wheel: Path) -> None:
        self.project = root / "project"
        self.project.mkdir()
        environment = root / "environment"
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True
        )
        self.python = environment / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.packages = environment / "lib" / version / "site-packages"
        _link_locked(self.packages)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a Python module of the environment, `ittybatch` for one, in the project folder."""
        return self._run("-m", *command, **settings)

    def run_code(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a line of Python in the project folder."""
        return self._run("-c", code, *arguments)

    def _run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            # -P: only what is installed counts, as for the program in `bin`.
            [str(self.python), "-P", *command],
            env=self.environment(**settings),
            cwd=self.project,
            capture_output=True,
            text=True,
            timeout=_COMMAND_WITHIN_S,
            check=False,
        )

    def environment(self, **settings: str) -> dict[str, str]:
        """A bare environment with these settings."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.project),
            "COLUMNS": "100",
            "AWS_EC2_METADATA_DISABLED": "true",
            **settings,
        }


def _link_locked(packages: Path) -> None:
    """Link the locked distributions from this environment: as pip would, but offline."""
    lock = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8")
    for line in re.findall(r"^[\w.-]+==[^\\\n]+", lock, re.MULTILINE):
        locked = Requirement(line)
        if locked.marker and not locked.marker.evaluate():
            continue
        for file in distribution(locked.name).files or ():
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            link = packages / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(file.locate())))
