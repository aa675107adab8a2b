"""The container image, the compose file and the Kubernetes manifests fit the program."""

import fnmatch
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from prefect.events.schemas.automations import EventTrigger
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route

from ittybatch import __version__
from ittybatch.cli.app import app
from ittybatch.engine.deployments import WORK_POOL, read_automations
from ittybatch.receiver.app import Receiver
from ittybatch.settings import CHECKOUT, Settings
from tests.docs.automations import FILE, with_example

DEPLOYMENTS = CHECKOUT / "deployments"
IMAGE = f"ittybatch:{__version__}"
PORT = 8300
PRIVATE_PORT = 8301


def test_the_example_of_an_alert_is_used_by_removing_its_marks(tmp_path: Path) -> None:
    """And fires for batches alone, under the name that Prefect gives to their Failed."""
    path = tmp_path / "automations.yaml"
    path.write_text(with_example())
    resume, alert = read_automations(path)
    assert (resume.name, alert.name) == ("ittybatch-resume", "ittybatch-alert")
    assert isinstance(alert.trigger, EventTrigger)
    assert alert.trigger.expect == {"prefect.flow-run.Failed"}
    assert [read.name for read in read_automations(FILE)] == ["ittybatch-resume"]


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


@pytest.mark.parametrize("line", command_lines(), ids=" ".join)
def test_a_container_runs_a_command_that_exists(line: list[str]) -> None:
    """Our own commands are understood whole; Prefect's are the two that we rely on."""
    if line[0] == "ittybatch":
        app.parse_args(line[1:], exit_on_error=False, print_error=False)
    else:
        assert line[:3] in (["prefect", "server", "start"], ["prefect", "worker", "start"])


def test_workers_take_from_our_pool_without_a_limit_of_their_own() -> None:
    """A limit of the worker crashes it when a run is resumed at once."""
    workers = [line for line in command_lines() if line[:2] == ["prefect", "worker"]]
    assert len(workers) == 2
    for line in workers:
        assert line[line.index("--pool") + 1] == WORK_POOL
        assert not any(word.startswith(("--limit", "-l")) for word in line)
        assert "--no-create-pool-if-not-found" in line


def test_every_image_is_pinned() -> None:
    """Ours by this version, others by a tag that names one."""
    images = {each["image"] for each in containers()}
    images |= {each["image"] for each in compose()["services"].values() if "image" in each}
    assert IMAGE in images
    for image in images:
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+[\w.-]*", image), image
    dockerfile = (DEPLOYMENTS / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"python:3.11-slim"}
    (kustomization,) = [each for each in manifests() if each["kind"] == "Kustomization"]
    assert kustomization["images"] == [{"name": "ittybatch", "newTag": __version__}]


