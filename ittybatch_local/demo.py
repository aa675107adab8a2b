"""The command `ittybatch demo`: the product's own commands, on real media."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ittybatch.cli.output import console
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.amounts import format_bytes
from ittybatch.errors import IttybatchError
from ittybatch.home import private_folder
from ittybatch.settings import Settings
from ittybatch_local.browser import OpenPage, open_page_in_browser
from ittybatch_local.keys import write_private
from ittybatch_local.media import UNFINISHED, make_media, make_unfinished
from ittybatch_local.request import request
from ittybatch_local.stack import LocalStack
from ittybatch_local.unfinished import exit_status, explain

BUCKET, PREFIX = "demo-media", "library/"
SOURCE = f"s3://{BUCKET}/{PREFIX}"
_FAULTS = """\
jobs:
  - match: {kind: image}
    action: fail_once
    probability: 0.34
    error: {kind: internal_error, message: the encoder was preempted}
"""
_FAULTS_EXPLAINED = (
    "To show retries, the local Ittybit fails the first attempt of about every third picture."
)
_UNFINISHED_EXPLAINED = f"To show a failure, {UNFINISHED} is only half of a file."
# Examples, so that the demo shows what things cost. They are not Ittybit's prices.
PRICES = {
    "video": 0.05,
    "adaptive_video": 0.08,
    "animation": 0.01,
    "audio": 0.005,
    "image": 0.001,
}
_PROGRAM = (sys.executable, "-m", "ittybatch")


def demo(
    *,
    media: Annotated[
        Path | None, Parameter(help="A folder of your own files instead of generated ones.")
    ] = None,
    report: Annotated[
        Path | None, Parameter(help="Also write the completion report to this .json file.")
    ] = None,
    profile: Annotated[str, Parameter(help="The profile to apply to every item.")] = "web",
    keep: Annotated[
        bool, Parameter(negative="", help="Keep everything running until Ctrl-C.")
    ] = False,
    open_page: OpenPage = False,
) -> int:
    """Watch real files become real outputs, on this machine alone.

    Starts Prefect, a worker, the receiver, a local Ittybit with real ffmpeg and a local S3. Runs
    a batch over real media, then the same batch again, which submits nothing, then one request as
    an app sends it.
    """
    if report:
        _check_report(report)
    home = private_folder(Settings().home) / "demo"
    folder = _media(media, home)
    # The demo starts from an empty ledger, or its first batch would submit nothing.
    shutil.rmtree(home, ignore_errors=True)
    private_folder(home)
    faults = home / "faults.yaml"
    write_private(faults, _FAULTS)
    console.print("Starting Prefect, a worker, the receiver, a local Ittybit and a local S3 ...")
    began = time.monotonic()
    with LocalStack(
        home,
        faults=faults,
        kind_costs=PRICES,
        on_event=lambda line: console.print(f"  {line}", style="dim"),
    ) as stack:
        uploaded = stack.upload(folder, BUCKET, PREFIX)
        console.print(
            f"Up after {time.monotonic() - began:.0f} s. Watch it live: {stack.page_url}\n"
            f"Prefect UI: {stack.prefect_url} (sign in with {stack.prefect_auth})\n\n"
            f"{uploaded.count} files ({format_bytes(uploaded.size_bytes)}) are in {SOURCE}. "
            f"{_FAULTS_EXPLAINED} {'' if media else _UNFINISHED_EXPLAINED}"
        )
        if open_page:
            open_page_in_browser(stack.page_url)
        environment = stack.process_environment()
        run = ("run", SOURCE, "--profile", profile, "--name", "demo", "--follow")
        result = _show(environment, *run)
        found = _json(environment, "report", "latest")
        batch = found["batch"]["id"]
        _show(environment, "jobs", batch)
        if report:
            report.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            console.print(f"JSON report written to {report}.")
        console.print("\nThe same batch again submits nothing, because every job has ended:")
        _show(environment, *run)
        _check_second_batch(environment, batch)
        _show_request(stack, found["jobs"])
        console.print(f"\nThe demo took {time.monotonic() - began:.0f} s. It wrote:")
        for what, where in (
            ("HTML report", home / "batches" / batch / "report.html"),
            ("Outputs", home / "sandbox" / "files"),
            ("Logs", home / "logs"),
        ):
            console.print(f"  {what:12} {where}", markup=False)
        page = f"{stack.page_url}batches/{batch}"
        if explained := None if media else explain(found["jobs"], page):
            console.print(f"\n{explained}", markup=False, soft_wrap=True)
        if keep:
            _wait_for_interrupt(stack)
    if not keep:
        console.print(
            "\nEverything has stopped. To look again, start the same stack. It keeps its batches "
            f"until the next demo:\n  {_with_home(home)} {_with_prices()}ittybatch up",
            markup=False,
            soft_wrap=True,
        )
    return result if media else exit_status(result, found["jobs"])


def _show_request(stack: LocalStack, jobs: Sequence[Mapping[str, Any]]) -> None:
    """Send one request as an app does, about a film or picture of the batch."""
    seen = {"video", "image"}
    made = (each for each in jobs if each["status"] == "succeeded" and each["kind"] in seen)
    found = next(made, None)
    if found is None:
        return
    body = {"url": found["input"], "kind": "image", "options": {"width": 240, "format": "webp"}}
    console.print("\nAn app does not wait for a batch. It sends one upload to the receiver:")
    line = f"POST {stack.receiver_url}/process {json.dumps(body)}"
    console.print(f"\n$ {line}", style="bold", markup=False)
    done = request(stack.receiver_url, stack.api_token, body)
    console.print(
        f"Answered after {done.answered_s:.1f} s with {done.job['task_id']}; "
        f"{done.job['status']} after {done.ended_s:.1f} s: {done.job['output_url']}",
        markup=False,
    )


def _media(given: Path | None, home: Path) -> Path:
    if given is None:
        folder = home.with_name("demo-media")
        console.print("Making videos, audio and pictures with ffmpeg ...")
        make_media(folder)
        make_unfinished(folder)
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


def _show(environment: dict[str, str], *arguments: str) -> int:
    """Run a command of ours in this terminal, and show its command line first."""
    console.print(f"\n$ ittybatch {shlex.join(arguments)}", style="bold", markup=False)
    done = subprocess.run(  # noqa: S603  our own program
        [*_PROGRAM, *arguments], env=_in_terminal(environment), check=False
    )
    return done.returncode


def _in_terminal(environment: dict[str, str]) -> dict[str, str]:
    """The stack's environment, with colours where this terminal has them."""
    if console.no_color or not console.is_terminal:
        return environment
    return {name: value for name, value in environment.items() if name != "NO_COLOR"}


