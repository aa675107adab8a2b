"""Steps and flows that end with a sentence, not a traceback, when they meet an error of ours."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from prefect import State, Task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import Abort
from prefect.logging import get_run_logger
from prefect.states import Crashed, Failed, raise_state_exception

from ittybatch.errors import IttybatchError
from ittybatch.tasks.leg import LegInterrupted, this_run

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a Prefect task without cache and persisted result.

    A cached result belongs to the task's source code: after a deploy the task would run again.
    The ledger remembers instead.

    Prefect logs a traceback of every exception that a task raises. So an error of ours ends the
    task in a state that carries it, and is raised again in the flow. That state is Crashed,
    because Prefect logs a Failed one as an error without an exception ("NoneType: None").
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


def ends_quietly(flow_function: Callable[P, State[R]]) -> Callable[P, R]:
    """Turn an error of ours that a flow function raises into the flow's final state.

    An interrupted leg ends as Crashed, not Failed: its batch has not failed, and another run
    continues it. Alerts on Failed are about batches.

    Its type is that of the state's data: Prefect gives a direct caller that and not the state.
    """

    @wraps(flow_function)
    def run(*args: P.args, **kwargs: P.kwargs) -> State[R]:
        try:
            return _without_traceback(flow_function(*args, **kwargs))
        except LegInterrupted as error:
            get_run_logger().error("%s", error)
            return _without_traceback(_interrupted(str(error)))
        except IttybatchError as error:
            get_run_logger().error("%s", error)
            return _without_traceback(Failed(message=str(error)))

    return cast("Callable[P, R]", run)


def _interrupted(why: str) -> State[R]:
    if this_run()[1] is None:
        # Nothing replaces a direct call.
        return Failed(message=why)
    return Crashed(message=f"{why} Another flow run continues from here.")


def _without_traceback(state: State[R]) -> State[R]:
    """Keep Prefect's engine from logging a traceback because of a state.

    At the end of a deployed run the engine raises the exception of every state that is not
    Completed, and logs it as unexpected. An Abort passes through it, and its process exits
    with 0. A direct caller gets an ordinary exception instead.
    """
    if not state.is_completed() and this_run()[1] is not None:
        state.data = Abort(state.message)
    return state
