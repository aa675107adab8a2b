"""The page of docs/uploads.md, in a real browser: 300 MB go into the bucket and are processed."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from playwright.sync_api import Browser, Page, Request, expect

from ittybatch.engine.finding import Grade
from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.upload_checks import check_uploads
from ittybatch_local import LocalStack, databases
from ittybatch_local.ports import HOST, choose_ports
from ittybatch_local.probes import answers
from ittybatch_local.process import ProcessSpec
from ittybatch_local.supervisor import Supervisor
from tests.conftest import OURS
from tests.docs.pages import fences
from tests.end_to_end.waiting import until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TOKEN = "a-token-of-these-tests"
BUCKET = "from-browsers"
MB = 1000**2
SIZE = 300 * MB
# The local S3 copies a file several times in memory when it puts its parts together.
MOST_STORE_MEMORY = 2000 * MB
MOST_RECEIVER_GROWTH = 100 * MB


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the stack, the page and the film."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def site_url(folder: Path) -> str:
    """Where the user's own backend listens: an origin of its own."""
    return f"http://{HOST}:{choose_ports(['site'], folder / 'site.json')['site']}"


@pytest.fixture(scope="module")
def stack(folder: Path, site_url: str) -> Iterator[LocalStack]:
    """Receiver, sandbox, ledger and S3. Nothing needs Prefect: the receiver sends by itself."""
    declared = folder / "intake.yaml"
    declared.write_text(
        f"uploads:\n  bucket: {BUCKET}\n  profile: web\n  allowed_origins: ['{site_url}']\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OURS):
                patch.delenv(name)
        patch.setenv("ITTYBATCH_API_TOKEN", TOKEN)
        patch.setenv("ITTYBATCH_INTAKE_FILE", str(declared))
        patch.setenv("PREFECT_API_URL", f"http://{HOST}:9/api")
        # It takes longer to start than everything else together; one upload does not need it.
        patch.setattr(databases, "is_installed", lambda: False)
        # Otherwise the local S3 allows every page, whatever the bucket's rules say.
        patch.setenv("MOTO_DISABLE_GLOBAL_CORS", "true")
        with LocalStack(folder / "home", server=False, worker=False) as started:
            for name, value in started.environment().items():
                if name.startswith("AWS_"):
                    patch.setenv(name, value)
            yield started


@pytest.fixture(scope="module")
def s3(stack: LocalStack) -> "Iterator[S3Client]":
    """A client of the local S3, with the bucket."""
    client = boto3.client("s3", endpoint_url=stack.s3_url)
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


@pytest.fixture(scope="module")
def ready_bucket(s3: "S3Client", site_url: str) -> str:
    """The bucket, after its owner has run the commands that `doctor` prints."""
    declared = UploadsDeclared(bucket=BUCKET, profile="web", allowed_origins=(site_url,))
    for finding in check_uploads(declared):
        if finding.grade is Grade.OK:
            continue
        words = shlex.split(finding.command)
        content = json.loads(words[-1])
        if "put-bucket-cors" in words:
            s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration=content)
        else:
            s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=content)
    assert {finding.grade for finding in check_uploads(declared)} == {Grade.OK}
    return BUCKET


@pytest.fixture(scope="module")
def site(stack: LocalStack, folder: Path, site_url: str) -> Iterator[str]:
    """The backend and the page, as docs/uploads.md shows them."""
    [backend] = fences("python", what="backend")
    [page] = fences("html", what="page")
    (folder / "backend.py").write_text(backend.text, encoding="utf-8")
    (folder / "upload.html").write_text(page.text, encoding="utf-8")
    port = str(urlsplit(site_url).port)
    spec = ProcessSpec(
        name="site",
        command=(sys.executable, "-m", "uvicorn", "backend:app", "--host", HOST, "--port", port),
        log=folder / "site.log",
        environment={
            **os.environ,
            "RECEIVER_URL": stack.receiver_url,
            "ITTYBATCH_API_TOKEN": TOKEN,
        },
        cwd=folder,
        is_ready=answers(site_url),
    )
    with Supervisor() as supervisor:
        supervisor.launch(spec)
        supervisor.await_ready("site")
        yield site_url


