"""Runs a job through its stages: probe, import, encode, export."""

import asyncio
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ittybit_sandbox.config import SandboxConfig
from ittybit_sandbox.errors import JobFailure
from ittybit_sandbox.jobs import Job, MediaFile
from ittybit_sandbox.media.adaptive import adaptive_recipe
from ittybit_sandbox.media.animation import animation_recipe
from ittybit_sandbox.media.audio import audio_recipe
from ittybit_sandbox.media.ffmpeg import Command, EmptyOutput, Ffmpeg
from ittybit_sandbox.media.image import image_recipe
from ittybit_sandbox.media.plan import FRAME_LIST, Recipe
from ittybit_sandbox.media.probe import Probed, describe_output, probe_input
from ittybit_sandbox.media.source import Fetcher
from ittybit_sandbox.media.storage import Storage
from ittybit_sandbox.media.video import video_recipe
from ittybit_sandbox.memory import Memory
from ittybit_sandbox.options import (
    OPTIONS,
    AnimationOptions,
    AudioOptions,
    ImageOptions,
    MediaOptions,
)
from ittybit_sandbox.vocabulary import JOB_KINDS, ErrorKind, Kind, Stage

_RECIPES: Final[dict[Kind, Callable[[Any, Probed, str], Recipe]]] = {
    Kind.VIDEO: video_recipe,
    Kind.AUDIO: audio_recipe,
    Kind.IMAGE: image_recipe,
    Kind.ANIMATION: animation_recipe,
    Kind.ADAPTIVE_VIDEO: adaptive_recipe,
}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_STEM_CHARS: Final = 80
_INPUT_NAME: Final = "input"
_JOINED_NAME: Final = "joined.png"
_MISSING_S: Final = 1.0
_MISSING_PART: Final = 0.05


