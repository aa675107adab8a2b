"""Durations of inputs and outputs, as measured by Ittybit.

Each job at Ittybit lists its tasks. The first task, `probe`, reports the duration of the input;
see https://ittybit.com/api/get-job. Webhooks in envelope form leave out the output's duration, so
those outputs are looked up as well.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ittybatch.engine.connection import connect
from ittybatch.errors import IttybatchError
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.job import Job
from ittybatch.ittybit.options import Kind
from ittybatch.ledger.results import Result
from ittybatch.ledger.states import JobState
from ittybatch.settings import Settings

_MAX_CONCURRENT = 32
_TIMEOUT_S = 30.0
# Stop asking Ittybit after this many failures in a row, so that the report can finish.
_MAX_FAILURES = 20
_TIMED_KINDS = {Kind.VIDEO.value, Kind.AUDIO.value, Kind.ANIMATION.value, Kind.ADAPTIVE_VIDEO.value}
# Encoders cut at keyframes and packets, so durations differ a little.
_TOLERANCE_S = 1.0
_TOLERANCE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Durations:
    """Known durations in seconds.

    Args:
        inputs: Of inputs, by URI.
        outputs: Of outputs that the ledger knows no duration of, by Ittybit's id of their job.
    """

    inputs: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, float] = field(default_factory=dict)


class DurationLookup:
    """Requests durations from Ittybit. If a request fails, its durations are unknown.

    Args:
        settings: Ittybit's address and API key. Without a key, every duration is unknown.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._failures = 0

    def of(self, rows: Iterable[Result]) -> Durations:
        """Look up durations: one request per input, and one per output of unknown duration."""
        timed = [row for row in rows if row.task_id and _is_timed(row)]
        # The job of an output of unknown duration tells that of its input, too.
        timed.sort(key=lambda row: row.duration_s is None)
        of_inputs = {row.input: str(row.task_id) for row in timed}
        unknown = {str(row.task_id) for row in timed if row.duration_s is None}
        tasks = sorted({*of_inputs.values(), *unknown})
        if not tasks or self._failures >= _MAX_FAILURES or self._settings.api_key is None:
            return Durations()
        jobs = asyncio.run(self._look_up(tasks))
        inputs = {uri: _probed_duration(jobs.get(task)) for uri, task in of_inputs.items()}
        outputs = {task: _output_duration(jobs.get(task)) for task in unknown}
        # An input of no length is one that could not be measured; an output may be empty.
        return Durations(
            {uri: seconds for uri, seconds in inputs.items() if seconds},
            {task: seconds for task, seconds in outputs.items() if seconds is not None},
        )

    async def _look_up(self, tasks: Sequence[str]) -> Mapping[str, Job]:
        slots = asyncio.Semaphore(_MAX_CONCURRENT)
        async with connect(self._settings) as client:
            found = await asyncio.gather(
                *(self._look_up_one(client, slots, task) for task in tasks)
            )
        return {task: job for task, job in zip(tasks, found, strict=True) if job is not None}

    async def _look_up_one(
        self, client: IttybitClient, slots: asyncio.Semaphore, task: str
    ) -> Job | None:
        async with slots:
            if self._failures >= _MAX_FAILURES:
                return None
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    job = await client.get_job(task)
            except (IttybatchError, TimeoutError):
                self._failures += 1
                return None
        self._failures = 0
        return job


def is_too_short(row: Result, durations: Durations) -> bool:
    """Check whether a job's output is shorter than the part of the input that it should cover.

    Args:
        row: A job that succeeded.
        durations: What was looked up.

    Returns:
        False also if one of the two durations is unknown.
    """
    input_s = durations.inputs.get(row.input)
    output_s = row.duration_s
    if output_s is None:
        output_s = durations.outputs.get(row.task_id or "")
    if input_s is None or output_s is None or not _is_timed(row):
        return False
    options = _options(row)
    start, end = _seconds(options.get("start")) or 0.0, _seconds(options.get("end"))
    expected_s = min(input_s, end if end is not None else input_s) - start
    return expected_s - output_s > max(_TOLERANCE_S, _TOLERANCE_SHARE * expected_s)


def _is_timed(row: Result) -> bool:
    return row.state is JobState.SUCCEEDED and row.kind in _TIMED_KINDS


def _output_duration(job: Job | None) -> float | None:
    return job.outputs[0].duration_s if job is not None and job.outputs else None


def _probed_duration(job: Job | None) -> float | None:
    tasks = job.raw.get("tasks") if job is not None else None
    for task in tasks if isinstance(tasks, Sequence) else ():
        if isinstance(task, Mapping) and task.get("kind") == "probe":
            output = task.get("output")
            return _seconds(output.get("duration")) if isinstance(output, Mapping) else None
    return None


def _options(row: Result) -> Mapping[str, Any]:
    try:
        options = orjson.loads(row.options)
    except orjson.JSONDecodeError:
        return {}
    return options if isinstance(options, Mapping) else {}


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None
