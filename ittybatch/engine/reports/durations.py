"""Durations of inputs, as measured by Ittybit.

Each job at Ittybit lists its tasks. The first task, `probe`, reports the duration of the input;
see https://ittybit.com/api/get-job.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from ittybatch.engine.connection import connect
from ittybatch.errors import IttybatchError
from ittybatch.ittybit.client import IttybitClient
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


class InputDurations:
    """Requests durations of inputs from Ittybit. If a request fails, its duration is unknown.

    Args:
        settings: Ittybit's address and API key. Without a key, every duration is unknown.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._failures = 0

    def of(self, rows: Iterable[Result]) -> Mapping[str, float]:
        """Look up the durations of the jobs' inputs, one request per input.

        Returns:
            Known durations in seconds, by the URI of the input.
        """
        tasks = {row.input: row.task_id for row in rows if row.task_id and _is_timed(row)}
        if not tasks or self._failures >= _MAX_FAILURES or self._settings.api_key is None:
            return {}
        return asyncio.run(self._look_up(tasks))

    async def _look_up(self, tasks: Mapping[str, str]) -> Mapping[str, float]:
        slots = asyncio.Semaphore(_MAX_CONCURRENT)
        async with connect(self._settings) as client:
            found = await asyncio.gather(
                *(self._look_up_one(client, slots, task) for task in tasks.values())
            )
        return {uri: seconds for uri, seconds in zip(tasks, found, strict=True) if seconds}

    async def _look_up_one(
        self, client: IttybitClient, slots: asyncio.Semaphore, task: str
    ) -> float | None:
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
        return _probed_duration(job.raw)


def is_too_short(row: Result, input_s: float) -> bool:
    """Check whether a job's output is shorter than the part of the input that it should cover.

    Args:
        row: A job that succeeded.
        input_s: Duration of the job's input in seconds.
    """
    if row.duration_s is None or not _is_timed(row):
        return False
    options = _options(row)
    start, end = _seconds(options.get("start")) or 0.0, _seconds(options.get("end"))
    expected_s = min(input_s, end if end is not None else input_s) - start
    return expected_s - row.duration_s > max(_TOLERANCE_S, _TOLERANCE_SHARE * expected_s)


def _is_timed(row: Result) -> bool:
    return (
        row.state is JobState.SUCCEEDED and row.duration_s is not None and row.kind in _TIMED_KINDS
    )


def _probed_duration(job: Mapping[str, Any]) -> float | None:
    tasks = job.get("tasks")
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
