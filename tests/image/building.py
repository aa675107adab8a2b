"""Build the image of deployments/Dockerfile with buildah, without a registry.

The base, `python:3.11-slim`, is made by debootstrap: Debian with its own Python. pip installs the
lock from a folder of wheels, which this machine's pip downloads from wherever it is set up to.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker

from ittybatch.settings import CHECKOUT

BASE = "docker.io/library/python:3.11-slim"
IMAGE = "localhost/ittybatch:test"
_SUITE = "bookworm"
_PYTHON = "3.11.2"  # of the suite
_MIRROR = "http://deb.debian.org/debian"
_BASE_FILE = """\
FROM scratch
COPY root /
RUN ln -s /usr/bin/python3.11 /usr/local/bin/python
"""
_PIP = """\
[global]
no-index = true
find-links = /wheels
"""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was built and mounted.

    Args:
        root: Its root file system.
        config: Its OCI configuration: Env, Cmd, User, WorkingDir.
        beyond_base_bytes: What it adds to its base.
    """

    root: Path
    config: dict[str, Any]
    beyond_base_bytes: int


def why_not() -> str | None:
    """Say what is missing to build an image; None if nothing is."""
    if os.geteuid() != 0:
        return "only root can build and mount images with buildah's chroot isolation"
    missing = [name for name in ("buildah", "debootstrap", "unshare") if not shutil.which(name)]
    return f"{', '.join(missing)} not installed" if missing else None


class Builder:
    """Builds in a folder, which also holds buildah's storage.

    Args:
        folder: Kept between runs, it saves the base and the wheels from being made again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._container = ""

    def build(self) -> Image:
        """Build the image and mount it."""
        self._make_base()
        wheels = self._download_wheels()
        pip = self._folder / "pip.conf"
        pip.write_text(_PIP)
        self._buildah(
            "build",
            "--pull-never",
            *("--volume", f"{wheels}:/wheels:ro"),
            *("--volume", f"{pip}:/etc/pip.conf:ro"),
            *("--file", CHECKOUT / "deployments" / "Dockerfile"),
            *("--tag", IMAGE),
            CHECKOUT,
        )
        self._container = self._buildah("from", "--pull-never", IMAGE)
        root = self._buildah("mount", self._container)
        config = json.loads(self._buildah("inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
        return Image(Path(root), config, self._size(IMAGE) - self._size(BASE))

    def close(self) -> None:
        """Unmount the image."""
        if self._container:
            self._buildah("umount", self._container)
            self._buildah("rm", self._container)

    def _make_base(self) -> None:
        if BASE in self._buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
            return
        context = self._folder / "base"
        shutil.rmtree(context, ignore_errors=True)
        root = context / "root"
        include = "--include=python3,python3-venv,ca-certificates"
        _run("debootstrap", "--variant=minbase", include, _SUITE, root, _MIRROR)
        (context / "Dockerfile").write_text(_BASE_FILE)
        self._buildah("build", "--file", context / "Dockerfile", "--tag", BASE, context)
        shutil.rmtree(context)

    def _download_wheels(self) -> Path:
        """Download what the lock names for the base's Python."""
        wheels = self._folder / "wheels"
        wheels.mkdir(exist_ok=True)
        lock = (CHECKOUT / "requirements.txt").read_text()
        pinned = re.findall(r"^(\S+==\S+)(?: ; (.*?))? \\$", lock, re.MULTILINE)
        python = {"python_full_version": _PYTHON, "python_version": _PYTHON.rpartition(".")[0]}
        wanted = [name for name, text in pinned if not text or Marker(text).evaluate(python)]
        requirements = self._folder / "wanted.txt"
        requirements.write_text("\n".join(wanted))
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
        _run(*pip, "--dest", wheels, "--requirement", requirements)
        return wheels

    def _size(self, image: str) -> int:
        number, unit = self._buildah("images", "--format", "{{.Size}}", image).split()
        return round(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])

    def _buildah(self, *arguments: str | Path) -> str:
        storage = ("--root", self._folder / "storage", "--runroot", self._folder / "run")
        return _run("buildah", *storage, "--storage-driver", "vfs", *arguments).strip()


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{_end(done)}"
    return done.stdout


def _end(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((done.stdout + done.stderr).splitlines()[-40:])
