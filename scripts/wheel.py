# ruff: noqa: INP001  a folder of programs, not a package
"""Puts the declared files of the checkout into the wheel, where `ittybatch.project` looks."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DECLARED = (
    "prefect.yaml",
    "deployments/automations.yaml",
    "deployments/intake.yaml",
    "deployments/profiles",
    "deployments/results",
    "deployments/results.yaml",
)


class DeclaredFiles(BuildHookInterface):  # type: ignore[type-arg]
    """A build hook, because `force-include` would also copy the files of an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files, unless the wheel is that of an editable install."""
        if version != "editable":
            build_data["force_include"] |= {name: f"ittybatch/declared/{name}" for name in DECLARED}
