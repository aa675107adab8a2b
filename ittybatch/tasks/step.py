"""What all tasks have in common."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from prefect import State, Task
from prefect.cache_policies import NO_CACHE
from prefect.states import Crashed, raise_state_exception

from ittybatch.errors import IttybatchError

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a task that remembers nothing.

    No step may depend on what Prefect remembers: a result cached under a task's source would
    be made again after every deploy. The ledger remembers.

    Prefect logs a traceback of every error that a task raises. So an error of ours ends the
    task as a state that carries it, and is raised in the flow. The state is Crashed, because
    Prefect logs one that is Failed as an error without an exception ("NoneType: None").
    """

    def make(function: Callable[P, R]) -> Callable[P, R]:
        def run(*args: P.args, **kwargs: P.kwargs) -> R | State[R]:
            try:
                return function(*args, **kwargs)
            except IttybatchError as error:
                return Crashed(message=str(error), data=error)

        task = Task(
            wraps(function)(run),
            name=name,
            task_run_name=name,
            cache_policy=NO_CACHE,
            persist_result=False,
        )

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            result = task(*args, **kwargs)
            if isinstance(result, State):
                raise_state_exception(result)
            return cast("R", result)

        return call

    return make
