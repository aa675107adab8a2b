"""The levers of a batch: forms that approve, pause, resume, cancel, tune and adopt it."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.engine.flow_runs import PrefectUnavailable
from ittybatch.engine.starting import ADOPT_DEPLOYMENT, start_upkeep
from ittybatch.engine.steering import FLOW_RUNS_LATER, Action, steer
from ittybatch.engine.tuning import Tuning
from ittybatch.errors import IttybatchError
from ittybatch.ledger.actions import Via
from ittybatch.ledger.batches import read_batch
from ittybatch.page.batch_address import batch_context, batch_url, known_batch
from ittybatch.page.batch_views import now_of
from ittybatch.page.forms import read_form
from ittybatch.page.outcomes import Outcome
from ittybatch.page.shell import Shell
from ittybatch.page.tuning_form import read_tuning


async def approve(request: Request) -> Response:
    """Approve a batch."""
    return await _steer(request, Action.APPROVE)


async def pause(request: Request) -> Response:
    """Pause a batch."""
    return await _steer(request, Action.PAUSE)


async def resume(request: Request) -> Response:
    """Resume a batch."""
    return await _steer(request, Action.RESUME)


async def cancel(request: Request) -> Response:
    """Cancel a batch."""
    return await _steer(request, Action.CANCEL)


async def confirm_cancel(request: Request) -> Response:
    """Ask whether to cancel a batch, and say what that stops and what it does not."""
    shell = Shell.of(request)
    batch = await known_batch(request)
    now = await shell.read(now_of, batch, shell.settings)
    return await shell.render(request, "batch_cancel.html", **batch_context(batch), now=now)


async def tune(request: Request) -> Response:
    """Change the options of a batch that the form changes, or show what is wrong beside them."""
    shell = Shell.of(request)
    batch = await known_batch(request)
    form = await read_form(request)
    found = await shell.read(read_batch, batch)
    tuned = read_tuning(form, found.options)
    if tuned.changes is None:
        return await shell.render(
            request,
            "batch_tune.html",
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            **batch_context(batch),
            name=found.name,
            fields=tuned.fields,
        )
    if not tuned.changes.model_dump(exclude_none=True):
        work = partial(_unchanged, batch, tuned.already)
        return await shell.act(request, Action.TUNE.value, work, back=batch_url(batch), batch=batch)
    return await _steer(request, Action.TUNE, tuned.changes)


async def adopt(request: Request) -> Response:
    """Start the flow run that records jobs which another ledger has sent."""
    batch = await known_batch(request)

    def start() -> str:
        run = start_upkeep(ADOPT_DEPLOYMENT, {"batch": batch}, by="page")
        return (
            f"Flow run {run} looks up the unsent jobs of batch {batch} at Ittybit and records "
            "those that exist; it sends nothing. Its outcome will be among the actions on this "
            "page. Then resume the batch, which sends the rest."
        )

    shell = Shell.of(request)
    return await shell.act(request, "adopt", start, back=batch_url(batch), batch=batch, calls=True)


async def _steer(request: Request, action: Action, changes: Tuning | None = None) -> Response:
    shell = Shell.of(request)
    batch = await known_batch(request)
    work = partial(pull, shell, batch, action, request.state.viewer.name, changes)
    return await shell.act(
        request,
        action.value,
        work,
        back=batch_url(batch),
        batch=batch,
        calls=action in {Action.APPROVE, Action.RESUME},
        regions=partial(_regions, request, batch),
    )


async def _regions(request: Request, batch: str) -> dict[str, str]:
    """The header and the plan, so that neither contradicts the outcome beside it."""
    shell = Shell.of(request)
    now = await shell.read(now_of, batch, shell.settings)
    context = {**batch_context(batch), "now": now}
    return {
        name: shell.html(request, f"regions/batch_{name}.html", **context)
        for name in ("now", "plan")
    }


def pull(shell: Shell, batch: str, action: Action, by: str, changes: Tuning | None) -> Outcome:
    """Pull a lever, and tell the outcome in words; the lever records itself.

    Pause, cancel and tune do not call Prefect.

    Args:
        shell: The ledger and the settings.
        batch: The batch's id.
        action: The action.
        by: The viewer's name.
        changes: The new options, for `tune`.
    """
    try:
        done = steer(
            shell.ledger,
            shell.settings,
            batch,
            action,
            by=by,
            via=Via.PAGE,
            changes=changes,
            collects=False,
        )
    except PrefectUnavailable as error:
        state = shell.ledger.read(read_batch, batch).state.value
        return Outcome(f"Batch {batch} is {state}. {FLOW_RUNS_LATER}", partly=True, id=error.record)
    except IttybatchError as error:
        return Outcome(str(error), refused=True, id=error.record)
    return Outcome(done.describe(), id=done.record)


def _unchanged(batch: str, already: Sequence[str]) -> Outcome:
    if already:
        # As after a double click: nobody is refused what they wanted.
        return Outcome(f"Batch {batch} has that already: {', '.join(already)}.")
    return Outcome(f"No field was changed, so batch {batch} runs as before.", refused=True)


def routes() -> list[Route]:
    """The routes of these forms."""
    return [
        Route("/batches/{batch}/approve", approve, methods=["POST"]),
        Route("/batches/{batch}/pause", pause, methods=["POST"]),
        Route("/batches/{batch}/resume", resume, methods=["POST"]),
        Route("/batches/{batch}/cancel", confirm_cancel),
        Route("/batches/{batch}/cancel", cancel, methods=["POST"]),
        Route("/batches/{batch}/tune", tune, methods=["POST"]),
        Route("/batches/{batch}/adopt", adopt, methods=["POST"]),
    ]
