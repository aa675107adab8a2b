"""The part of Prefect's API that batches need: create, read, resume and end flow runs."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.states import Crashed, Scheduled

from ittybatch.engine.prefect_pages import flow_run_url
from ittybatch.engine.run_status import RunStatus
from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import redacted
from ittybatch.project import RUN_DEPLOY

RESUME_EVENT = "ittybatch.run.ready"
CHUNK_DEPLOYMENT = "process-chunk/process-chunk"
BATCH_DEPLOYMENT = "run-batch/adhoc"
_BATCH_FLOW = FlowFilter(name=FlowFilterName(any_=["run-batch"]))
_BATCHES_AND_CHUNKS = FlowFilter(name=FlowFilterName(any_=["run-batch", "process-chunk"]))
# Prefect's API returns at most this many rows per request.
_PAGE = 200
_MOST_PAGES = 50
_MAX_REASON_CHARS = 500
_COMPARE_CLOCKS_EVERY_S = 60.0
# The header has whole seconds, and a busy server renews it late.
_CLOCKS_DIFFER = timedelta(seconds=15)
_MAY_PASS = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
_SERVER_ERROR = 500


class PrefectUnavailable(IttybatchError):
    """Prefect's API cannot be reached, or refused a request.

    Args:
        message: What happened.
        remedy: What to do next.
        status: The HTTP status; None if there was no response.
    """

    def __init__(
        self, message: str, *, remedy: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.status is None or self.status in _MAY_PASS or self.status >= _SERVER_ERROR


class NoDeployment(PrefectUnavailable):
    """Prefect does not have this deployment."""


class FlowRuns:
    """Access to flow runs through Prefect's API.

    Args:
        client: A synchronous Prefect client.
    """

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._deployments: dict[str, UUID] = {}
        self._ahead = timedelta()
        self._compared_at = float("-inf")

    def make(
        self,
        deployment: str,
        *,
        parameters: Mapping[str, Any],
        name: str | None,
        tags: Sequence[str],
        idempotency_key: str,
    ) -> str:
        """Create a run of a deployment. Repeated with the same key, return the same run.

        Args:
            deployment: `flow/deployment`, or the deployment's id.
            parameters: The flow's parameters, as JSON.
            name: The run's name in the UI; None lets Prefect generate one.
            tags: The run's tags.
            idempotency_key: Key of the run, so that it is created once.

        Raises:
            NoDeployment: Prefect does not have the deployment.
            PrefectUnavailable: Prefect does not answer, or refused the request.
        """
        with translating_errors(f"make a run of {deployment}"):
            number = self._deployment(deployment)
            try:
                run = self._client.create_flow_run_from_deployment(
                    number,
                    # The server holds a run back until its own clock says this.
                    state=Scheduled(scheduled_time=datetime.now(UTC) + self.server_ahead()),
                    parameters=dict(parameters),
                    name=name,
                    tags=list(tags),
                    idempotency_key=idempotency_key,
                )
            except PrefectHTTPStatusError as error:
                if error.response.status_code != httpx.codes.NOT_FOUND:
                    raise
                # The deployment may have been created again since, with another id.
                self._deployments.pop(deployment, None)
                raise _no_deployment(deployment) from error
        return str(run.id)

    def defaults(self, deployment: str) -> dict[str, Any]:
        """Read the default parameters of a deployment.

        Raises:
            PrefectUnavailable: Prefect does not answer, or does not have the deployment.
        """
        with translating_errors(f"read deployment {deployment}"):
            found = self._client.read_deployment(self._deployment(deployment))
        return dict(found.parameters)

    def statuses(self, ids: Sequence[str]) -> dict[str, RunStatus]:
        """Read the states of these runs. The result omits runs that Prefect does not know."""
        found: dict[str, RunStatus] = {}
        known = [number for each in ids if (number := _uuid(each)) is not None]
        for start in range(0, len(known), _PAGE):
            part = known[start : start + _PAGE]
            found |= self._find(FlowRunFilter(id=FlowRunFilterId(any_=part)))
        return found

    def batch_run(self, flow_run: UUID) -> RunStatus | None:
        """Read the state of a run that begins batches; None if Prefect has no such run of ours."""
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
        return self._find(wanted, _BATCH_FLOW).get(str(flow_run))

    def probe(self) -> None:
        """Check that Prefect answers at all, after it has refused a request.

        Raises:
            PrefectUnavailable: Prefect does not answer.
        """
        with translating_errors("read flow runs"):
            self._client.read_flow_runs(limit=1)

    def send_test_event(self) -> None:
        """Emit an event that triggers nothing, in the same way as resume events.

        Raises:
            PrefectUnavailable: Prefect does not accept the event.
        """
        with translating_errors("emit a test event"):
            self._client.request("POST", "/events", json=[_event("ittybatch.doctor", "doctor")])

    def begun(self, deployment: str, types: Sequence[StateType]) -> dict[str, RunStatus]:
        """Read the runs of a deployment in one of these states, at most one page.

        Raises:
            PrefectUnavailable: Prefect does not answer, or does not have the deployment.
        """
        with translating_errors(f"read deployment {deployment}"):
            number = self._deployment(deployment)
        # Schedules create a hundred runs in advance. Only the earliest matter.
        return self._find(
            FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[number]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[*types])),
            )
        )

    def holding_slots(self) -> dict[str, RunStatus]:
        """Read the deployed runs of batches and chunks that take up a slot, at most 10,000.

        Raises:
            PrefectUnavailable: Prefect does not answer.
        """
        wanted = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(is_null_=False),
            state=FlowRunFilterState(
                type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])
            ),
        )
        found: dict[str, RunStatus] = {}
        for number in range(_MOST_PAGES):
            page = self._find(wanted, _BATCHES_AND_CHUNKS, offset=number * _PAGE)
            found |= page
            if len(page) < _PAGE:
                break
        return found

    def _find(
        self, wanted: FlowRunFilter, flow: FlowFilter | None = None, *, offset: int = 0
    ) -> dict[str, RunStatus]:
        with translating_errors("read flow runs"):
            runs = self._client.read_flow_runs(
                flow_filter=flow,
                flow_run_filter=wanted,
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=_PAGE,
                offset=offset,
            )
            ahead = self.server_ahead() if runs else timedelta()
        return {
            str(run.id): RunStatus(
                run.state.type,
                run.state.name or "",
                run.state.timestamp - ahead,
                run.state.message,
                run.tags,
                chunk if isinstance(chunk := run.parameters.get("chunk_id"), int) else None,
            )
            for run in runs
            if run.state is not None
        }

    def server_ahead(self) -> timedelta:
        """Measure how far the server's clock, which times the states, is ahead of this machine's.

        Without this, a machine whose clock is fast by minutes would take runs that have just begun
        for stuck ones, and end them; and runs that it creates would start minutes later.
        """
        if time.monotonic() - self._compared_at >= _COMPARE_CLOCKS_EVERY_S:
            self._compared_at = time.monotonic()
            # A proxy may not pass this path, or change the header: then the last figure counts.
            with contextlib.suppress(PrefectHTTPStatusError, ValueError, TypeError):
                date = self._client.request("GET", "/health").headers.get("date")
                ahead = parsedate_to_datetime(date) - datetime.now(UTC)
                self._ahead = ahead if abs(ahead) >= _CLOCKS_DIFFER else timedelta()
        return self._ahead

    def call(self, ids: Sequence[str]) -> None:
        """Emit the events that make an automation resume these runs, in one request."""
        events = [
            {
                **_event(RESUME_EVENT, f"run.{each}"),
                "related": [
                    {
                        "prefect.resource.id": f"prefect.flow-run.{each}",
                        "prefect.resource.role": "flow-run",
                    }
                ],
            }
            for each in ids
        ]
        self.emit(events)

    def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Emit events in one request.

        Raises:
            PrefectUnavailable: Prefect does not accept them.
        """
        with translating_errors("emit events"):
            self._client.request("POST", "/events", json=list(events))

    def url(self, flow_run: str) -> str:
        """Return the URL of the run's page in Prefect's UI."""
        return str(flow_run_url(flow_run, str(self._client.api_url)))

    def resume(self, flow_run: str) -> bool:
        """Resume a run directly, without the automation.

        Returns:
            Whether Prefect accepted. It refuses if the run is not suspended (yet).
        """
        with translating_errors(f"resume flow run {flow_run}"):
            answer = self._client.resume_flow_run(UUID(flow_run))
        return answer.status.value == "ACCEPT"

    def tag(self, flow_run: str, tags: Sequence[str]) -> None:
        """Replace the tags of a run."""
        with translating_errors(f"tag flow run {flow_run}"):
            self._client.update_flow_run(UUID(flow_run), tags=list(tags))

    def mark_crashed(self, flow_run: str, why: str) -> None:
        """Mark a run whose process is gone as Crashed, to free its slot in the work pool."""
        self._set(flow_run, Crashed(message=why))

    def set_state(self, flow_run: str, state: State[Any]) -> None:
        """Set the state of a run, and bypass Prefect's orchestration rules."""
        self._set(flow_run, state)

    def _set(self, flow_run: str, state: State[Any]) -> None:
        try:
            with translating_errors(f"end flow run {flow_run}"):
                self._client.set_flow_run_state(UUID(flow_run), state, force=True)
        except ObjectNotFound:
            return  # the run was deleted, so it holds no slot

    def _deployment(self, name: str) -> UUID:
        if "/" not in name:
            if (number := _uuid(name)) is None:
                raise _no_deployment(name)
            return number
        if name not in self._deployments:
            try:
                self._deployments[name] = self._client.read_deployment_by_name(name).id
            except ObjectNotFound as error:
                raise _no_deployment(name) from error
        return self._deployments[name]


