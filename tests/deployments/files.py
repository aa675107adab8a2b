"""The declared files, parsed: the compose file and the manifests as kustomize renders them."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import AliasChoices, SecretStr
from starlette.applications import Starlette
from starlette.routing import Route

from ittybatch.receiver.app import Receiver
from ittybatch.settings import CHECKOUT, Settings

DEPLOYMENTS = CHECKOUT / "deployments"
PORT = 8300
PRIVATE_PORT = 8301


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text())
    return found


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOYMENTS / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def pods() -> list[dict[str, Any]]:
    return [
        each["spec"]["template"]["spec"]
        for each in manifests()
        if each["kind"] in {"Deployment", "Job"}
    ]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["containers"]]


def command_lines() -> list[list[str]]:
    """Every command of every service and container, shells unfolded."""
    given = [each["command"] for each in compose()["services"].values() if "command" in each]
    given += [each["command"] for each in containers()]
    lines: list[list[str]] = []
    for command in given:
        if command[0] == "sh":
            lines += [shlex.split(part) for part in command[-1].split("&&")]
        else:
            lines.append(command)
    return lines


def services() -> list[dict[str, Any]]:
    return [each for each in manifests() if each["kind"] == "Service"]


def a_receiver() -> Receiver:
    return Receiver(
        Settings(webhook_secret=SecretStr("secret"), database_url=SecretStr("sqlite://"))
    )


def paths(app: Starlette) -> set[str]:
    return {route.path for route in app.routes if isinstance(route, Route)}


def environment() -> dict[str, str]:
    """Every environment variable that a declared file sets or asks for, and the file."""
    dockerfile = (DEPLOYMENTS / "Dockerfile").read_text().replace("\\\n", " ")
    found = {
        name: "Dockerfile"
        for line in re.findall(r"^ENV (.+)$", dockerfile, re.MULTILINE)
        for name in re.findall(r"(\w+)=", line)
    }
    for service in (compose()["x-ittybatch"], *compose()["services"].values()):
        found |= dict.fromkeys(service.get("environment", ()), "compose.yaml")
    for container in containers():
        found |= {each["name"]: container["name"] for each in container.get("env", ())}
    (settings,) = [each for each in manifests() if each["kind"] == "ConfigMap"]
    return found | dict.fromkeys(settings["data"], "settings.yaml")


def settings_names() -> set[str]:
    """Every environment variable that `Settings` reads."""
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names |= (
            {str(each) for each in alias.choices}
            if isinstance(alias, AliasChoices)
            else {f"ITTYBATCH_{name.upper()}"}
        )
    return names
