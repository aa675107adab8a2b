"""A batch of a whole bucket or manifest: planned first, sent once somebody has approved it."""

import hashlib
import re
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ittybatch.engine.flow_runs import PrefectUnavailable, open_flow_runs, require_prefect
from ittybatch.engine.options import RunOptions
from ittybatch.engine.recording import recorded
from ittybatch.engine.run_status import RunStatus
from ittybatch.engine.starting import start_batch
from ittybatch.errors import IttybatchError
from ittybatch.intake.addresses import check_address
from ittybatch.intake.wanted import RequestRefused
from ittybatch.ittybit.redaction import shown_source
from ittybatch.ledger.actions import Asker
from ittybatch.ledger.queries import batch_of_run
from ittybatch.page.forms import Form, read_form, words_of
from ittybatch.page.making import asker_of
from ittybatch.page.new import show
from ittybatch.page.shell import Shell
from ittybatch.profiles import load_profile, refuse_overlap
from ittybatch.sources import ReadableSource, parse_source, scanned_folders

_PAGE = "started.html"
_DEPLOYMENT = "adhoc"
_KEY = re.compile(r"[0-9a-f]{32}")
# Other sources name files and variables of the worker, which only its operator should choose.
_SCHEMES = ("s3://", "https://", "http://", "inventory+s3://")
_FILTERS = ("glob", "exclude", "min_size", "max_size", "modified_since")
_OPTIONS = (
    "name", "priority", "max_submissions", "cost_per_job", "max_cost", "canary_items",
)  # fmt: skip
# The viewer waits for it. A run has more patience.
_MANIFEST_WITHIN_S = 8.0
_FLAGS = ("skip_existing", "again")


async def start(request: Request) -> Response:
    """Start the run that plans the batch, and then waits for its approval."""
    form = await read_form(request)
    shell = Shell.of(request)
    try:
        flow_run = await shell.call(_start, shell, form, asker_of(request))
    except IttybatchError as error:
        return await show(request, error=error, where="library", given=form)
    return RedirectResponse(f"/page/new/started/{flow_run}", HTTPStatus.SEE_OTHER)


def _parameters(shell: Shell, form: Form) -> dict[str, Any]:
    """The parameters of the run. This reads the profile and an inventory's manifest.

    Raises:
        IttybatchError: A field cannot be used.
    """
    profile = form.text("make").removeprefix("profile:")
    source = _source_of(form, allow_private=shell.settings.allow_private_urls)
    if "/" in profile or profile.endswith((".yaml", ".yml")):
        raise _refused("profile", f"{profile[:100]!r} is not the name of a profile.", "Choose one.")
    chosen = load_profile(profile, shell.settings.profiles_dir)
    if folders := scanned_folders(source, within_s=_MANIFEST_WITHIN_S):
        refuse_overlap(chosen, folders)
    given = {name: form.text(name) for name in _OPTIONS if form.text(name)}
    flags = {name: True for name in _FLAGS if form.is_on(name)}
    try:
        options = RunOptions.model_validate({**given, **flags})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _refused(
            ".".join(map(str, first["loc"])) or "options",
            words_of(first),
            "Correct it. Nothing was started.",
        ) from None
    return {
        "source": source.model_dump(mode="json", exclude_none=True),
        "profile": profile,
        # Whatever the deployment allows without asking: here somebody wants to see the plan.
        "options": {
            **options.model_dump(mode="json", exclude_unset=True),
            "approve_above_jobs": 0,
        },
    }


def _source_of(form: Form, *, allow_private: bool) -> ReadableSource:
    text = form.text("source")
    if not text.startswith(_SCHEMES):
        raise _refused(
            "source",
            "It is not the address of a bucket or a manifest.",
            "Write s3://bucket/prefix/, or the s3:// or https:// address of a CSV, JSON Lines, "
            "Parquet or Excel file. Other sources: `ittybatch run`.",
        )
    if text.startswith("http"):
        check_address(text, allow_private=allow_private, field="source")
    given: dict[str, Any] = {name: form.text(name) for name in _FILTERS if form.text(name)}
    if suffixes := [each for each in re.split(r"[\s,]+", form.text("suffixes")) if each]:
        given["suffixes"] = suffixes
    if form.is_on("since_last_scan"):
        given["since_last_scan"] = True
    return parse_source(text, given)


def _start(shell: Shell, form: Form, asker: Asker) -> str:
    parameters = _parameters(shell, form)
    key = form.text("key")
    if not _KEY.fullmatch(key):
        raise _refused("form", "The form is not of this page.", "Open New, and begin again.")
    # The same form sent twice is one run; after a change, it is another.
    digest = hashlib.sha256(orjson.dumps([key, parameters], option=orjson.OPT_SORT_KEYS))
    shown = {**parameters, "source": shown_source(parameters["source"])}
    with recorded(shell.ledger, asker, "run", details=shown) as record:
        require_prefect()
        with open_flow_runs() as flow_runs:
            flow_run = start_batch(
                flow_runs,
                _DEPLOYMENT,
                parameters,
                tags=["started-by:page"],
                idempotency_key=f"page:{digest.hexdigest()}",
            )
        record.outcome = "Asked for a batch, which plans and waits for approval."
        record.details["flow_run_id"] = flow_run
    return flow_run


async def started(request: Request) -> Response:
    """Show how far the run is until it has a batch, whose page follows."""
    return await _started(request, _PAGE)


async def region(request: Request) -> Response:
    """Render only the status, for the page that shows it already."""
    return await _started(request, "regions/started.html")


async def _started(request: Request, template: str) -> Response:
    try:
        flow_run = str(UUID(request.path_params["flow_run"]))
    except ValueError:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such flow run.") from None
    shell = Shell.of(request)
    batch = await shell.read(batch_of_run, flow_run)
    status, url, why = None, None, None
    if batch is None:
        status, url, why = await shell.look(_look, flow_run)
        if status is not None and status.ended:
            # It may have begun its batch, and ended, since the ledger was read.
            batch = await shell.read(batch_of_run, flow_run)
    if batch is not None:
        address = f"/page/batches/{batch}"
        if "hx-request" in request.headers:
            return Response(headers={"HX-Redirect": address})
        return RedirectResponse(address, HTTPStatus.SEE_OTHER)
    is_gone = status is None and why is None
    # A page that shows the run already must hear of it: an error would leave it asking.
    if is_gone and template == _PAGE:
        raise HTTPException(
            HTTPStatus.NOT_FOUND, "Prefect has no such flow run of a deployment of ittybatch."
        )
    return await shell.render(request, template, flow_run=flow_run, run=status, url=url, why=why)


def _look(flow_run: str) -> tuple[RunStatus | None, str | None, str | None]:
    """Ask Prefect about the run: its status, its page, and why it cannot be asked."""
    try:
        require_prefect()
        with open_flow_runs() as flow_runs:
            return flow_runs.batch_run(UUID(flow_run)), flow_runs.url(flow_run), None
    except PrefectUnavailable as error:
        return None, None, str(error)


def _refused(field: str, message: str, remedy: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, field, message, remedy)


def routes() -> list[Route]:
    """The routes of this page."""
    return [
        Route("/new/library", start, methods=["POST"]),
        Route("/new/started/{flow_run}", started),
        Route("/regions/started/{flow_run}", region),
    ]
