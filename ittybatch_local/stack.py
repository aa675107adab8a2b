"""The local stack: everything that a batch needs, on this machine."""

import contextlib
from collections.abc import Callable, Mapping
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
from ittybatch_local.intake import EXAMPLE_BUCKET, EXAMPLE_ORIGIN, choose_intake
from ittybatch_local.keys import load_secrets
from ittybatch_local.lock import home_lock
from ittybatch_local.ports import HOST, choose_ports
from ittybatch_local.postgres import PostgresCluster
from ittybatch_local.s3 import Uploaded, create_uploads_bucket, upload
from ittybatch_local.services import PROGRAM, WORK_POOL, SandboxOptions, Services, api_headers
from ittybatch_local.supervisor import Supervisor

PORT_NAMES = ("prefect", "postgres", "s3", "sandbox", "receiver")
API_TIMEOUT_S = 10.0


class LocalStack(Supervisor):
    """Supervises the stack's services until its context ends.

        with LocalStack(Path(".ittybatch"), on_event=print) as stack:
            subprocess.run(["ittybatch", "status"], env=stack.process_environment())

    No process outlives the context, or this process if it is killed. Databases, secrets and ports
    stay in the home between starts. The content of the local S3 is lost.

    The services are `postgres`, `prefect-server`, `s3`, `sandbox`, `receiver` and `worker`.

    Args:
        home: The folder of databases, logs and secrets; created if missing. One stack per home.
        sandbox: Run the local Ittybit; otherwise use the real one with the user's key.
        s3: Run a local S3; otherwise use the user's own AWS settings.
        worker: Run a worker.
        server: Run Prefect's server; otherwise use the one at `PREFECT_API_URL`.
        worker_limit: Concurrent flow runs; None keeps the limit of the work pool.
        faults: A file of faults for the sandbox to inject.
        seed: Seed of the sandbox's random choices.
        instant: Whether the sandbox completes jobs without doing the work.
        dialect: The shape of the sandbox's webhooks: flat, completed or envelope.
        kind_costs: Prices by kind, for a user who has set none (`ITTYBATCH_KIND_COSTS`).
        on_event: Called with a line that a user should see, from several threads.
        program: The command with `receiver`, `sandbox`, `deploy` and `db upgrade`.

    Raises:
        StackError: Another stack runs in this home, or a service does not start.
        ConfigurationError: The stack does not run a part, and no setting leads to another.
    """

    def __init__(
        self,
        home: Path,
        *,
        sandbox: bool = True,
        s3: bool = True,
        worker: bool = True,
        server: bool = True,
        worker_limit: int | None = None,
        faults: Path | None = None,
        seed: int | None = None,
        instant: bool = False,
        dialect: str | None = None,
        kind_costs: Mapping[str, float] | None = None,
        on_event: Callable[[str], None] = lambda _: None,
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        super().__init__(on_event)
        self.home = home.expanduser().resolve()
        self._parts = Parts(sandbox=sandbox, s3=s3, worker=worker, server=server)
        self._worker_limit = worker_limit
        self._sandbox_options = SandboxOptions(
            faults=faults, seed=seed, is_instant=instant, dialect=dialect
        )
        self._kind_costs = kind_costs
        self._program = program
        self._ports: dict[str, int] = {}
        self._environment: dict[str, str] = {}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as cleanup:
            private_folder(self.home)
            make_private(self.home)
            lock_fd = cleanup.enter_context(home_lock(self.home))
            cleanup.callback(self.close)
            self._start_all(lock_fd)
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
        """The settings that all processes of the stack share, as in `env_file`."""
        if not self._environment:
            raise StackError("The local stack has not been started.")
        return dict(self._environment)

    def process_environment(self) -> dict[str, str]:
        """The complete environment of a child process, without conflicting user settings."""
        return process_environment(self.environment(), self._parts)

    @property
    def env_file(self) -> Path:
        """The file of the environment for other shells: `set -a; . FILE`."""
        return self.home / STACK_ENVIRONMENT

    @property
    def prefect_url(self) -> str:
        """The URL of the Prefect UI."""
        return self.environment()["PREFECT_API_URL"].removesuffix("/api")

    @property
    def prefect_auth(self) -> str | None:
        """The `user:password` of the Prefect UI; None if unknown."""
        return self.environment().get("PREFECT_API_AUTH_STRING")

    @property
    def receiver_url(self) -> str:
        """The receiver's URL."""
        return f"http://{HOST}:{self._ports['receiver']}"

    @property
    def page_url(self) -> str:
        """The URL of the live page."""
        return f"{self.receiver_url}/page/"

    @property
    def api_token(self) -> str:
        """The bearer token of the receiver's API."""
        return self.environment()["ITTYBATCH_API_TOKEN"]

    @property
    def request_example(self) -> str:
        """A command line that sends one file to the API, for a shell with `env_file`."""
        return (
            f"curl -X POST {self.receiver_url}/process "
            '-H "Authorization: Bearer $ITTYBATCH_API_TOKEN" '
            """-d '{"url": "https://example.com/video.mov", "profile": "web"}'"""
        )

    @property
    def sandbox_url(self) -> str | None:
        """The local Ittybit's URL; None if the stack does not run it."""
        return f"http://{HOST}:{self._ports['sandbox']}" if self._parts.sandbox else None

    @property
    def s3_url(self) -> str | None:
        """The local S3's URL; None if the stack does not run it."""
        return f"http://{HOST}:{self._ports['s3']}" if self._parts.s3 else None

    def upload(self, folder: Path, bucket: str, prefix: str = "") -> Uploaded:
        """Copy a folder into the local S3, and create the bucket if it is missing."""
        return upload(folder, bucket, prefix, environment=self.environment())

    def _start_all(self, lock_fd: int) -> None:
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
            # The example's bucket is in the local S3.
            intake_file=choose_intake(self.home, settings)
            if self._parts.s3
            else settings.intake_file.resolve(),
            settings=settings,
            kind_costs=self._kind_costs,
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
            # The user's tunnel or proxy leads to it.
            ports["receiver"] = settings.port
        return ports

    def _launch(self, services: Services) -> None:
        """Start in the order of dependence, and wait as late as possible: imports take seconds."""
        parts = self._parts
        self._start_database(services)
        if parts.server:
            self.launch(services.server())
        if parts.s3:
            self.launch(services.s3())
        self.run_step(services.migration())
        if parts.sandbox:
            self.launch(services.sandbox(self._sandbox_options))
        self.launch(services.receiver())
        if parts.server:
            self.await_ready("prefect-server")
        if parts.server or parts.worker:
            self.run_step(services.deployment())
            self._limit_worker()
        if parts.worker:
            self.launch(services.worker())
        for name, runs in (
            ("s3", parts.s3),
            ("sandbox", parts.sandbox),
            ("receiver", True),
            ("worker", parts.worker),
        ):
            if runs:
                self.await_ready(name)
        if parts.s3:
            # The live page uploads, too, by either of this machine's names.
            page = (self.receiver_url, self.receiver_url.replace(HOST, "localhost"))
            create_uploads_bucket(
                EXAMPLE_BUCKET, origins=[EXAMPLE_ORIGIN, *page], environment=self.environment()
            )

    def _start_database(self, services: Services) -> None:
        cluster = services.databases.cluster
        if cluster is None:
            return
        self.launch(services.postgres())
        self.await_ready("postgres")
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
                f"Prefect refused {self._worker_limit} as the limit of work pool {WORK_POOL!r}: "
                f"status {response.status_code}."
            )
