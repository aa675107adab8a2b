"""What all tasks have in common."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from ittybatch.errors import IttybatchError

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that remembers nothing.

    No step may depend on what Prefect remembers: a result cached under a task's source would
    be made again after every deploy. The ledger remembers.

    An error of ours fails the task with its message, and is raised in the flow. Prefect logs a
    traceback of whatever else a task raises.
    """

    def make(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except IttybatchError as error:
                # Prefect gives the exception of such a state back to the flow by raising it.
                return cast("R", Failed(message=str(error), data=error))

        return Task(run, name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)

    return make
