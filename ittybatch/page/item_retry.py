"""Make one job of an item again: a page that asks first, with the price, and the lever."""

from functools import partial
from http import HTTPStatus

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ittybatch.engine.advice import advise_job
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.retrying import Retry, count_retry, short_price
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Transaction
from ittybatch.ledger.history import ItemHistory, JobHistory
from ittybatch.ledger.media import read_id
from ittybatch.ledger.recorded import ledger_time
from ittybatch.ledger.results import options_of
from ittybatch.page.batch_address import batch_context
from ittybatch.page.forms import read_form
from ittybatch.page.item import UNSUCCESSFUL, item_of, reason_of
from ittybatch.page.outcomes import Outcome
from ittybatch.page.retrying import start_recorded
from ittybatch.page.shell import Shell
from ittybatch.settings import Settings
from ittybatch.sources import FailedJobsSource


async def confirm(request: Request) -> Response:
    """Ask whether to make a job again, with the reason of its failure and what it may cost."""
    shell = Shell.of(request)
    item = await item_of(request)
    asked = request.query_params.get("job")
    if asked is None:
        address = f"/page/items/{item.chunk_id}/{item.number}"
        return RedirectResponse(address, HTTPStatus.SEE_OTHER)
    job = _job_of(item, asked)
    if job.state not in UNSUCCESSFUL:
        return RedirectResponse(_address(item, job), HTTPStatus.SEE_OTHER)
    before = (await shell.read(ledger_time)).isoformat()
    found = await shell.read(_count, shell.settings, _source_of(item, job, before))
    return await shell.render(
        request,
        "batch_retry.html",
        **batch_context(item.batch_id),
        name=item.batch_name,
        retry=found,
        price=short_price(found.estimate),
        group=None,
        fields=[("job", str(job.id)), ("before", before)],
        one=job,
        item=item,
        advice=advise_job(reason_of(job)),
        back=_address(item, job),
    )


async def retry(request: Request) -> Response:
    """Make a job again that did not succeed, in a batch of its own."""
    shell = Shell.of(request)
    item = await item_of(request)
    form = await read_form(request)
    wanted = _job_of(item, form.text("job"))
    by = request.state.viewer.name
    return await shell.act(
        request,
        "retry",
        partial(_retry, shell, item, wanted, form.text("before"), by),
        back=_address(item, wanted),
        batch=item.batch_id,
        calls=True,
    )


def _job_of(item: ItemHistory, text: str) -> JobHistory:
    wanted = read_id(text)
    for each in item.jobs:
        if each.id == wanted:
            return each
    raise HTTPException(HTTPStatus.NOT_FOUND, "This item has no such job.")


def _address(item: ItemHistory, job: JobHistory) -> str:
    return f"/page/items/{item.chunk_id}/{item.number}#job-{job.id}"


def _source_of(item: ItemHistory, job: JobHistory, before: str) -> FailedJobsSource:
    return FailedJobsSource.model_validate(
        {
            "batch": item.batch_id,
            "states": [job.state.value],
            "jobs": [job.id],
            "skip_retried": True,
            "recorded_before": before,
        }
    )


def _count(transaction: Transaction, settings: Settings, source: FailedJobsSource) -> Retry:
    options = BatchOptions.model_validate(options_of(transaction, source.batch))
    return count_retry(transaction, settings, source, options)


def _retry(shell: Shell, item: ItemHistory, job: JobHistory, before: str, by: str) -> Outcome:
    """Start the batch that makes a job again, once for each time that the form was shown."""
    if job.state not in UNSUCCESSFUL:
        text = f"{job.rendition} has not failed: it is {job.state.value}. Nothing was started."
        return Outcome(text, refused=True)
    try:
        source = _source_of(item, job, before or shell.ledger.read(ledger_time).isoformat())
    except ValidationError:
        raise IttybatchError(
            "The form has a time that cannot be read, so nothing was started.",
            remedy="Load the page again, and press the button once more.",
        ) from None
    found = shell.ledger.read(_count, shell.settings, source)
    details = {"job": job.id, "rendition": job.rendition, "input": item.uri}
    confirm_at = f"/page/items/{item.chunk_id}/{item.number}/retry?job={job.id}"
    return start_recorded(shell, found, by, details, confirmed=1, confirm_at=confirm_at)


def routes() -> list[Route]:
    """The routes of this page."""
    return [
        Route("/items/{chunk}/{number}/retry", confirm),
        Route("/items/{chunk}/{number}/retry", retry, methods=["POST"]),
    ]