@pytest.fixture(scope="module")
def film(folder: Path) -> Path:
    """A real film of 300 MB; most of it is a box of MP4 that holds nothing."""
    path = folder / "holiday film.mp4"
    picture = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10")
    sound = ("-f", "lavfi", "-i", "sine=frequency=440")
    codecs = ("-pix_fmt", "yuv420p", "-c:a", "aac", "-t", "3")
    subprocess.run(
        [get_ffmpeg_exe(), "-loglevel", "error", *picture, *sound, *codecs, str(path)],
        check=True,
        timeout=60,
    )
    with path.open("r+b") as file:
        used = file.seek(0, os.SEEK_END)
        file.write((SIZE - used).to_bytes(4, "big") + b"free")
        file.truncate(SIZE)
    return path


@pytest.fixture
def page(site: str, browser: Browser) -> Iterator[Page]:
    """The page, opened."""
    opened = browser.new_page()
    opened.goto(site)
    yield opened
    opened.close()


@pytest.mark.usefixtures("ready_bucket")
def test_a_page_uploads_a_large_file_in_parts_and_it_is_processed(
    stack: LocalStack, s3: "S3Client", page: Page, film: Path
) -> None:
    """Straight into the bucket: the receiver and the page's own server see none of it."""
    before = memory(stack.pid("receiver"))
    calls: list[Request] = []
    page.on("request", lambda call: calls.append(call))  # noqa: PLW0108 - Playwright marks it
    page.locator("input").set_input_files(film)
    expect(page.locator("output")).to_have_text("processing", timeout=90_000)

    [found] = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert found["Size"] == SIZE
    assert found["Key"].endswith("-holiday-film.mp4")
    sent = [call for call in calls if call.method == "PUT"]
    assert len(sent) == 18
    assert {urlsplit(call.url).netloc for call in sent} == {urlsplit(stack.s3_url or "").netloc}
    assert not [call for call in calls if "authorization" in call.headers]
    assert memory(stack.pid("receiver")) - before < MOST_RECEIVER_GROWTH
    assert peak_memory(stack.pid("s3")) < MOST_STORE_MEMORY

    [completed] = [call for call in calls if call.url.endswith("/complete")]
    answer = completed.response()
    assert answer is not None
    jobs = [job["job_id"] for job in answer.json()["jobs"]]
    assert jobs
    ended = until(lambda: results(stack, jobs), "its jobs have ended", within_s=60)
    assert {job["status"] for job in ended} == {"succeeded"}
    assert {job["input_url"] for job in ended} == {f"s3://{BUCKET}/{found['Key']}"}
    assert {job["metadata"]["media_id"] for job in ended} == {"42"}
    log = (stack.home / "logs" / "receiver.log").read_text(encoding="utf-8")
    assert "X-Amz-Signature" not in log
    assert answer.url not in log
    assert TOKEN not in log


@pytest.mark.usefixtures("ready_bucket")
def test_a_page_shows_why_a_file_is_refused(page: Page, tmp_path: Path) -> None:
    """What the receiver says reaches the user through the backend."""
    path = tmp_path / "notes.txt"
    path.write_text("not a film", encoding="utf-8")
    page.locator("input").set_input_files(path)
    expect(page.locator("output")).to_contain_text("'text/plain' are not accepted")


def results(stack: LocalStack, jobs: list[str]) -> list[dict[str, Any]] | None:
    """The rows of jobs once all have ended."""
    rows = [
        httpx.get(
            f"{stack.receiver_url}/jobs/{job}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=10,
            trust_env=False,
        ).json()
        for job in jobs
    ]
    return None if any(row["status"] == "processing" for row in rows) else rows


def memory(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    return _of_status(pid, "VmRSS")


def peak_memory(pid: int) -> int:
    """The most resident memory that a process has had, in bytes."""
    return _of_status(pid, "VmHWM")


def _of_status(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024
