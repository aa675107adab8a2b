"""Prefect, as far as batches need it: flow runs made, looked at, called, resumed, given up."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_UI_URL
from prefect.states import Crashed

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import redacted

RESUME_EVENT = "ittybatch.run.ready"
CHUNK_DEPLOYMENT = "process-chunk/process-chunk"
BATCH_DEPLOYMENT = "run-batch/adhoc"
# Prefect's API gives at most this many rows an answer.
_PAGE = 200
_LONGEST_REASON = 500


class PrefectUnavailable(IttybatchError):
    """Prefect's API cannot be reached, or refuses.

    Args:
        message: What happened.
        remedy: What to do next.
        status: The HTTP status that it answered, or None where it did not answer.
    """

    def __init__(
        self, message: str, *, remedy: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


class NoDeployment(PrefectUnavailable):
    """Prefect answers, and has no such deployment."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Where Prefect says that a flow run stands."""

    type: StateType
    name: str
    since: datetime
    message: str | None = None

    @property
    def suspended(self) -> bool:
        """Whether the run can be resumed."""
        return self.type is StateType.PAUSED

    @property
    def ended(self) -> bool:
        """Whether Prefect will do nothing more with the run by itself."""
        return self.type in {
            StateType.COMPLETED,
            StateType.FAILED,
            StateType.CRASHED,
            StateType.CANCELLED,
            StateType.CANCELLING,
        }

    def age_s(self) -> float:
        """Seconds in this state."""
        return (datetime.now(UTC) - self.since).total_seconds()


class FlowRuns:
    """Flow runs through Prefect's API.

    Args:
        client: A synchronous Prefect client.
    """

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._deployments: dict[str, UUID] = {}

    def make(
        self,
        deployment: str,
        *,
        parameters: Mapping[str, Any],
        name: str | None,
        tags: Sequence[str],
        idempotency_key: str,
    ) -> str:
        """Make a run of a deployment; the same key again gives the same run.

        Args:
            deployment: `flow/deployment`, or the deployment's id.
            parameters: The flow's parameters, as JSON.
            name: The run's name in the UI; one of Prefect's own where there is none.
            tags: The run's tags.
            idempotency_key: What makes the run the same one.

        Raises:
            NoDeployment: when Prefect has no such deployment.
            PrefectUnavailable: when Prefect does not answer, or refuses.
        """
        with _told(f"make a run of {deployment}"):
            number = self._deployment(deployment)
            try:
                run = self._client.create_flow_run_from_deployment(
                    number,
                    parameters=dict(parameters),
                    name=name,
                    tags=list(tags),
                    idempotency_key=idempotency_key,
                )
            except PrefectHTTPStatusError as error:
                if error.response.status_code != httpx.codes.NOT_FOUND:
                    raise
                # It may have been made anew since, under another id.
                self._deployments.pop(deployment, None)
                raise _no_deployment(deployment) from error
        return str(run.id)

    def defaults(self, deployment: str) -> dict[str, Any]:
        """The parameters that a deployment's runs have unless they are given others.

        Raises:
            PrefectUnavailable: when Prefect does not answer, or has no such deployment.
        """
        with _told(f"read deployment {deployment}"):
            found = self._client.read_deployment(self._deployment(deployment))
        return dict(found.parameters)

    def statuses(self, ids: Sequence[str]) -> dict[str, RunStatus]:
        """Where each of these runs stands. A run that Prefect does not know is left out."""
        found: dict[str, RunStatus] = {}
        known = [number for each in ids if (number := _uuid(each)) is not None]
        for start in range(0, len(known), _PAGE):
            part = known[start : start + _PAGE]
            found |= self._find(FlowRunFilter(id=FlowRunFilterId(any_=part)))
        return found

    def probe(self) -> None:
        """Ask Prefect for a row of its database: is it well, whatever it just refused?

        Raises:
            PrefectUnavailable: when it is not.
        """
        with _told("read flow runs"):
            self._client.read_flow_runs(limit=1)

    def send_test_event(self) -> None:
        """Emit an event that nothing listens to, the way that runs are woken.

        Raises:
            PrefectUnavailable: when Prefect does not take it.
        """
        with _told("emit a test event"):
            self._client.request("POST", "/events", json=[_event("ittybatch.doctor", "doctor")])

    def begun(self, deployment: str, types: Sequence[StateType]) -> dict[str, RunStatus]:
        """The runs of a deployment that stand in one of these states: a page of them at most.

        Raises:
            PrefectUnavailable: when Prefect does not answer, or has no such deployment.
        """
        with _told(f"read deployment {deployment}"):
            number = self._deployment(deployment)
        # Schedules make a hundred runs ahead; the earliest is what matters.
        return self._find(
            FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[number]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[*types])),
            )
        )

    def _find(self, wanted: FlowRunFilter) -> dict[str, RunStatus]:
        with _told("read flow runs"):
            runs = self._client.read_flow_runs(
                flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=_PAGE
            )
        return {
            str(run.id): RunStatus(
                run.state.type, run.state.name or "", run.state.timestamp, run.state.message
            )
            for run in runs
            if run.state is not None
        }

    def call(self, ids: Sequence[str]) -> None:
        """Emit the event that an automation resumes these runs on, all in one request."""
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
        with _told("emit resume events"):
            self._client.request("POST", "/events", json=events)

    def url(self, flow_run: str) -> str:
        """The run's page in Prefect's UI."""
        api = str(self._client.api_url).rstrip("/").removesuffix("/api")
        return f"{PREFECT_UI_URL.value() or api}/runs/flow-run/{flow_run}"

    def resume(self, flow_run: str) -> bool:
        """Resume a run without the automation.

        Returns:
            Whether Prefect accepted: it does not where the run is not suspended (yet).
        """
        with _told(f"resume flow run {flow_run}"):
            answer = self._client.resume_flow_run(UUID(flow_run))
        return answer.status.value == "ACCEPT"

    def tag(self, flow_run: str, tags: Sequence[str]) -> None:
        """Give a run these tags in place of those it has."""
        with _told(f"tag flow run {flow_run}"):
            self._client.update_flow_run(UUID(flow_run), tags=list(tags))

    def give_up(self, flow_run: str, why: str) -> None:
        """Mark a run Crashed whose process is gone, so that it no longer holds a slot."""
        self._set(flow_run, Crashed(message=why))

    def set_state(self, flow_run: str, state: State[Any]) -> None:
        """Put a run into a state whatever its own rules say."""
        self._set(flow_run, state)

    def _set(self, flow_run: str, state: State[Any]) -> None:
        try:
            with _told(f"end flow run {flow_run}"):
                self._client.set_flow_run_state(UUID(flow_run), state, force=True)
        except ObjectNotFound:
            return  # deleted: it holds nothing any more

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
    return NoDeployment(f"Prefect has no deployment {name!r}.", remedy="Run `ittybatch deploy`.")


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


@contextmanager
def open_flow_runs() -> Iterator[FlowRuns]:
    """Reach Prefect's API where its settings say it is."""
    with get_client(sync_client=True) as client:
        yield FlowRuns(client)


@contextmanager
def _told(doing: str) -> Iterator[None]:
    try:
        yield
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        why = redacted(error.response.text)[:_LONGEST_REASON].strip()
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
