"""An intake that runs, a profile folder, and a sandbox that it sends to."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select

from ittybatch.engine.options import RunOptions
from ittybatch.intake.intake import Intake, Taken, TaskSpec, Wanted
from ittybatch.ledger import Ledger
from ittybatch.ledger.models import Batch, Chunk, Job, Run
from ittybatch.profiles import Item
from ittybatch.settings import Settings
from tests.sandbox.harness import KEY, Running

T = TypeVar("T")

WEB = """
renditions:
  - {name: hd, kind: video, options: {height: 1080}}
  - {name: sd, kind: video, options: {height: 480}}
  - {name: sound, kind: audio, when: {media: [video, audio]}}
"""
STORED = """
renditions:
  - {name: sd, kind: video, options: {height: 480}, destination: "s3://out/{stem}.mp4"}
"""


def profiles(folder: Path, **texts: str) -> Path:
    """A folder with these profiles."""
    folder.mkdir(exist_ok=True)
    for name, text in {"web": WEB, "stored": STORED, **texts}.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def settings_of(tmp_path: Path, url: str, **changes: Any) -> Settings:  # noqa: ANN401
    """Settings of a receiver that sends to this address."""
    given: dict[str, Any] = {
        "ITTYBIT_API_KEY": KEY,
        "ITTYBIT_API_URL": url,
        "home": tmp_path / "home",
        "profiles_dir": profiles(tmp_path / "profiles"),
    }
    return Settings(**{**given, **changes})


def run(
    ledger: Ledger,
    settings: Settings,
    work: Callable[[Intake], Awaitable[T]],
    options: Mapping[str, RunOptions] | None = None,
) -> T:
    """Start an intake, work with it, and stop it."""

    async def main() -> T:
        intake = Intake(ledger, settings, options)
        await intake.start()
        try:
            return await work(intake)
        finally:
            await intake.stop()

    return asyncio.run(main())


def take(
    ledger: Ledger,
    settings: Settings,
    *wanted: Wanted,
    options: Mapping[str, RunOptions] | None = None,
    answer_within_s: float = 10,
) -> list[Taken]:
    """Take requests that arrive at the same time."""

    async def work(intake: Intake) -> list[Taken]:
        return list(
            await asyncio.gather(
                *(intake.take(each, answer_within_s=answer_within_s) for each in wanted)
            )
        )

    return run(ledger, settings, work, options)


def by_profile(name: str, profile: str = "web", **changes: Any) -> Wanted:  # noqa: ANN401
    """A request for the renditions of a profile."""
    return Wanted(Item(f"s3://media/{name}", fingerprint="1"), profile=profile, **changes)


def by_kind(name: str, kind: str = "video", **changes: Any) -> Wanted:  # noqa: ANN401
    """A request for one job."""
    options = changes.pop("options", {"height": 480})
    return Wanted(Item(f"https://example.com/{name}"), tasks=[TaskSpec(kind, options)], **changes)


def sandbox_jobs(sandbox: Running) -> list[dict[str, Any]]:
    """Every job that the sandbox has."""
    found: list[dict[str, Any]] = sandbox.client.get("/_sandbox/jobs").json()
    return found


def batches(ledger: Ledger) -> list[Any]:
    """Every batch, the oldest first."""
    return ledger.read(
        lambda tx: tx.rows(select(*Batch.__table__.columns).order_by(Batch.created_at))
    )


def chunks(ledger: Ledger) -> list[Any]:
    """Every chunk."""
    return ledger.read(lambda tx: tx.rows(select(*Chunk.__table__.columns).order_by(Chunk.id)))


def jobs(ledger: Ledger) -> list[Any]:
    """Every job."""
    return ledger.read(lambda tx: tx.rows(select(*Job.__table__.columns).order_by(Job.id)))


def runs(ledger: Ledger) -> Sequence[Any]:
    """Every run, by its owner."""
    return ledger.read(lambda tx: tx.rows(select(*Run.__table__.columns).order_by(Run.owner)))
