"""The `AWS_*` and `PREFECT_*` variables of `.env` reach every part."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from ittybatch.env_file import LOCAL_S3, export_env_files

NAMES = ("AWS_", "PREFECT_")
LOOK = (
    "from ittybatch.flows.check_bucket import check_bucket; print(check_bucket.fn('media').message)"
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Restores the environment after the test."""
    before = dict(os.environ)
    yield monkeypatch
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="module")
def s3_url(aws_url: str) -> str:
    """A store with a bucket named `media`."""
    session = boto3.Session("key", "secret", region_name="us-east-1")
    session.client("s3", endpoint_url=aws_url).create_bucket(Bucket="media")
    return aws_url


def exported(path: Path, text: str) -> dict[str, str]:
    """The variables that a file adds to the environment."""
    path.write_text(text, encoding="utf-8")
    before = dict(os.environ)
    export_env_files([path])
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(NAMES) and before.get(name) != value
    }


def run(cwd: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(cwd),
            "ITTYBATCH_HOME": str(cwd / "home"),
            "AWS_EC2_METADATA_DISABLED": "true",
            **environment,
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_commands_and_flows_use_the_bucket_of_env_files(tmp_path: Path, s3_url: str) -> None:
    """A command in a shell and a leg in a worker have no other settings."""
    (tmp_path / ".env").write_text(
        f"AWS_ENDPOINT_URL={s3_url}\nAWS_ACCESS_KEY_ID=key\nAWS_SECRET_ACCESS_KEY='secret'\n"
    )
    doctor = run(tmp_path, "-m", "ittybatch", "doctor", "--bucket", "media", "--json")
    found = {each["check"]: each for each in json.loads(doctor.stdout)}
    assert found["Bucket"]["grade"] == "ok", found["Bucket"]
    assert "Bucket (worker)" not in found, "there is no worker"
    assert run(tmp_path, "-c", LOOK).stdout.strip() == "It can be listed."
    # And the environment wins.
    refused = run(tmp_path, "-c", LOOK, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert "cannot be listed" in refused.stdout


def test_the_environment_wins_name_by_name(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """A set variable stays, a missing or empty one is added."""
    environment.setenv("AWS_ENDPOINT_URL", "https://environment.test")
    environment.setenv("AWS_MAX_ATTEMPTS", "")
    text = (
        "AWS_ENDPOINT_URL=https://file.test\nAWS_MAX_ATTEMPTS=7\nAWS_CA_BUNDLE=\n"
        "AWS_USE_FIPS_ENDPOINT=true\nITTYBIT_API_KEY=key\nPATH=/nowhere\n"
    )
    assert exported(tmp_path / ".env", text) == {
        "AWS_MAX_ATTEMPTS": "7",
        "AWS_USE_FIPS_ENDPOINT": "true",
    }


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"AWS_PROFILE": "work"}, "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, "AWS_SESSION_TOKEN=c\n"),
        ({"AWS_REGION": "eu-west-2"}, "AWS_DEFAULT_REGION=us-east-1\n"),
        ({"PREFECT_API_URL": "http://127.0.0.1:1/api"}, "PREFECT_API_KEY=key\n"),
    ],
)
def test_what_belongs_together_is_not_mixed(
    tmp_path: Path, environment: pytest.MonkeyPatch, given: dict[str, str], text: str
) -> None:
    """Half from the environment and half from a file would be invalid credentials."""
    for name, value in given.items():
        environment.setenv(name, value)
    assert exported(tmp_path / ".env", text) == {}


def test_a_local_s3_is_not_mixed_with_a_real_one(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    """`AWS_ENDPOINT_URL_S3` would override the stack's endpoint."""
    environment.setenv(LOCAL_S3, "true")
    text = "AWS_ENDPOINT_URL_S3=https://s3.test\nPREFECT_API_URL=http://127.0.0.1:1/api\n"
    assert exported(tmp_path / ".env", text) == {"PREFECT_API_URL": "http://127.0.0.1:1/api"}


def test_a_later_file_overrides_an_earlier_one(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    """As for all settings: the current folder's overrides the checkout's."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        environment.delenv(name, raising=False)
    (tmp_path / "first").write_text("AWS_REGION=us-east-1\n")
    (tmp_path / "second").write_text("AWS_REGION=eu-west-2\n")
    export_env_files([tmp_path / "first", tmp_path / "second", tmp_path / "missing"])
    assert os.environ["AWS_REGION"] == "eu-west-2"
