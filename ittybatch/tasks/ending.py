"""Ending: a flow run that fails for a known reason ends with one line and no traceback."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from prefect import State
from prefect.exceptions import Abort
from prefect.logging import get_run_logger
from prefect.states import Crashed, Failed

from ittybatch.errors import IttybatchError
from ittybatch.tasks.leg import LegInterrupted, this_run

P = ParamSpec("P")


def ends_quietly(flow_function: Callable[P, State[None]]) -> Callable[P, State[None]]:
    """Let a flow function end in a state, with a message, where it raises an error of ours.

    A leg that was interrupted ends as Crashed, and not as Failed: its batch has not failed, and
    another run goes on with it. Alerts on Failed are about batches.
    """

    @wraps(flow_function)
    def run(*args: P.args, **kwargs: P.kwargs) -> State[None]:
        try:
            return _without_traceback(flow_function(*args, **kwargs))
        except LegInterrupted as error:
            get_run_logger().error("%s", error)
            return _without_traceback(_interrupted(str(error)))
        except IttybatchError as error:
            get_run_logger().error("%s", error)
            return _without_traceback(Failed(message=str(error)))

    return run


def _interrupted(why: str) -> State[None]:
    if this_run()[1] is None:
        # Nothing takes the place of a direct call.
        return Failed(message=why)
    return Crashed(message=f"{why} Another flow run goes on from here.")


def _without_traceback(state: State[None]) -> State[None]:
    """Keep Prefect's engine from logging a traceback because of a state.

    At the end of a deployed run the engine raises the exception of every state that is not
    Completed, and logs it as unexpected. An Abort passes through it, and its process exits
    with 0. Who calls a flow directly gets an exception that can be caught instead.
    """
    if not state.is_completed() and this_run()[1] is not None:
        state.data = Abort(state.message)
    return state
