"""The image runs everything that it is for: as uid 10001, on a read-only root."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from mypy_boto3_s3 import S3Client

from ittybatch_local.ports import HOST, choose_ports
from ittybatch_local.postgres import PostgresCluster
from ittybatch_local.probes import is_healthy
from ittybatch_local.process import ProcessSpec
from ittybatch_local.supervisor import Supervisor
from tests.image.building import Image
from tests.image.container import in_container

LARGEST_BEYOND_BASE = 400e6
BUCKET = "media"
AUTH = "operator:secret-of-the-test"
MANIFEST = "url\n" + "".join(f"https://media.example.com/{n}.mp4\n" for n in range(1, 7))

# The first test waits for the build: of the base, too, if there is none.
pytestmark = pytest.mark.timeout(1800)


def test_the_image_adds_less_than_400_mb_to_its_base(image: Image) -> None:
    """Every node pulls it."""
    assert image.beyond_base_bytes < LARGEST_BEYOND_BASE


def test_the_image_holds_no_tool_and_no_test_of_ours(image: Image) -> None:
    """No package installer, no compiler, no sandbox."""
    packages = image.root / "opt/venv/lib/python3.11/site-packages"
    assert (packages / "prefect").is_dir()
    for name in ("pip", "ittybit_sandbox", "ittybatch_local", "pytest"):
        assert not (packages / name).exists(), name
    assert not (image.root / "opt/ittybatch/tests").exists()


def test_prefect_finds_the_blocks_by_their_entry_point(image: Image, volume: Path) -> None:
    """As for a flow that loads one by its name, and imports nothing of ours."""
    script = (
        "from prefect.plugins import load_prefect_collections as load; "
        "from prefect.utilities.dispatch import lookup_type; "
        "from prefect.blocks.core import Block; load(); "
        "print(lookup_type(Block, 'ittybit-job').__module__)"
    )
    command = in_container(image, volume, ["python", "-c", script])
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("ittybatch.prefect")


def test_its_user_can_write_to_its_home_and_temporary_files_only(
    image: Image, volume: Path
) -> None:
    """As the pods run it."""
    script = (
        "id -u; for f in /opt/ittybatch/x /opt/venv/x /etc/x; do touch $f 2>/dev/null && echo $f; "
        "done; touch /tmp/x /var/lib/ittybatch/x && echo both"
    )
    command = in_container(image, volume, ["sh", "-c", script])
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["10001", "both"]


def test_a_batch_runs_in_the_image_from_end_to_end(
    image: Image, volume: Path, postgres: PostgresCluster, tmp_path: Path
) -> None:
    """Prefect's server, receiver, worker, legs and commands; on Postgres, with reports in S3."""
    names = ("prefect", "receiver", "private", "sandbox", "s3")
    ports = choose_ports(names, tmp_path / "ports.json")
    postgres.create_databases(["image_ledger", "image_prefect"])
    given = _environment(postgres, ports)

    def spec(name: str, command: tuple[str, ...], ready: Callable[[], bool]) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=command,
            log=tmp_path / f"{name}.log",
            environment={"PATH": os.environ["PATH"], **given},
            cwd=tmp_path,
            is_ready=ready,
            ready_within_s=180,
        )

    def run(*words: str) -> str:
        done = subprocess.run(
            in_container(image, volume, words, given),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with Supervisor(lambda _: None) as supervisor:
        here = (sys.executable, "-m")
        url = f"http://{HOST}:{ports['sandbox']}/healthz"
        sandbox = (*here, "ittybit_sandbox", "--instant", "--port", str(ports["sandbox"]))
        supervisor.launch(spec("sandbox", sandbox, is_healthy(url)))
        s3 = (*here, "moto.server", "-H", HOST, "-p", str(ports["s3"]))
        supervisor.launch(spec("s3", s3, is_healthy(f"{given['AWS_ENDPOINT_URL']}/moto-api/")))
        server = ("prefect", "server", "start", "--host", HOST, "--port", str(ports["prefect"]))
        server_settings = given | {
            "PREFECT_API_DATABASE_CONNECTION_URL": postgres.url(
                "image_prefect", scheme="postgresql+asyncpg"
            ),
            "PREFECT_SERVER_API_AUTH_STRING": AUTH,
        }
        inside = in_container(image, volume, server, server_settings)
        supervisor.launch(spec("server", inside, is_healthy(f"{given['PREFECT_API_URL']}/health")))
        run("ittybatch", "db", "upgrade")
        receiver = [*image.config["Cmd"], "--port", str(ports["receiver"])]
        receiver += ["--private", f"{HOST}:{ports['private']}"]
        ready = is_healthy(f"http://{HOST}:{ports['private']}/readyz")
        supervisor.launch(spec("receiver", in_container(image, volume, receiver, given), ready))
        for name in ("s3", "sandbox", "server", "receiver"):
            supervisor.await_ready(name)
        run("ittybatch", "deploy", "--python", "python")
        worker = ("prefect", "worker", "start", "--pool", "ittybatch", "--type", "process")
        inside = in_container(image, volume, worker, given)
        supervisor.launch(spec("worker", inside, lambda: True))
        s3_client = _s3(given)
        s3_client.create_bucket(Bucket=BUCKET)
        s3_client.put_object(Bucket=BUCKET, Key="in/list.csv", Body=MANIFEST.encode())
        told = run("ittybatch", "run", f"s3://{BUCKET}/in/list.csv", "--follow")
        assert "succeeded" in told
        reports = s3_client.list_objects_v2(Bucket=BUCKET, Prefix="reports/")["Contents"]
        assert {each["Key"].rpartition(".")[2] for each in reports} >= {"json", "csv", "parquet"}


def _environment(postgres: PostgresCluster, ports: dict[str, int]) -> dict[str, str]:
    return {
        "DATABASE_URL": postgres.url("image_ledger"),
        "PREFECT_API_URL": f"http://{HOST}:{ports['prefect']}/api",
        "PREFECT_API_AUTH_STRING": AUTH,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "ITTYBIT_API_KEY": "key-of-the-test",
        "ITTYBIT_API_URL": f"http://{HOST}:{ports['sandbox']}",
        "ITTYBIT_WEBHOOK_SECRET": "secret-of-the-test",
        "WEBHOOK_URL": f"http://{HOST}:{ports['receiver']}/webhooks/ittybit",
        "ITTYBATCH_REPORT_TO": f"s3://{BUCKET}/reports/",
        "AWS_ENDPOINT_URL": f"http://{HOST}:{ports['s3']}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }


def _s3(given: dict[str, str]) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=given["AWS_ENDPOINT_URL"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        region_name=given["AWS_REGION"],
    )
