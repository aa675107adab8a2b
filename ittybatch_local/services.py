"""The command lines and health checks of a stack's services."""

import base64
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ittybatch_local.databases import Databases
from ittybatch_local.environment import Parts, process_environment
from ittybatch_local.errors import StackError
from ittybatch_local.ports import HOST
from ittybatch_local.probes import answers, is_healthy, worker_is_online
from ittybatch_local.process import ProcessSpec

PROGRAM = (sys.executable, "-m", "ittybatch")
PREFECT = (sys.executable, "-m", "prefect")
WORK_POOL = "ittybatch"
# The first start runs all of Prefect's migrations, which can take over a minute.
SERVER_READY_WITHIN_S = 180.0
STEP_WITHIN_S = 180.0
# Longer than the receiver's own shutdown, in which it answers open requests.
RECEIVER_GRACE_S = 15.0


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """The options of the sandbox.

    Args:
        faults: A file of faults to inject.
        seed: Seed of its random choices.
        is_instant: Whether jobs complete without any work.
        dialect: The shape of its webhooks; None for the sandbox's default.
    """

    faults: Path | None = None
    seed: int | None = None
    is_instant: bool = False
    dialect: str | None = None


@dataclass(frozen=True, kw_only=True)
class Services:
    """Builds the specification of each service of one stack.

    Args:
        home: The stack's home, which has the logs.
        root: The working directory of the services: the project's.
        parts: The parts that the stack runs.
        ports: The port of each service that listens.
        shared: The environment that the services share.
        databases: The databases of the ledger and of Prefect.
        program: The command with `receiver`, `sandbox`, `deploy` and `db upgrade`.
        shared_fds: File descriptors for the guards to keep open.
    """

    home: Path
    root: Path
    parts: Parts
    ports: Mapping[str, int]
    shared: Mapping[str, str]
    databases: Databases
    program: tuple[str, ...] = PROGRAM
    shared_fds: tuple[int, ...] = ()

    def postgres(self) -> ProcessSpec:
        """The database server."""
        if self.databases.cluster is None:
            raise StackError("This stack runs on SQLite and has no database server.")
        # Without the stack's secrets, which the server does not need.
        environment = process_environment({}, Parts())
        return self.databases.cluster.spec(self._log("postgres"), environment, self.shared_fds)

    def s3(self) -> ProcessSpec:
        """The local S3, in memory: its content is lost when it stops."""
        port = self.ports["s3"]
        command = (sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port))
        probe = answers(f"http://{HOST}:{port}/moto-api/")
        return self._spec("s3", command, is_ready=probe)

    def server(self) -> ProcessSpec:
        """Prefect's server with its user interface."""
        port = str(self.ports["prefect"])
        return self._spec(
            "prefect-server",
            (*PREFECT, "server", "start", "--host", HOST, "--port", port),
            is_ready=is_healthy(f"http://{HOST}:{port}/api/health"),
            ready_within_s=SERVER_READY_WITHIN_S,
            extra={
                "PREFECT_API_DATABASE_CONNECTION_URL": self.databases.prefect_url,
                "PREFECT_SERVER_API_HOST": HOST,
                "PREFECT_SERVER_API_PORT": port,
                # By default the UI calls the API on port 4200.
                "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",
                # A client that can start a flow run can choose its command. So no page in the
                # user's browser may call the API: neither cross-origin nor by DNS rebinding.
                "PREFECT_SERVER_API_AUTH_STRING": self.shared["PREFECT_API_AUTH_STRING"],
                "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
                    f"http://{name}:{port}" for name in (HOST, "localhost")
                ),
            },
        )

    def sandbox(self, options: SandboxOptions) -> ProcessSpec:
        """The local Ittybit."""
        port = str(self.ports["sandbox"])
        command = [*self.program, "sandbox", "--port", port]
        if options.is_instant:
            command.append("--instant")
        if options.seed is not None:
            command += ["--seed", str(options.seed)]
        if options.faults is not None:
            command += ["--faults", str(options.faults.resolve())]
        if options.dialect is not None:
            command += ["--dialect", options.dialect]
        return self._spec(
            "sandbox", tuple(command), is_ready=is_healthy(f"http://{HOST}:{port}/healthz")
        )

    def receiver(self) -> ProcessSpec:
        """The webhook receiver."""
        port = str(self.ports["receiver"])
        return self._spec(
            "receiver",
            (*self.program, "receiver", "--host", HOST, "--port", port),
            # Ready means more than listening: it has checked the ledger's tables.
            is_ready=is_healthy(f"http://{HOST}:{port}/readyz"),
            grace_s=RECEIVER_GRACE_S,
        )

    def worker(self) -> ProcessSpec:
        """The worker that runs each flow run as a process.

        Never with `--limit`: a run that is resumed before the process of its last leg has ended
        would crash the worker. The work pool's concurrency limit is safe.
        """
        # The same name at each start, or the Prefect UI would list every past worker.
        name = f"local-{hashlib.sha256(str(self.home).encode()).hexdigest()[:8]}"
        probe = worker_is_online(
            self.shared["PREFECT_API_URL"],
            WORK_POOL,
            name,
            since=datetime.now(UTC),
            headers=api_headers(process_environment(self.shared, self.parts)),
        )
        return self._spec(
            "worker",
            (*PREFECT, "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", name),
            is_ready=probe,
            # Flow runs that survive their worker finish their leg; killing them has no use.
            keeps_orphans=True,
        )

    def migration(self) -> ProcessSpec:
        """The step that migrates the ledger."""
        command = (*self.program, "db", "upgrade")
        return self._spec("db-upgrade", command, ready_within_s=STEP_WITHIN_S)

    def deployment(self) -> ProcessSpec:
        """The step that registers work pool, deployments and automations."""
        # The worker runs on this machine, so its flow runs can use this interpreter.
        command = (*self.program, "deploy", "--python", sys.executable)
        return self._spec("deploy", command, ready_within_s=STEP_WITHIN_S)

    def _spec(
        self,
        name: str,
        command: tuple[str, ...],
        *,
        is_ready: Callable[[], bool] | None = None,
        ready_within_s: float = 60.0,
        keeps_orphans: bool = False,
        grace_s: float = 10.0,
        extra: Mapping[str, str] | None = None,
    ) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=command,
            log=self._log(name),
            environment=process_environment({**self.shared, **(extra or {})}, self.parts),
            cwd=self.root,
            is_ready=is_ready,
            ready_within_s=ready_within_s,
            keeps_orphans=keeps_orphans,
            grace_s=grace_s,
            shared_fds=self.shared_fds,
        )

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"


def api_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """The headers that authorize a request to Prefect, by the precedence of its own client."""
    if user_and_password := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(user_and_password.encode()).decode()}"}
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}
