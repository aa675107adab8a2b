"""Keeping an installation in order: deploy and doctor against the running stack."""

import pytest

from ittybatch.engine.deployments import RESUME_AUTOMATION, WORK_POOL
from tests.end_to_end.system import System

pytestmark = pytest.mark.timeout(600)


def test_deploying_again_changes_nothing(system: System) -> None:
    """The stack has deployed once: no second deployment, schedule, automation or pool."""

    def declared() -> tuple[object, object, object]:
        automations = [(each["id"], each["name"]) for each in system.prefect.automations()]
        return system.prefect.deployments(), automations, system.prefect.work_pool(WORK_POOL)

    before = declared()
    done = system.command("deploy")
    assert done.returncode == 0, done.stderr
    assert declared() == before
    deployments, automations, _ = before
    assert isinstance(deployments, dict)
    wanted = {"nightly", "backfill", "adhoc", "retry-failed", "process-chunk", "reconcile"}
    assert wanted <= set(deployments)
    assert isinstance(automations, list)
    assert [name for _, name in automations] == [RESUME_AUTOMATION]


def test_doctor_finds_nothing_wrong(system: System) -> None:
    """Key, secret, webhook URL, ledger, Prefect, worker, deployments, automation, bucket."""
    system.stack.upload(system.stack.home / "logs", "doctors-bucket")
    done = system.told("doctor", "--bucket", "doctors-bucket", "--json")
    assert {finding["check"]: finding["grade"] for finding in done} == dict.fromkeys(
        (
            *("API key", "Webhook secret", "Webhook URL", "Ledger", "Prefect API"),
            *("Worker", "Deployments", "Automation", "Events", "Bucket", "Bucket (worker)"),
        ),
        "ok",
    )


def test_doctor_asks_a_worker_for_the_bucket_too(system: System) -> None:
    """What one shell can list says nothing of where the flow runs run."""
    system.stack.upload(system.stack.home / "logs", "doctors-bucket")
    found = {
        finding["check"]: finding
        for finding in system.told(
            *("doctor", "--bucket", "doctors-bucket", "--json"),
            AWS_ENDPOINT_URL="http://127.0.0.1:9",
        )
    }
    assert found["Bucket"]["grade"] == "broken"
    assert found["Bucket (worker)"]["grade"] == "ok"
    found = {
        finding["check"]: finding
        for finding in system.told("doctor", "--bucket", "s3://nobodys-bucket/in/", "--json")
    }
    assert found["Bucket (worker)"]["grade"] == "broken"
    assert "NoSuchBucket" in found["Bucket (worker)"]["what"]


@pytest.mark.usefixtures("without_automation")
def test_doctor_names_what_is_missing(system: System) -> None:
    """A deleted automation slows batches down and stops none: a warning, with the remedy."""
    found = {finding["check"]: finding for finding in system.told("doctor", "--json")}
    automation = found.pop("Automation")
    assert automation["grade"] == "warning"
    assert f"{RESUME_AUTOMATION} is missing" in automation["what"]
    assert "ittybatch deploy" in automation["remedy"]
    assert {finding["grade"] for finding in found.values()} == {"ok"}
