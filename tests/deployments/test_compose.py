"""The compose file is valid, safe, and starts in the order of need."""

import re
import subprocess
import sys
from pathlib import Path

from ittybatch.settings import CHECKOUT
from tests.deployments.files import DEPLOYMENTS, PRIVATE_PORT, compose


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


def test_what_runs_our_image_has_no_rights_and_a_home_to_write_to() -> None:
    """As in Kubernetes; a volume and a tmpfs cannot share a place."""
    image = (DEPLOYMENTS / "Dockerfile").read_text()
    [home] = re.findall(r"^ENV .*?ITTYBATCH_HOME=(\S+)", image, re.MULTILINE | re.DOTALL)
    [user] = re.findall(r"^USER (\d+)$", image, re.MULTILINE)
    for name in ("prefect", "set-up", "receiver", "worker"):
        service = compose()["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        volumes = [each.rpartition(":")[2] for each in service.get("volumes", [])]
        memory = dict(each.partition(":")[::2] for each in service["tmpfs"])
        assert sorted([*memory, *volumes]) == ["/tmp", home]
        # Without these options it belongs to root.
        assert memory.get(home) in {None, f"uid={user},gid={user},mode=0700"}
    assert compose()["services"]["receiver"]["mem_limit"]


def test_the_worker_spools_to_the_disk() -> None:
    """A manifest or an inventory may be larger than the memory, which a tmpfs is."""
    worker = compose()["services"]["worker"]
    assert worker["tmpfs"] == []
    assert "/tmp" in worker["volumes"]


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


def test_compose_fits_the_specification() -> None:
    """By the schema of the Compose specification."""
    check = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [check, "--builtin-schema", "vendor.compose-spec", DEPLOYMENTS / "compose.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