class Pipeline:
    """Runs jobs, each in a temporary folder.

    Args:
        config: The limits.
        memory: Records each stage.
        fetcher: Downloads inputs.
        storage: Stores outputs.
        work_dir: Parent of the temporary folders.
    """

    def __init__(
        self,
        config: SandboxConfig,
        memory: Memory,
        fetcher: Fetcher,
        storage: Storage,
        work_dir: Path,
    ) -> None:
        self._memory = memory
        self._fetcher = fetcher
        self._storage = storage
        self._work_dir = work_dir
        self._ffmpeg = Ffmpeg(config.encode_threads, config.encode_timeout_s)

    async def run(self, job: Job) -> MediaFile:
        """Make and store the output of a job.

        Raises:
            JobFailure: The output cannot be made.
        """
        with tempfile.TemporaryDirectory(dir=self._work_dir, prefix=f"{job.id}-") as name:
            return await self._run_in(Path(name), job)

    async def _run_in(self, folder: Path, job: Job) -> MediaFile:
        request = job.request
        source = folder / _INPUT_NAME
        self._memory.enter(job, Stage.PROBE)
        await self._fetcher.fetch(request.input, source)
        if request.kind is Kind.EXPORT:
            return await self._copy(job, source)
        probed = await probe_input(source)
        job.probed = _probe_result(request.input, source, probed)
        if request.kind is Kind.PROBE:
            return job.probed
        self._memory.enter(job, Stage.IMPORT)
        if request.kind is Kind.IMPORT:
            return await self._copy(job, source) | _facts(probed)
        if probed.incomplete and probed.still_format is not None:
            message = "the picture breaks off: a part of its data is missing; upload it again"
            raise JobFailure(ErrorKind.INVALID_INPUT, message)
        if probed.tiled or probed.alpha_index is not None:
            source, probed = await self._join(folder, source, probed)
        return await self._encode(folder, job, source, probed)

    async def _join(self, folder: Path, source: Path, probed: Probed) -> tuple[Path, Probed]:
        """Join the streams of a picture: tiles, or colours and transparency."""
        joined = folder / _JOINED_NAME
        if probed.tiled:
            await self._ffmpeg.stitch(source, joined)
        elif probed.video_index is not None and probed.alpha_index is not None:
            await self._ffmpeg.merge_alpha(
                source, joined, colour=probed.video_index, alpha=probed.alpha_index
            )
        return joined, replace(await probe_input(joined), still_format=probed.still_format)

    async def _encode(self, folder: Path, job: Job, source: Path, probed: Probed) -> MediaFile:
        request = job.request
        if request.kind not in JOB_KINDS:
            message = f"kind {request.kind} cannot be encoded"
            raise JobFailure(ErrorKind.INVALID_INPUT, message)
        self._memory.enter(job, Stage.ENCODE)
        options = OPTIONS[request.kind].model_validate(request.options)
        make_recipe = _RECIPES[request.kind]
        recipe = make_recipe(options, probed, _stem(request.output or request.input))
        output_dir = folder / "output"
        output_dir.mkdir()
        output = await self._run_commands(recipe, source, output_dir, probed.decoder)
        facts = await describe_output(output, recipe.format)
        if recipe.listing is not None and "duration" not in facts:
            frames = await self._count(recipe.listing, source, folder, probed.decoder)
            facts["duration"] = frames / recipe.fps
        _check(facts, options, probed)
        self._memory.enter(job, Stage.EXPORT)
        url = await self._storage.store(job.id, output, target=request.output)
        return MediaFile(url=url, kind=request.kind) | facts

    async def _run_commands(
        self, recipe: Recipe, source: Path, output_dir: Path, decoder: str | None
    ) -> Path:
        for command in recipe.commands[:-1]:
            with suppress(EmptyOutput):
                await self._ffmpeg.run(command, source=source, folder=output_dir, decoder=decoder)
                return output_dir / recipe.file_name
        last = recipe.commands[-1]
        await self._ffmpeg.run(last, source=source, folder=output_dir, decoder=decoder)
        return output_dir / recipe.file_name

    async def _count(
        self, listing: Command, source: Path, folder: Path, decoder: str | None
    ) -> int:
        """Count the frames that the output may have merged."""
        await self._ffmpeg.run(listing, source=source, folder=folder, decoder=decoder)
        lines = (folder / FRAME_LIST).read_text().splitlines()
        return sum(not line.startswith("#") for line in lines)

    async def _copy(self, job: Job, source: Path) -> MediaFile:
        suffix = Path(urlsplit(job.request.input).path).suffix
        named = source.with_name(_stem(job.request.input) + _UNSAFE.sub("", suffix))
        await asyncio.to_thread(source.rename, named)
        size = (await asyncio.to_thread(named.stat)).st_size
        url = await self._storage.store(job.id, named, target=job.request.output)
        return MediaFile(url=url, kind=job.request.kind, size=size)


def _probe_result(url: str, source: Path, probed: Probed) -> MediaFile:
    return MediaFile(url=url, size=source.stat().st_size) | _facts(probed)


def _facts(probed: Probed) -> MediaFile:
    facts = MediaFile(kind=probed.media_kind, format=probed.format)
    if probed.width and probed.height:
        facts |= {"width": probed.width, "height": probed.height}
    if probed.duration_s is not None:
        facts["duration"] = probed.duration_s
    return facts


def _check(facts: MediaFile, options: MediaOptions, probed: Probed) -> None:
    """Refuse an output without a picture, or one that is shorter than requested.

    Raises:
        JobFailure: The input cannot be decoded to its end.
    """
    needs_picture = probed.has_video and not isinstance(options, AudioOptions)
    if needs_picture and not facts.get("width"):
        message = "could not decode the input: its video gave no picture"
        raise JobFailure(ErrorKind.INVALID_INPUT, message)
    if isinstance(options, ImageOptions):
        return
    lengths = {AudioOptions: probed.audio_s, AnimationOptions: probed.video_s}
    available_s = lengths.get(type(options), probed.duration_s)
    if available_s is None:
        return
    requested_s = min(options.end or available_s, available_s) - (options.start or 0)
    found_s = facts.get("duration") or 0.0
    if requested_s - found_s > max(_MISSING_S, _MISSING_PART * requested_s):
        message = f"could not decode the input: only {found_s:.1f} s of {requested_s:.1f} s"
        raise JobFailure(ErrorKind.INVALID_INPUT, message)


def _stem(url: str) -> str:
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    stem = _UNSAFE.sub("_", name.rpartition(".")[0] or name).strip("._-")
    return stem[:_MAX_STEM_CHARS] or "output"
