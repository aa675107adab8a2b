"""The first batches, all at the same time, as a busy installation has them."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ittybatch_local import make_broken
from tests.end_to_end.prefect_api import Sightings
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

BUCKET = "media"
PICTURE = "colour-wheel-800x800.png"
BROKEN = "not-a-film.mp4"
STUMBLES = "fractal-1600x1200.jpg"
_WITHIN_S = 300
# One job fails the first time, as encoders on preempted machines do.
_FAULTS = {
    "jobs": [
        {
            "match": {
                "input": f"*/library/{STUMBLES}",
                "metadata": {"ittybatch_rendition": "thumb"},
            },
            "action": "fail_once",
            "error": {"kind": "internal_error", "message": "the encoder was preempted"},
        }
    ]
}
_SCRIPT = """\
from ittybatch.flows.run_batch import run_batch
from ittybatch.sources import BucketSource

run_batch(BucketSource(uri="s3://{bucket}/in-place/"), profile="web")
"""


@dataclass(frozen=True, slots=True)
class First:
    """One batch, and how the command that ran it ended."""

    batch: str
    source: str
    exit_status: int
    said: str


@dataclass(frozen=True, slots=True)
class FirstBatches:
    """A whole library, one with a broken file, and a picture by a direct call.

    `processes` are those that each flow run was seen to have, by its id.
    """

    library: First
    broken: First
    in_place: First
    processes: dict[str, set[str]]


def run_first_batches(system: System, library: Path, folder: Path) -> FirstBatches:
    """Upload what they are about, start all three, and wait for their ends."""
    upload(system, library, folder)
    script = folder / "in_place.py"
    script.write_text(_SCRIPT.format(bucket=BUCKET))
    seen = Sightings(system.prefect)
    sleepy = system.prefect.environment("process-chunk/process-chunk", ITTYBATCH_LINGER_S="0")
    with system.wire.faults(_FAULTS), sleepy:
        commands = {
            "library": _follow(system, "library"),
            "broken": _follow(system, "broken"),
            "in-place": system.start(str(script), program=(sys.executable,)),
        }

        def have_ended() -> bool:
            seen.look()
            return all(command.poll() is not None for command in commands.values())

        until(have_ended, "the commands have ended", within_s=_WITHIN_S, every_s=0.5)
        said = {name: "".join(command.communicate()) for name, command in commands.items()}
        first = {
            name: First(system.newest(source(name)), source(name), command.returncode, said[name])
            for name, command in commands.items()
        }
        for each in first.values():
            system.await_end(each.batch)
    seen.look()
    return FirstBatches(first["library"], first["broken"], first["in-place"], seen.processes)


def source(name: str) -> str:
    """Where the objects of one batch are."""
    return f"s3://{BUCKET}/{name}/"


def upload(system: System, library: Path, folder: Path) -> None:
    """Put the library, a broken file beside a picture, and a picture into the bucket."""
    broken, single = folder / "broken", folder / "single"
    make_broken(broken / BROKEN)
    single.mkdir()
    for each in (broken, single):
        shutil.copy(library / PICTURE, each)
    assert system.stack.upload(library, BUCKET, "library/").count == 8
    assert system.stack.upload(broken, BUCKET, "broken/").count == 2
    assert system.stack.upload(single, BUCKET, "in-place/").count == 1


def _follow(system: System, name: str) -> subprocess.Popen[str]:
    return system.start("run", source(name), "--profile", "web", "--follow")
