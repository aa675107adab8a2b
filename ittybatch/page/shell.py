"""What the views of the page share: reading, rendering, acting, and telling the outcome."""

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode, urlsplit

from anyio import CapacityLimiter, to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ittybatch.engine.impatience import impatient
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.reading import bounded
from ittybatch.page.filters import FILTERS, finalize
from ittybatch.page.guard import content_policy
from ittybatch.page.outcomes import Outcome, record_outcome, recorded_outcome
from ittybatch.page.static_files import static_url
from ittybatch.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

# Few: the page must not take the CPU and the connections that webhooks need.
_READERS = 3
# On Postgres, for each statement of a read.
_MOST_S = 5.0
# What needs the ledger alone never waits for what waits for Prefect, which may not answer.
_LEVERS = 4
_CALLERS = 4
_LOOKS = 2


@dataclass(frozen=True, slots=True)
class Shell:
    """What the views of the page share. `Shell.of(request)` gives it to a view.

    Args:
        ledger: The ledger.
        settings: The receiver's settings.
        readers: Limits the reads at the same time.
        levers: Limits the actions at the same time that need the ledger alone.
        callers: Limits those that wait for Prefect or another system.
        looks: Limits the looks at Prefect at the same time.
    """

    ledger: Ledger
    settings: Settings
    readers: CapacityLimiter
    levers: CapacityLimiter
    callers: CapacityLimiter
    looks: CapacityLimiter

    @classmethod
    def create(cls, ledger: Ledger, settings: Settings) -> "Shell":
        """Create the shell of a page."""
        return cls(
            ledger,
            settings,
            CapacityLimiter(_READERS),
            CapacityLimiter(_LEVERS),
            CapacityLimiter(_CALLERS),
            CapacityLimiter(_LOOKS),
        )

    @staticmethod
    def of(request: Request) -> "Shell":
        """The shell of the page that a request is for."""
        shell: Shell = request.app.state.shell
        return shell

    async def read(
        self, query: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a query of the ledger in one of the page's own threads.

        Raises:
            LedgerUnavailable: The database cannot be reached, or takes too long.
        """
        call = functools.partial(self.ledger.read, bounded(query, _MOST_S), *args, **kwargs)
        return await to_thread.run_sync(call, limiter=self.readers, abandon_on_cancel=False)

    async def load(self, work: Callable[[], R]) -> R:
        """Run short work that reads files, in one of the threads that read."""
        return await to_thread.run_sync(work, limiter=self.readers, abandon_on_cancel=False)

    async def look(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work that asks Prefect and changes nothing."""
        return await self._wait_for(work, self.looks, *args, **kwargs)

    async def call(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an action that waits for Prefect or another system."""
        return await self._wait_for(work, self.callers, *args, **kwargs)

    async def _wait_for(
        self, work: Callable[P, R], limiter: CapacityLimiter, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        def run() -> R:
            with impatient():
                return work(*args, **kwargs)

        return await to_thread.run_sync(run, limiter=limiter, abandon_on_cancel=False)

    async def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        connect: str = "",
        form_to: str = "",
        headers: Mapping[str, str] | None = None,
        **context: Any,  # noqa: ANN401  a template's variables
    ) -> Response:
        """Render a page or a region.

        Args:
            request: The request.
            template: The template, such as `batches.html` or `regions/batches.html`.
            status: The status of the answer.
            connect: See `content_policy`.
            form_to: See `content_policy`.
            headers: More headers of the answer.
            **context: The template's own variables. `viewer`, `path`, `outcome` and `is_region`
                are always there.
        """
        # A region answers in the middle of a page, which shows the outcome already.
        outcome = None if _is_region(template) else await self._outcome(request)
        html = self.html(request, template, outcome=outcome, **context)
        more = {
            "Content-Security-Policy": content_policy(connect=connect, form_to=form_to),
            **(headers or {}),
        }
        return HTMLResponse(html, status, more)

    def html(self, request: Request, template: str, **context: Any) -> str:  # noqa: ANN401
        """Render a region to text; arguments as for `render`."""
        return (
            _environment()
            .get_template(template)
            .render(
                viewer=request.state.viewer,
                path=request.url.path,
                is_region=_is_region(template),
                **context,
            )
        )

    async def act(
        self,
        request: Request,
        action: str,
        work: Callable[[], Outcome | str],
        *,
        back: str,
        batch: str | None = None,
        details: Mapping[str, Any] | None = None,
        calls: bool = False,
        regions: Callable[[], Awaitable[Mapping[str, str]]] | None = None,
    ) -> Response:
        """Do what a form asks for, record it, and tell the outcome.

        Without script the answer is a redirect to `back`, which shows the outcome. With htmx it
        is a fragment for the notices, with the regions that must never contradict them. The page's
        other regions fetch themselves anew.

        Args:
            request: The posted form.
            action: What is done, in a word: `pause`.
            work: Does it in a thread, and returns the outcome. An `IttybatchError` that it
                raises is an outcome, too: refused.
            back: The page to return to, such as `/page/batches/b1`.
            batch: The batch that it is about.
            details: What the record keeps besides; no secrets.
            calls: Whether it waits for Prefect or another system. It then shares no thread with
                actions that do not.
            regions: Renders regions of the page as they are after the action, by element id.
        """
        actor: str = request.state.viewer.name

        def do() -> Outcome:
            try:
                found = work()
            except IttybatchError as error:
                found = Outcome(str(error), refused=True)
            outcome = Outcome(found) if isinstance(found, str) else found
            if outcome.id is not None:
                return outcome  # the lever has recorded it
            return record_outcome(
                self.ledger, outcome, actor=actor, action=action, batch=batch, details=details or {}
            )

        if calls:
            outcome = await self.call(do)
        else:
            outcome = await to_thread.run_sync(do, limiter=self.levers, abandon_on_cancel=False)
        if "hx-request" in request.headers:
            return await self.render(
                request,
                "regions/outcome.html",
                headers={"HX-Trigger": "acted"},
                outcome_shown=outcome,
                regions=await regions() if regions else {},
            )
        return RedirectResponse(with_done(outcome.leads_to or back, outcome.id), 303)

    async def _outcome(self, request: Request) -> Outcome | None:
        done = request.query_params.get("done", "")
        if not done.isdecimal() or len(done) > _MAX_ID_DIGITS:
            return None
        return await self.read(recorded_outcome, int(done))


_MAX_ID_DIGITS = 18


def _is_region(template: str) -> bool:
    return template.startswith("regions/")


def with_done(path: str, action: int | None) -> str:
    """Add the id of an action to the address of a page, which then shows the outcome."""
    if action is None:
        return path
    parts = urlsplit(path)
    query = "&".join(filter(None, (parts.query, urlencode({"done": action}))))
    return parts._replace(query=query).geturl()


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ittybatch.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals["static"] = static_url
    return environment
