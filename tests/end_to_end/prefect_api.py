"""Prefect as its own API tells it, without Prefect's client and its settings."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx

_PAGE = 200


class PrefectApi:
    """Asks a Prefect server.

    Args:
        url: The API's address.
        auth: What it asks for, `user:password`.
    """

    def __init__(self, url: str, auth: str) -> None:
        user, _, password = auth.partition(":")
        self._client = httpx.Client(
            base_url=url, auth=(user, password), timeout=30, trust_env=False
        )

    def run(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Start a run of a deployment, given as `flow/deployment`."""
        found = self._ask("GET", f"/deployments/name/{deployment}")["id"]
        path = f"/deployments/{found}/create_flow_run"
        return str(self._ask("POST", path, json={"parameters": parameters})["id"])

    def flow_run(self, flow_run: str) -> dict[str, Any]:
        """One flow run."""
        found: dict[str, Any] = self._ask("GET", f"/flow_runs/{flow_run}")
        return found

    def resume(self, flow_run: str, answer: dict[str, str] | None = None) -> str:
        """Resume a suspended run, with what its form was filled in with; gives the verdict."""
        body = {"run_input": answer} if answer else {}
        return str(self._ask("POST", f"/flow_runs/{flow_run}/resume", json=body)["status"])

    def suspend(self, flow_run: str) -> bool:
        """Suspend a flow run as the button in Prefect's pages does; whether Prefect took it."""
        return self._set_state(flow_run, {"type": "PAUSED", "name": "Suspended"})

    def cancel(self, flow_run: str) -> bool:
        """Cancel a flow run as the button in Prefect's pages does; whether Prefect took it."""
        return self._set_state(flow_run, {"type": "CANCELLING", "name": "Cancelling"})

    def _set_state(self, flow_run: str, state: dict[str, str]) -> bool:
        path = f"/flow_runs/{flow_run}/set_state"
        return bool(self._ask("POST", path, json={"state": state})["status"] == "ACCEPT")

    def processes(self) -> dict[str, str]:
        """The process that each flow run has, or had last, by the flow run's id."""
        # Schedules make a hundred runs ahead, which have not begun and never may.
        begun = {"start_time": {"is_null_": False}}
        asked = {"flow_runs": begun, "limit": _PAGE}
        runs = self._ask("POST", "/flow_runs/filter", json=asked)
        return {run["id"]: run["infrastructure_pid"] for run in runs if run["infrastructure_pid"]}

    def history(self, flow_run: str) -> list[str]:
        """The names of the states a flow run went through, in their order."""
        return [name for _, name in self.moments(flow_run)]

    def moments(self, flow_run: str) -> list[tuple[datetime, str]]:
        """The states a flow run went through, and when it came into each."""
        states = self._ask("GET", "/flow_run_states/", params={"flow_run_id": flow_run})
        return sorted((datetime.fromisoformat(each["timestamp"]), each["name"]) for each in states)

    def delete(self, flow_run: str) -> None:
        """Delete a flow run, as somebody might in Prefect's pages."""
        self._ask("DELETE", f"/flow_runs/{flow_run}")

    def open_runs(self, tag: str) -> list[dict[str, Any]]:
        """The flow runs of a tag that have not ended."""
        asked = {
            "tags": {"all_": [tag]},
            "state": {"type": {"not_any_": ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]}},
        }
        found: list[dict[str, Any]] = self._ask(
            "POST", "/flow_runs/filter", json={"flow_runs": asked, "limit": _PAGE}
        )
        return found

    def tagged_runs(self, tag: str) -> list[dict[str, Any]]:
        """The flow runs of a tag, whatever their state."""
        asked = {"flow_runs": {"tags": {"all_": [tag]}}, "limit": _PAGE}
        found: list[dict[str, Any]] = self._ask("POST", "/flow_runs/filter", json=asked)
        return found

    def logs(self, flow_run: str) -> list[dict[str, Any]]:
        """The log lines that a flow run's page shows, in their order."""
        asked = {
            "logs": {"flow_run_id": {"any_": [flow_run]}},
            "sort": "TIMESTAMP_ASC",
            "limit": _PAGE,
        }
        found: list[dict[str, Any]] = self._ask("POST", "/logs/filter", json=asked)
        return found

    def events(self, event: str, resource: str | None = None) -> list[dict[str, Any]]:
        """The newest events of a name, of one resource or of all."""
        wanted: dict[str, Any] = {"event": {"name": [event]}}
        if resource is not None:
            wanted["resource"] = {"id": [resource]}
        asked = {"filter": wanted, "limit": 50}
        found: list[dict[str, Any]] = self._ask("POST", "/events/filter", json=asked)["events"]
        return found

    def interval(self, deployment: str) -> float:
        """Seconds between the runs of a deployment that has one schedule."""
        return float(self._schedule(deployment)["schedule"]["interval"])

    def set_interval(self, deployment: str, interval_s: float) -> None:
        """Have a deployment run each so many seconds."""
        own = self._schedule(deployment)
        path = f"/deployments/{own['deployment_id']}/schedules/{own['id']}"
        schedule = {**own["schedule"], "interval": interval_s}
        self._ask("PATCH", path, json={"active": True, "schedule": schedule})

    def _schedule(self, deployment: str) -> dict[str, Any]:
        found = self._ask("GET", f"/deployments/name/{deployment}/{deployment}")
        (schedule,) = found["schedules"]
        return dict(schedule)

    @contextmanager
    def environment(self, deployment: str, **variables: str) -> Iterator[None]:
        """Give the runs of a deployment more variables for as long as the context lasts."""
        found = self._ask("GET", f"/deployments/name/{deployment}")
        path, usual = f"/deployments/{found['id']}", found["job_variables"]
        changed = {**usual, "env": {**usual.get("env", {}), **variables}}
        self._ask("PATCH", path, json={"job_variables": changed})
        try:
            yield
        finally:
            self._ask("PATCH", path, json={"job_variables": usual})

    def deployments(self) -> dict[str, tuple[str, int]]:
        """Each deployment's id and number of schedules, by its name."""
        found = self._ask("POST", "/deployments/filter", json={"limit": _PAGE})
        return {each["name"]: (each["id"], len(each["schedules"])) for each in found}

    def work_pool(self, name: str) -> dict[str, Any]:
        """A work pool's own settings, without what changes while it is in use."""
        pool = self._ask("GET", f"/work_pools/{name}")
        return {key: pool[key] for key in ("id", "type", "concurrency_limit", "is_paused")}

    def pause_work_pool(self, name: str, *, paused: bool) -> None:
        """Have the workers of a pool begin nothing, or go on."""
        self._ask("PATCH", f"/work_pools/{name}", json={"is_paused": paused})

    def automations(self) -> list[dict[str, Any]]:
        """Every automation."""
        found: list[dict[str, Any]] = self._ask("POST", "/automations/filter", json={})
        return found

    def delete_automation(self, automation: str) -> None:
        """Delete an automation, as somebody might in Prefect's pages."""
        self._ask("DELETE", f"/automations/{automation}")

    def create_automation(self, automation: dict[str, Any]) -> str:
        """Make an automation, also anew from what `automations` gave of it; gives its id."""
        own = {"id", "created", "updated", "account", "workspace"}
        body = {key: value for key, value in automation.items() if key not in own}
        return str(self._ask("POST", "/automations/", json=body)["id"])

    def create_block(self, block_type: str, data: dict[str, Any], name: str | None = None) -> str:
        """Save a block of a type, given by its slug, with or without a name; gives its id."""
        found = self._ask("GET", f"/block_types/slug/{block_type}")
        asked = {"block_schemas": {"block_type_id": {"any_": [found["id"]]}}}
        [schema, *_] = self._ask("POST", "/block_schemas/filter", json=asked)
        body = {
            "data": data,
            "block_schema_id": schema["id"],
            "block_type_id": found["id"],
            "name": name,
            "is_anonymous": name is None,
        }
        return str(self._ask("POST", "/block_documents/", json=body)["id"])

    def update_block(self, block: str, data: dict[str, Any]) -> None:
        """Change the values of a block."""
        self._ask("PATCH", f"/block_documents/{block}", json={"data": data})

    def delete_block(self, block: str) -> None:
        """Delete a block."""
        self._ask("DELETE", f"/block_documents/{block}")

    def fail(self, flow_run: str) -> None:
        """Put a flow run into the state Failed."""
        state = {"state": {"type": "FAILED", "name": "Failed"}, "force": True}
        self._ask("POST", f"/flow_runs/{flow_run}/set_state", json=state)

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:  # noqa: ANN401  JSON
        answer = self._client.request(method, path, **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None


class Sightings:
    """Which processes each flow run was seen to have.

    Args:
        prefect: Where to look.
    """

    def __init__(self, prefect: PrefectApi) -> None:
        self._prefect = prefect
        self.processes: dict[str, set[str]] = defaultdict(set)

    def look(self) -> None:
        """Note the process that each flow run has now."""
        for flow_run, process in self._prefect.processes().items():
            self.processes[flow_run].add(process)
