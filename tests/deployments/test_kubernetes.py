"""The Kubernetes manifests are valid, safe, and fit the program."""

import fnmatch
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest

from ittybatch.settings import Settings
from ittybatch.sources.s3 import split_uri
from tests.deployments.files import (
    DEPLOYMENTS,
    PORT,
    PRIVATE_PORT,
    a_receiver,
    containers,
    manifests,
    paths,
    pods,
    services,
)

# The versions that are supported, and the next ones.
VERSIONS = [f"1.{minor}.0" for minor in range(31, 38)]
# uvicorn's bound for requests that have begun, of receiver/serving.py.
GRACEFUL_S = 10


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [
        each for each in manifests() if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_in_every_supported_version(version: str) -> None:
    """Strictly: a field that the schema does not know is an error."""
    checked = [each for each in manifests() if each["kind"] != "Kustomization"]
    assert len(checked) >= 8
    for each in checked:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_misspelt_field_is_found() -> None:
    """So the check above can fail."""
    deployment = one("Deployment", "ittybatch-worker")
    deployment["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


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
    secret = ("*[KS]E[YC]*", "*AUTH*", "*TOKEN*", "*PASSWORD*")
    named = [name for name in settings["data"] for each in secret if fnmatch.fnmatch(name, each)]
    assert named == []
    for container in containers():
        assert {"secretRef": {"name": "ittybatch"}} in container["envFrom"]
        assert {"configMapRef": {"name": settings["metadata"]["name"]}} in container["envFrom"]


def test_no_container_has_more_rights_than_it_needs() -> None:
    """Not root, no capabilities, a read-only root, no token for the cluster, a bound on memory."""
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
    for container in containers():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_every_container_can_write_where_it_has_to() -> None:
    """Its root is read-only: the home and temporary files are volumes of their own."""
    for pod in pods():
        volumes = {each["name"] for each in pod["volumes"]}
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
            assert mounts.keys() == {"/tmp", "/var/lib/ittybatch"}
            assert set(mounts.values()) <= volumes


def test_one_receiver_answers_while_another_goes() -> None:
    """Two of them, on two nodes where there are two, and never both drained at a time."""
    receiver = one("Deployment", "ittybatch-receiver")["spec"]
    assert receiver["replicas"] == 2
    labels = receiver["selector"]["matchLabels"]
    (spread,) = receiver["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels
    budget = one("PodDisruptionBudget", "ittybatch-receiver")["spec"]
    assert budget["minAvailable"] == 1
    assert budget["selector"]["matchLabels"] == labels
    pod = receiver["template"]["spec"]
    wait_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] >= wait_s + GRACEFUL_S + 10


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


def test_reports_go_nowhere_until_the_bucket_is_named() -> None:
    """Every name that S3 takes may be somebody's bucket; the receiver starts all the same."""
    (settings,) = [each for each in manifests() if each["kind"] == "ConfigMap"]
    place = settings["data"]["ITTYBATCH_REPORT_TO"]
    assert Settings(report_to=place).report_to == place
    with pytest.raises(ValueError, match="is not a bucket name"):
        split_uri(place)