def test_the_image_copies_what_exists_and_is_not_ignored() -> None:
    """Each source of a COPY is in the checkout, and .dockerignore lets it through."""
    dockerfile = (DEPLOYMENTS / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", dockerfile, re.MULTILINE)
    assert {"requirements.txt", "prefect.yaml", "ittybatch"} <= set(copied)
    let_through = {
        line.removeprefix("!")
        for line in (CHECKOUT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert set(copied) == let_through
    assert all((CHECKOUT / each).exists() for each in copied)
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER \d+$", dockerfile, re.MULTILINE)


def test_the_image_holds_what_the_program_looks_for_beside_itself() -> None:
    """prefect.yaml, the automations and the profiles, at the places they have in a checkout."""
    dockerfile = (DEPLOYMENTS / "Dockerfile").read_text()
    for source, target in re.findall(r"^COPY (?!--from)(\S+) (/opt\S+)$", dockerfile, re.MULTILINE):
        assert target == f"/opt/ittybatch/{source}"


def test_kustomize_lists_every_manifest() -> None:
    """No file is forgotten, none is missing."""
    folder = DEPLOYMENTS / "kubernetes"
    (kustomization,) = [each for each in manifests() if each["kind"] == "Kustomization"]
    others = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == others


def test_no_manifest_holds_a_secret() -> None:
    """Secrets come by reference; what stands here is for anybody to read."""
    assert all(each["kind"] != "Secret" for each in manifests())
    (settings,) = [each for each in manifests() if each["kind"] == "ConfigMap"]
    assert not [name for name in settings["data"] if fnmatch.fnmatch(name, "*[KS]E[YC]*")]
    for container in containers():
        assert {"secretRef": {"name": "ittybatch"}} in container["envFrom"]
        assert {"configMapRef": {"name": settings["metadata"]["name"]}} in container["envFrom"]


def test_no_container_has_more_rights_than_it_needs() -> None:
    """Not root, no capabilities, no token for the cluster, a bound on memory."""
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
    for container in containers():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


def test_probes_ask_for_routes_of_the_receiver() -> None:
    """On the port that serves them, where the services lead to."""
    (receiver,) = [each for each in containers() if each["name"] == "receiver"]
    assert receiver["ports"] == [
        {"name": "http", "containerPort": PORT},
        {"name": "private", "containerPort": PRIVATE_PORT},
    ]
    command = receiver["command"]
    assert command[command.index("--port") + 1] == str(PORT)
    assert command[command.index("--private") + 1] == f"0.0.0.0:{PRIVATE_PORT}"
    probes = [receiver[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    served = {"http": paths(a_receiver().public()), "private": paths(a_receiver().private())}
    for probe in probes:
        assert probe["path"] in served[probe["port"]]
    (deployment,) = [
        each
        for each in manifests()
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "ittybatch-receiver"
    ]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    targets = {"ittybatch-receiver": "http", "ittybatch-api": "private"}
    for service in services():
        assert service["spec"]["ports"][0]["targetPort"] == targets[service["metadata"]["name"]]
        assert service["spec"]["selector"].items() <= labels.items()


def test_the_internet_reaches_webhooks_and_healthz_only() -> None:
    """Through the public port, over TLS, at the host of the webhook URL."""
    (ingress,) = [each for each in manifests() if each["kind"] == "Ingress"]
    (rule,) = ingress["spec"]["rules"]
    backends = {each["path"]: each["backend"]["service"] for each in rule["http"]["paths"]}
    assert set(backends) == paths(a_receiver().public())
    for service in backends.values():
        assert service == {"name": "ittybatch-receiver", "port": {"name": "http"}}
    assert all(each["pathType"] == "Exact" for each in rule["http"]["paths"])
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    (settings,) = [each for each in manifests() if each["kind"] == "ConfigMap"]
    assert urlsplit(settings["data"]["WEBHOOK_URL"]).hostname == rule["host"]


def test_compose_keeps_the_api_on_a_port_of_its_own() -> None:
    """So that TLS in front of the other cannot lead to it by mistake."""
    receiver = compose()["services"]["receiver"]
    command = receiver["command"]
    assert command[command.index("--private") + 1] == f"0.0.0.0:{PRIVATE_PORT}"
    assert f"127.0.0.1:{PRIVATE_PORT}:{PRIVATE_PORT}" in receiver["ports"]
    assert f":{PRIVATE_PORT}/readyz" in receiver["healthcheck"]["test"][-1]


def test_compose_opens_nothing_beyond_this_machine() -> None:
    """TLS is put in front of the receiver; nothing else is for the outside."""
    for service in compose()["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_compose_builds_from_what_is_there() -> None:
    """Its paths count from its own folder."""
    ours = compose()["x-ittybatch"]
    context = (DEPLOYMENTS / ours["build"]["context"]).resolve()
    assert context == CHECKOUT
    assert (context / ours["build"]["dockerfile"]).is_file()
    assert (DEPLOYMENTS / ours["env_file"]).resolve() == CHECKOUT / ".env"


def test_compose_starts_in_the_order_of_need() -> None:
    """Tables and deployments are there before anybody works with them."""
    services = compose()["services"]
    assert services["set-up"]["depends_on"] == {"prefect": {"condition": "service_healthy"}}
    assert services["set-up"]["restart"] == "no"
    for name in ("receiver", "worker"):
        wanted = {"set-up": {"condition": "service_completed_successfully"}}
        assert services[name]["depends_on"] == wanted
    assert "databases" in compose()["configs"]


def test_the_server_and_the_ledger_have_a_database_each() -> None:
    """Both keep their schema's version in a table of the same name."""
    services = compose()["services"]
    server = services["prefect"]["environment"]["PREFECT_API_DATABASE_CONNECTION_URL"]
    ledger = compose()["x-ittybatch"]["environment"]["DATABASE_URL"]
    names = {Path(url).name for url in (server, ledger)}
    assert names == {"prefect", services["postgres"]["environment"]["POSTGRES_DB"]}
    assert "CREATE DATABASE prefect;" in compose()["configs"]["databases"]["content"]


def test_a_backfill_lets_tonights_batch_pass() -> None:
    """Where jobs in flight are limited; of the same priority, the older batch would go first."""
    declared = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    options = {each["name"]: each.get("parameters", {}).get("options", {}) for each in declared}
    lowest = [name for name, each in options.items() if each.get("priority") == "low"]
    assert lowest == ["backfill"]
