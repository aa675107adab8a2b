"""The page of what is held back: jobs that would fail again, by reason, and their release."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ittybatch.engine.advice import advise_job
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.recording import recorded
from ittybatch.engine.releasing import count_release, rates_of, release_jobs
from ittybatch.engine.retrying import price_of, short_price
from ittybatch.errors import IttybatchError
from ittybatch.ledger.actions import PARTLY, Asker, Via
from ittybatch.ledger.held_groups import HeldGroup, held_groups
from ittybatch.ledger.media import read_id
from ittybatch.ledger.quarantine import HeldFilter, find_held
from ittybatch.ledger.queries import AmbiguousBatch, find_batch
from ittybatch.ledger.recorded import ledger_time
from ittybatch.ledger.states import JobState
from ittybatch.ledger.timeline import item_of_job
from ittybatch.page.forms import Form, read_form
from ittybatch.page.outcomes import Outcome
from ittybatch.page.shell import Shell
from ittybatch.settings import Settings

_PAGE = "/page/held"
_JOBS_A_PAGE = 100
_RELEASE = "release it: the next batch makes it"
_MAX_TEXT_CHARS = 2000
_STATES = {each.value: each for each in (JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED)}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which held jobs an address or a form asks for.

    Args:
        wanted: The filter.
        fields: The same as fields of an address or a form.
    """

    wanted: HeldFilter
    fields: Mapping[str, str]

    def address(self, path: str = _PAGE, **more: str) -> str:
        """An address with these fields."""
        query = urlencode({**self.fields, **more})
        return f"{path}?{query}" if query else path

    @property
    def group(self) -> bool:
        """Whether it is about one group: its jobs are listed one by one."""
        return self.wanted.alike is not None or self.wanted.state is not None


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """A group, with what the page says about it.

    Args:
        group: The group.
        advice: What to do about it.
        price: What making its jobs again would cost, in words.
        fields: What releases it, as fields of a form.
        address: Address of the list of its jobs.
    """

    group: HeldGroup
    advice: str
    price: str
    fields: Mapping[str, str]
    address: str


async def view(request: Request) -> Response:
    """Show what is held back, by reason; or the jobs of one reason."""
    return await _show(request, "held.html")


async def region(request: Request) -> Response:
    """Show the groups alone, for the page that shows them already."""
    return await _show(request, "regions/held.html")


async def confirm(request: Request) -> Response:
    """Ask whether to release, with the number of jobs and what they may cost."""
    shell = Shell.of(request)
    asked = await _found(shell, request.query_params)
    if asked.wanted.recorded_before is None:
        # Whatever fails from now on is not released with it.
        asked = _asked({**asked.fields, "before": (await shell.read(ledger_time)).isoformat()})
    found = await shell.read(count_release, shell.settings, asked.wanted)
    return await shell.render(
        request,
        "held_release.html",
        release=found,
        price=short_price(found.estimate),
        fields={**asked.fields, "expected": str(found.jobs)},
        asked=asked,
        back=_back(asked),
    )


async def release(request: Request) -> Response:
    """Release held jobs."""
    shell = Shell.of(request)
    form = await read_form(request)
    asked = await _found(shell, _fields_of(form))
    by = request.state.viewer.name
    expected = read_id(form.text("expected")) or 0
    back = _back(asked)
    if asked.wanted.job is not None and (place := await shell.read(item_of_job, asked.wanted.job)):
        back = f"/page/items/{place[0]}/{place[1]}#job-{asked.wanted.job}"
    return await shell.act(
        request,
        "release",
        partial(_release, shell, asked, expected, by),
        back=back,
        batch=asked.wanted.batch,
    )


async def _show(request: Request, template: str) -> Response:
    shell = Shell.of(request)
    asked = await _found(shell, request.query_params)
    after = _after(request.query_params.get("after", ""))
    if asked.group:
        jobs = await shell.read(find_held, asked.wanted, limit=_JOBS_A_PAGE + 1, after=after)
        groups = []
        last = jobs[_JOBS_A_PAGE - 1] if len(jobs) > _JOBS_A_PAGE else None
        next_after = None if last is None else (last.chunk_id, last.id)
        looked_at, price = 0, ""
    else:
        jobs = []
        found = await shell.read(held_groups, asked.wanted, after=after)
        rates = await shell.read(rates_of, asked.wanted)
        groups = [_shown(each, asked, rates, shell.settings) for each in found.groups]
        next_after, looked_at = found.after, found.looked_at
        kinds = sum((each.kinds for each in found.groups), Counter[str]())
        price = short_price(price_of(kinds, rates, shell.settings))
    at = {} if after is None else {"after": f"{after[0]}.{after[1]}"}
    return await shell.render(
        request,
        template,
        asked=asked,
        groups=groups,
        jobs=jobs[:_JOBS_A_PAGE],
        looked_at=looked_at,
        price=price,
        is_first=after is None,
        older=asked.address(after=f"{next_after[0]}.{next_after[1]}") if next_after else None,
        newest=asked.address(),
        # Not as it was asked for: `latest` would become another batch while somebody reads.
        region=asked.address("/page/regions/held", **at),
        release_all=asked.address(f"{_PAGE}/release"),
    )


