"""The command that shows the main job on real media."""

import json as json_module
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ittybatch.cli.output import console, print_table
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.amounts import format_bytes, format_duration
from ittybatch.errors import IttybatchError
from ittybatch.home import private_folder
from ittybatch.settings import Settings
from ittybatch_local.media import make_media
from ittybatch_local.stack import LocalStack

BUCKET, PREFIX = "demo-media", "library/"
SOURCE = f"s3://{BUCKET}/{PREFIX}"
# One job fails the first time, as encoders on preempted machines do, and is tried again.
_FAULTS = """\
jobs:
  - match: {kind: image}
    action: fail_once
    probability: 0.34
    error: {kind: internal_error, message: the encoder was preempted}
"""
_WIDE = 170
_PROGRAM = (sys.executable, "-m", "ittybatch")


def demo(
    *,
    media: Annotated[
        Path | None, Parameter(help="A folder of your own files, in place of generated ones.")
    ] = None,
    report: Annotated[
        Path | None, Parameter(help="Write the completion report, as JSON, to this file.")
    ] = None,
    profile: Annotated[str, Parameter(help="The profile that every item gets.")] = "web",
    keep: Annotated[
        bool, Parameter(negative="", help="Leave everything running until Ctrl-C, to look at it.")
    ] = False,
) -> int:
    """Watch real files become real outputs, on this machine alone.

    Starts Prefect, a worker, the receiver, a local Ittybit with real ffmpeg and a local S3;
    runs a batch over real media; runs it a second time, which submits nothing; and ends.
    """
    if report:
        _check_report(report)
    home = private_folder(Settings().home) / "demo"
    folder = _media(media, home)
    _start_clean(home)
    faults = home / "faults.yaml"
    faults.write_text(_FAULTS, encoding="utf-8")
    console.print("Starting Prefect, a worker, the receiver, a local Ittybit and a local S3 ...")
    began = time.monotonic()
    with LocalStack(
        home, faults=faults, on_event=lambda line: console.print(f"  {line}", style="dim")
    ) as stack:
        uploaded = stack.upload(folder, BUCKET, PREFIX)
        console.print(
            f"Up after {time.monotonic() - began:.0f} s. Prefect UI: {stack.prefect_url} "
            f"(sign in with {stack.prefect_auth})\n\n"
            f"{uploaded.count} files ({format_bytes(uploaded.size_bytes)}) are in {SOURCE}. "
            f"Starting a batch with profile {profile}:\n"
            f"  ittybatch run {SOURCE} --profile {profile} --follow\n"
        )
        environment = stack.process_environment()
        result = _run(environment, profile)
        found = _report(environment)
        _show(found)
        if report:
            report.write_text(json_module.dumps(found, indent=2) + "\n", encoding="utf-8")
            console.print(f"Report: {report}")
        _run_again(environment, profile, found["batch"]["id"])
        console.print(
            f"\nThe Prefect UI was at {stack.prefect_url}. The outputs stay in "
            f"{home / 'sandbox' / 'files'}, the logs in {home / 'logs'}.\n"
            f"It took {time.monotonic() - began:.0f} s. `ittybatch demo --keep` leaves "
            "everything up to look at."
        )
        if keep:
            _wait_for_interrupt(stack.prefect_url)
    return result


def _media(given: Path | None, home: Path) -> Path:
    if given is None:
        folder = home.with_name("demo-media")
        console.print("Making videos, audio and pictures with ffmpeg ...")
        make_media(folder)
        return folder
    if not given.is_dir():
        raise IttybatchError(f"--media: there is no folder {given}.")
    return given


def _check_report(report: Path) -> None:
    if report.suffix.lower() != ".json":
        raise IttybatchError(
            f"--report: {report} is not named .json, and the report is JSON.",
            remedy="Name it .json; `ittybatch report` writes other formats.",
        )
    if not report.absolute().parent.is_dir():
        raise IttybatchError(f"--report: there is no folder {report.absolute().parent}.")


def _start_clean(home: Path) -> None:
    """Forget the demo before: this one shows everything from the beginning."""
    shutil.rmtree(home, ignore_errors=True)
    private_folder(home)


def _run(environment: dict[str, str], profile: str) -> int:
    command = [*_PROGRAM, "run", SOURCE, "--profile", profile, "--name", "demo", "--follow"]
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603


def _run_again(environment: dict[str, str], profile: str, first: str) -> None:
    console.print("The same batch once more submits nothing that has been done:")
    _run(environment, profile)
    # `latest` passes over a batch that found nothing to do, as this one should.
    [newest] = _told(environment, "status", "--all", "--limit", "1", "--json")
    second = _report(environment, newest["id"])
    if second["batch"]["id"] == first or second["counts"]["jobs"] != 0:
        raise IttybatchError(f"The second batch submitted {second['counts']['jobs']} jobs.")


def _report(environment: dict[str, str], batch: str = "latest") -> dict[str, Any]:
    found: dict[str, Any] = _told(environment, "report", batch)
    return found


def _told(environment: dict[str, str], *arguments: str) -> Any:  # noqa: ANN401  JSON
    """What a command of ours tells a program."""
    done = subprocess.run(  # noqa: S603  our own program
        [*_PROGRAM, *arguments], env=environment, check=False, capture_output=True
    )
    if done.returncode != SUCCEEDED:
        command = " ".join(arguments)
        raise IttybatchError(f"`ittybatch {command}` failed: {done.stderr.decode().strip()}")
    return json_module.loads(done.stdout)


def _show(found: dict[str, Any]) -> None:
    """A table of what came out, with the addresses where there is room for them."""
    wide = console.width >= _WIDE or not console.is_terminal
    columns = ["Item", "Rendition", "Status", "Attempts>", "Pixels", "Length>", "Size>"]
    rows = []
    for job in found["jobs"]:
        output = job["output"] or {}
        where = job["output_url"] or (job["error"] or {}).get("message")
        row = [
            job["input"].removeprefix(SOURCE),
            job["rendition"],
            job["status"],
            job["attempts"],
            f"{output['width']}x{output['height']}" if output.get("width") else "",
            format_duration(output.get("duration_s")),
            format_bytes(output.get("size_bytes")),
        ]
        rows.append([*row, where] if wide else row)
    print_table("Results", [*columns, "Output"] if wide else columns, rows)
    if not wide:
        for job in found["jobs"]:
            where = job["output_url"] or (job["error"] or {}).get("message")
            console.print(f"{job['rendition']:10} {where}", markup=False)


def _wait_for_interrupt(url: str) -> None:
    console.print(
        f"\nEverything stays up until Ctrl-C. Prefect UI: {url}\n"
        "In another terminal: export ITTYBATCH_HOME=.ittybatch/demo; ittybatch status"
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopping ...")
