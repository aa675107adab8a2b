"""Make steps and flows end with a sentence, not a traceback, after an `IttybatchError`."""

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
    """Make a function a Prefect task without a cache or a persisted result.

    The ledger records what is done. A cached result would be lost on a deploy, because its key
    depends on the task's source code.

    Prefect logs a traceback for every exception that a task raises. So, after an `IttybatchError`,
    the task returns a state that contains the error, and the flow raises it again. That state is
    Crashed, because Prefect logs a Failed one as an error without an exception ("NoneType: None").
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
    """Turn an `IttybatchError` that a flow function raises into the flow's final state.

    An interrupted leg ends as Crashed, not Failed: its batch has not failed, and another run
    continues it. Failed is for batches, because alerts use it.

    The declared return type is that of the state's data, because Prefect returns the data, not the
    state, to a direct caller.
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
        # No other run replaces a direct call.
        return Failed(message=why)
    return Crashed(message=f"{why} Another flow run continues from here.")


def _without_traceback(state: State[R]) -> State[R]:
    """Keep Prefect's engine from logging a traceback for a final state.

    At the end of a deployed run, the engine raises the exception of every state that is not
    Completed, and logs it as unexpected. It does not log an Abort, and the process exits with 0.
    A direct caller gets an ordinary exception instead.
    """
    if not state.is_completed() and this_run()[1] is not None:
        state.data = Abort(state.message)
    return state