def _shown(group: HeldGroup, asked: Asked, rates: BatchOptions, settings: Settings) -> ShownGroup:
    reason = {
        "state": group.state.value,
        "error_kind": group.error_kind,
        "error_message": group.error_message,
    }
    fields = {**asked.fields, "state": group.state.value, "alike": group.reason}
    price = short_price(price_of(group.kinds, rates, settings))
    return ShownGroup(
        group,
        advise_job(reason, _RELEASE),
        price,
        fields,
        f"{_PAGE}?{urlencode(fields)}",
    )


def _release(shell: Shell, asked: Asked, expected: int, by: str) -> Outcome:
    wanted = asked.wanted
    if wanted == HeldFilter():
        return Outcome("Nothing was chosen, so nothing was released.", refused=True)
    try:
        with recorded(
            shell.ledger,
            Asker(by, Via.PAGE),
            "release",
            batch=wanted.batch,
            details={name: value for name, value in asked.fields.items() if name != "batch"},
        ) as record:
            done = release_jobs(shell.ledger, wanted, expected=expected)
            record.outcome = done.describe()
            if not done.complete:
                record.details[PARTLY] = True
    except IttybatchError as error:
        return Outcome(str(error), refused=True, id=record.number)
    return Outcome(record.outcome, partly=not done.complete, id=record.number)


async def _found(shell: Shell, values: QueryParams | Mapping[str, str]) -> Asked:
    """Read which jobs are asked for, with the id of the batch that is named in any way.

    Raises:
        HTTPException: A field cannot be read, or names no batch, or several.
    """
    asked = _asked(values)
    if asked.wanted.batch is None:
        return asked
    try:
        batch = await shell.read(find_batch, asked.wanted.batch)
    except AmbiguousBatch as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, error.message) from None
    return _asked({**asked.fields, "batch": batch})


def _asked(values: QueryParams | Mapping[str, str]) -> Asked:
    """Read which jobs are asked for.

    Raises:
        HTTPException: A field cannot be read.
    """
    fields = {
        name: values.get(name, "").strip()
        for name in ("batch", "input", "state", "alike", "before", "job")
    }
    fields = {name: value for name, value in fields.items() if value}
    if any(len(value) > _MAX_TEXT_CHARS or "\x00" in value for value in fields.values()):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "A filter is too long, or cannot be read.")
    state = fields.get("state")
    if state is not None and state not in _STATES:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "No job is held back in this state.")
    job = fields.get("job")
    if job is not None and read_id(job) is None:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "This is not the id of a job.")
    wanted = HeldFilter(
        batch=fields.get("batch"),
        input_prefix=fields.get("input"),
        state=_STATES.get(state or ""),
        alike=fields.get("alike"),
        recorded_before=_time(fields.get("before")),
        job=read_id(job or ""),
    )
    return Asked(wanted, fields)


def _fields_of(form: Form) -> dict[str, str]:
    names = ("batch", "input", "state", "alike", "before", "job")
    return {name: form.text(name) for name in names}


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        # In UTC, a time on the first or last day of years may not exist.
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise HTTPException(HTTPStatus.BAD_REQUEST, "The time cannot be read.")


def _after(text: str) -> tuple[int, int] | None:
    chunk, _, job = text.partition(".")
    numbers = (read_id(chunk), read_id(job))
    return None if numbers[0] is None or numbers[1] is None else (numbers[0], numbers[1])


def _back(asked: Asked) -> str:
    """The page of all groups, with the filters that a person has typed."""
    kept = {name: asked.fields[name] for name in ("batch", "input") if name in asked.fields}
    return f"{_PAGE}?{urlencode(kept)}" if kept else _PAGE


def routes() -> list[Route]:
    """The routes of this page."""
    return [
        Route("/held", view),
        Route("/regions/held", region),
        Route("/held/release", confirm),
        Route("/held/release", release, methods=["POST"]),
    ]