def _json(environment: dict[str, str], *arguments: str) -> Any:  # noqa: ANN401  JSON
    """Run a command of ours and parse its output."""
    done = subprocess.run(  # noqa: S603  our own program
        [*_PROGRAM, *arguments], env=environment, check=False, capture_output=True
    )
    if done.returncode != SUCCEEDED:
        command = " ".join(arguments)
        raise IttybatchError(f"`ittybatch {command}` failed: {done.stderr.decode().strip()}")
    return json.loads(done.stdout)


def _check_second_batch(environment: dict[str, str], first: str) -> None:
    # `latest` skips a batch that found nothing to do, and the second one should be like that.
    [newest] = _json(environment, "status", "--all", "--limit", "1", "--json")
    second = _json(environment, "report", newest["id"])
    if second["batch"]["id"] == first or second["counts"]["jobs"] != 0:
        raise IttybatchError(f"The second batch submitted {second['counts']['jobs']} jobs.")


def _with_home(home: Path) -> str:
    return f"ITTYBATCH_HOME={shlex.quote(str(home))}"


def _with_prices() -> str:
    own = Settings().kind_costs
    return "" if own else f"ITTYBATCH_KIND_COSTS='{json.dumps(PRICES, separators=(',', ':'))}' "


def _wait_for_interrupt(stack: LocalStack) -> None:
    console.print(
        f"\nEverything keeps running until Ctrl-C. The page is at {stack.page_url}\n"
        f"The Prefect UI is at {stack.prefect_url} (sign in with {stack.prefect_auth}).\n"
        f"In another terminal: {_with_home(stack.home)} ittybatch status",
        markup=False,
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopping ...")