def _no_deployment(name: str) -> NoDeployment:
    return NoDeployment(f"Prefect has no deployment {name!r}.", remedy=RUN_DEPLOY)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _event(name: str, resource: str) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": name,
        "resource": {"prefect.resource.id": f"ittybatch.{resource}"},
        "payload": {},
    }


def require_prefect() -> None:
    """Refuse to go on without Prefect's address: its client would start a server of its own.

    Raises:
        PrefectUnavailable: There is no address.
    """
    if get_current_settings().api.url is None:
        raise PrefectUnavailable(
            "PREFECT_API_URL is not set, so no flow run can be made.",
            remedy="Set it to your Prefect server's API, or start one with `ittybatch up`.",
        )


@contextlib.contextmanager
def open_flow_runs() -> Iterator[FlowRuns]:
    """Connect to the Prefect API in Prefect's settings."""
    with get_client(sync_client=True) as client:
        yield FlowRuns(client)


@contextlib.contextmanager
def translating_errors(doing: str) -> Iterator[None]:
    """Translate errors of Prefect's client, except `ObjectNotFound`.

    Args:
        doing: What the request is to do, for the message.

    Raises:
        PrefectUnavailable: Prefect does not answer, or refused the request.
    """
    try:
        yield
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        why = redacted(error.response.text)[:_MAX_REASON_CHARS].strip()
        raise PrefectUnavailable(
            f"Prefect's API answered {status} on the request to {doing}{why and f': {why}'}.",
            remedy="Look at the Prefect server's log, then run `ittybatch doctor`.",
            status=status,
        ) from error
    except httpx.HTTPError as error:
        raise PrefectUnavailable(
            f"Prefect's API could not be reached to {doing}: {type(error).__name__}.",
            remedy="Check PREFECT_API_URL, then run `ittybatch doctor`.",
        ) from error
