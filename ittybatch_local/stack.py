"""The local stack: everything that a batch needs, on this machine, under one supervisor."""

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from ittybatch.home import STACK_ENVIRONMENT, make_private, private_folder
from ittybatch.project import project_dir
from ittybatch.settings import Settings
from ittybatch_local.databases import LEDGER, PREFECT, choose_databases
from ittybatch_local.environment import (
    Parts,
    process_environment,
    secret_text,
    shared_environment,
    write_environment,
)
from ittybatch_local.errors import StackError
from ittybatch_local.keys import load_secrets
from ittybatch_local.lock import home_lock
from ittybatch_local.ports import HOST, choose_ports
from ittybatch_local.postgres import PostgresCluster
from ittybatch_local.s3 import Uploaded, upload
from ittybatch_local.services import PROGRAM, WORK_POOL, SandboxOptions, Services, api_headers
from ittybatch_local.supervisor import Supervisor

PORT_NAMES = ("prefect", "postgres", "s3", "sandbox", "receiver")
API_TIMEOUT_S = 10.0


class LocalStack:
    """Runs the stack for as long as its context lasts.

        with LocalStack(Path(".ittybatch"), on_event=print) as stack:
            subprocess.run(["ittybatch", "status"], env=stack.process_environment())

    Nothing is left behind when the context ends, and neither when this process is killed.
    Databases, secrets and ports stay in the home from one start to the next; local S3 does not.

    Args:
        home: Where databases, logs and secrets live; made if need be. One stack a home.
        sandbox: Run the local Ittybit; otherwise the real one is used with the user's key.
        s3: Run a local S3; otherwise the user's own AWS settings hold.
        receiver: Run the webhook receiver.
        worker: Run a worker.
        server: Run Prefect's server; otherwise `PREFECT_API_URL` says where it is.
        worker_limit: Flow runs at a time; None leaves the work pool as the deployment made it.
        faults: A file of faults for the sandbox to inject.
        seed: What the sandbox's random choices start from.
        instant: Whether the sandbox completes jobs without doing the work.
        dialect: The shape of the sandbox's webhooks: flat, completed or envelope.
        on_event: Told, in one line, what a user should know; called from several threads.
        program: The command that offers `receiver`, `sandbox`, `deploy` and `db upgrade`.

    Raises:
        StackError: Another stack runs in this home, or a part does not come up.
        ConfigurationError: A part is neither run here nor given.
    """

    def __init__(
        self,
        home: Path,
        *,
        sandbox: bool = True,
        s3: bool = True,
        receiver: bool = True,
        worker: bool = True,
        server: bool = True,
        worker_limit: int | None = None,
        faults: Path | None = None,
        seed: int | None = None,
        instant: bool = False,
        dialect: str | None = None,
        on_event: Callable[[str], None] = lambda _: None,
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        self.home = home.expanduser().resolve()
        self._parts = Parts(sandbox=sandbox, s3=s3, receiver=receiver, worker=worker, server=server)
        self._worker_limit = worker_limit
        self._sandbox_options = SandboxOptions(
            faults=faults, seed=seed, is_instant=instant, dialect=dialect
        )
        self._on_event = on_event
        self._program = program
        self._supervisor = Supervisor(on_event)
        self._ports: dict[str, int] = {}
        self._environment: dict[str, str] = {}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as cleanup:
            private_folder(self.home)
            make_private(self.home)
            lock_fd = cleanup.enter_context(home_lock(self.home))
            self._supervisor = cleanup.enter_context(Supervisor(self._on_event))
            self._start(lock_fd)
            make_private(self.home)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def environment(self) -> dict[str, str]:
        """What the command line, the worker and tests must share; also in `env_file`."""
        if not self._environment:
            raise StackError("The local stack has not been started.")
        return dict(self._environment)

    def process_environment(self) -> dict[str, str]:
        """The whole environment for a child process, without the user's settings in its way."""
        return process_environment(self.environment(), self._parts)

    @property
    def env_file(self) -> Path:
        """The file that hands the environment to other shells: `set -a; . FILE`."""
        return self.home / STACK_ENVIRONMENT

    @property
    def prefect_url(self) -> str:
        """Where Prefect's pages are."""
        return self.environment()["PREFECT_API_URL"].removesuffix("/api")

    @property
    def prefect_auth(self) -> str | None:
        """What Prefect's pages ask for before they show anything, None if none is known."""
        return self.environment().get("PREFECT_API_AUTH_STRING")

    @property
    def receiver_url(self) -> str | None:
        """Where the receiver listens, None if it is not run here."""
        return f"http://{HOST}:{self._ports['receiver']}" if self._parts.receiver else None

    @property
    def sandbox_url(self) -> str | None:
        """Where the local Ittybit listens, None if it is not run here."""
        return f"http://{HOST}:{self._ports['sandbox']}" if self._parts.sandbox else None

    @property
    def s3_url(self) -> str | None:
        """Where the local S3 listens, None if it is not run here."""
        return f"http://{HOST}:{self._ports['s3']}" if self._parts.s3 else None

    def upload(self, folder: Path, bucket: str, prefix: str = "") -> Uploaded:
        """Copy a folder into the local S3, creating the bucket if need be."""
        return upload(folder, bucket, prefix, environment=self.environment())

    def pid(self, name: str) -> int:
        """The process id of a service: `worker`, `receiver`, `prefect-server`, ..."""
        return self._supervisor.pid(name)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a service; it is restarted if it dies of it."""
        self._supervisor.kill(name, number)

    def stop(self, name: str) -> None:
        """Stop a service until `start`."""
        self._supervisor.stop(name)

    def start(self, name: str) -> None:
        """Start a service that was stopped and wait until it answers."""
        self._supervisor.start(name)

    def restart(self, name: str) -> None:
        """Stop and start a service, as a deploy does, and wait until it answers."""
        self._supervisor.restart(name)

    def await_ready(self, name: str) -> None:
        """Wait until a service answers, after a `kill` for example."""
        self._supervisor.await_ready(name)

    def _start(self, lock_fd: int) -> None:
        settings = Settings()
        secrets = load_secrets(self.home)
        self._ports = self._choose_ports(settings)
        cluster = PostgresCluster(
            self.home / "postgres", self._ports["postgres"], secrets.database_password
        )
        databases = choose_databases(
            self.home,
            cluster,
            given_url=secret_text(settings.database_url),
            on_event=self._on_event,
        )
        self._environment = shared_environment(
            self.home,
            self._parts,
            ports=self._ports,
            secrets=secrets,
            ledger_url=databases.ledger_url,
            settings=settings,
        )
        write_environment(self.env_file, self._environment)
        services = Services(
            home=self.home,
            root=project_dir(),
            parts=self._parts,
            ports=self._ports,
            shared=self._environment,
            databases=databases,
            program=self._program,
            shared_fds=(lock_fd,),
        )
        self._launch(services)

    def _choose_ports(self, settings: Settings) -> dict[str, int]:
        ports = choose_ports(PORT_NAMES, self.home / "ports.json")
        if "port" in settings.model_fields_set:
            # A tunnel or a proxy points at the port that the user has chosen.
            ports["receiver"] = settings.port
        return ports

    def _launch(self, services: Services) -> None:
        """Start in the order of need, and wait as late as possible: imports take seconds."""
        supervisor, parts = self._supervisor, self._parts
        self._start_database(services)
        if parts.server:
            supervisor.launch(services.server())
        if parts.s3:
            supervisor.launch(services.s3())
        supervisor.run_step(services.migration())
        if parts.sandbox:
            supervisor.launch(services.sandbox(self._sandbox_options))
        if parts.receiver:
            supervisor.launch(services.receiver())
        if parts.server:
            supervisor.await_ready("prefect-server")
        if parts.server or parts.worker:
            supervisor.run_step(services.deployment())
            self._limit_worker()
        if parts.worker:
            supervisor.launch(services.worker())
        for name, runs in (
            ("s3", parts.s3),
            ("sandbox", parts.sandbox),
            ("receiver", parts.receiver),
            ("worker", parts.worker),
        ):
            if runs:
                supervisor.await_ready(name)

    def _start_database(self, services: Services) -> None:
        cluster = services.databases.cluster
        if cluster is None:
            return
        self._supervisor.launch(services.postgres())
        self._supervisor.await_ready("postgres")
        cluster.create_databases((PREFECT, LEDGER))

    def _limit_worker(self) -> None:
        if self._worker_limit is None:
            return
        environment = self.process_environment()
        response = httpx.patch(
            f"{environment['PREFECT_API_URL']}/work_pools/{WORK_POOL}",
            json={"concurrency_limit": self._worker_limit},
            headers=api_headers(environment),
            timeout=API_TIMEOUT_S,
        )
        if response.is_error:
            raise StackError(
                f"Prefect did not take {self._worker_limit} as the limit of work pool "
                f"{WORK_POOL!r}: status {response.status_code}."
            )
