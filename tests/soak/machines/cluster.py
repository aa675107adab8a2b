"""The processes of an installation, each on a machine of its own."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import psycopg
from psycopg import sql

from ittybatch.settings import CHECKOUT
from ittybatch_local.ports import HOST, choose_ports
from ittybatch_local.postgres import ROLE, PostgresCluster, binaries
from ittybatch_local.process import ProcessSpec
from ittybatch_local.supervisor import Supervisor
from tests.soak.machines.network import Network

MACHINES = (
    *("postgres", "prefect", "sandbox", "s3", "proxy"),
    *("receiver-1", "receiver-2", "worker-1", "worker-2"),
)
RECEIVERS = ("receiver-1", "receiver-2")
WORKERS = ("worker-1", "worker-2")
# Seconds that a machine's clock is fast, or slow: ten minutes between two of a kind. No worker's is
# slow: it would take flow runs that much later, which `ittybatch doctor` warns of.
CLOCKS = {"receiver-1": 300, "receiver-2": -300, "worker-1": 600}
BUCKET = "soak"
LEASE_S = 15
_CLOCK = Path(__file__).with_name("clock.c")
_LEDGER, _PREFECT = "ledger", "prefect"
_READY_WITHIN_S = 180.0
_PYTHON = (sys.executable, "-m")


def why_not() -> str | None:
    """Say what is missing to set clocks wrong; None if nothing is."""
    return None if shutil.which("cc") else "there is no C compiler"


class Cluster(Supervisor):
    """An installation on several machines; a context manager.

    Args:
        network: The machines, up.
        home: The folder of everything on disk. Each machine uses a folder of its own in it.
        on_event: Called with a line that somebody should see.
    """

    def __init__(self, network: Network, home: Path, on_event: Callable[[str], None]) -> None:
        super().__init__(on_event)
        self.home = home
        self._network = network
        # Not in the home, which the product closes to other accounts, also to the database's.
        data = home.with_name("database")
        self._postgres = PostgresCluster(data, 5432, secrets.token_hex(16))
        # What every process imports; the roll-out of a version points it elsewhere.
        self._code = home / "code"
        self._clock = home / "clock.so"
        self._shared = self._settings()
        ports = choose_ports(["wire", "s3"], home.with_name("ports.json"))
        self._wire_port, self._s3_port = ports["wire"], ports["s3"]

    def environment(self) -> dict[str, str]:
        """The settings of a process on this machine."""
        s3 = f"http://{HOST}:{self._s3_port}"
        return {**self._shared, "ITTYBIT_API_URL": self.wire_url, "AWS_ENDPOINT_URL": s3}

    def process_environment(self) -> dict[str, str]:
        """The environment of a command on this machine, which is on the network, too."""
        return {**self._of(None), "ITTYBATCH_HOME": str(self.home)}

    def start_all(self) -> None:
        """Start every machine, and create tables, deployments and the bucket."""
        self.home.chmod(0o755)
        self._code.symlink_to(CHECKOUT)
        compiler = ("cc", "-O2", "-shared", "-fPIC", "-o", self._clock, _CLOCK)
        subprocess.run(compiler, check=True)
        self._postgres.prepare()
        hba = self._postgres.data / "pg_hba.conf"
        with hba.open("a") as stream:
            stream.write(f"host all all {self._network.subnet} scram-sha-256\n")
        for name in ("postgres", "s3", "sandbox", "proxy"):
            self.launch(self.spec(name))
        self._launch_forwarders()
        self.await_ready("postgres")
        with psycopg.connect(self._url("postgres"), autocommit=True) as admin:
            for name in (_LEDGER, _PREFECT):
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self.launch(self.spec("prefect"))
        self.run_step(self._step("upgrade", (*_PYTHON, "ittybatch", "db", "upgrade")))
        self.await_ready("prefect")
        self.deploy()
        for name in (*RECEIVERS, *WORKERS):
            self.launch(self.spec(name))
        for name in MACHINES:
            self.await_ready(name)

    @property
    def wire_url(self) -> str:
        """Where this machine reaches the sandbox."""
        return f"http://{HOST}:{self._wire_port}"

    def deploy(self) -> None:
        """Register pool, deployments and automations, as at every new version."""
        command = (*_PYTHON, "ittybatch", "deploy", "--python", sys.executable)
        self.run_step(self._step("deploy", command))

    def roll(self) -> None:
        """Bring a new version to one machine after the other, and deploy it."""
        code = self.home / "next"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / "ittybatch", code / "ittybatch", ignore=ignored)
        for name in ("prefect.yaml", "deployments"):
            (code / name).symlink_to(CHECKOUT / name)
        init = code / "ittybatch" / "__init__.py"
        init.write_text(init.read_text().replace('__version__ = "', '__version__ = "1'))
        self._code.unlink()
        self._code.symlink_to(code)
        for name in (*RECEIVERS, *WORKERS):
            self.restart(name)
        self.deploy()

    def spec(self, name: str) -> ProcessSpec:
        """The process of one machine."""
        everywhere = "0.0.0.0"
        receiver = (*_PYTHON, "ittybatch", "receiver", "--host", everywhere)
        worker: tuple[str, ...] = (*_PYTHON, "prefect", "worker", "start", "--pool", "ittybatch")
        worker += ("--type", "process", "--name", name)
        options = ("-c", "listen_addresses=*", "-c", "unix_socket_directories=")
        targets = tuple(f"{self._network.address(each)}:8300" for each in RECEIVERS)
        state = str(self.home / "sandbox-state")
        commands: dict[str, tuple[str, ...]] = {
            "postgres": (str(binaries() / "postgres"), "-D", str(self._postgres.data), *options),
            "prefect": (*_PYTHON, "prefect", "server", "start", "--host", everywhere),
            "s3": (*_PYTHON, "moto.server", "-H", everywhere, "-p", "9000"),
            "sandbox": (
                *(*_PYTHON, "ittybit_sandbox", "--instant", "--host", everywhere),
                *("--state", state),
            ),
            "proxy": (*_PYTHON, "tests.soak.machines.proxy", "8300", *targets),
            **dict.fromkeys(RECEIVERS, receiver),
            **dict.fromkeys(WORKERS, worker),
        }
        ready: dict[str, Callable[[], bool]] = {
            "postgres": self._postgres_answers,
            "prefect": self._answers(name, 4200, "/api/health"),
            "s3": self._answers(name, 9000, "/moto-api/"),
            "sandbox": self._answers(name, 8400, "/healthz"),
            **dict.fromkeys(RECEIVERS, self._answers(name, 8300, "/readyz")),
        }
        return self._spec(name, commands[name], ready.get(name))

    def _launch_forwarders(self) -> None:
        """Lead to S3 and to and from the sandbox over loopback addresses.

        The sandbox trusts its own machine alone, and keys go unencrypted over no network.
        """
        sandbox, proxy = self._network.address("sandbox"), self._network.address("proxy")
        s3 = f"{self._network.address('s3')}:9000"
        users = (*RECEIVERS, *WORKERS)
        for name, port, target, machine in (
            ("webhooks", 8300, f"{proxy}:8300", "sandbox"),
            ("admin", 8401, f"{HOST}:8400", "sandbox"),
            ("wire", self._wire_port, f"{sandbox}:8401", None),
            ("objects", self._s3_port, s3, None),
            *((f"api-{each}", 8400, f"{sandbox}:8401", each) for each in users),
            *((f"objects-{each}", 9000, s3, each) for each in users),
        ):
            command: tuple[str, ...] = (*_PYTHON, "tests.soak.machines.proxy", str(port), target)
            if machine is not None:
                command = self._network.on(machine, *command)
            self.launch(self._step(name, command))
            # Only then it is started again, after its machine was lost.
            self.await_ready(name)

    def _spec(
        self,
        name: str,
        command: tuple[str, ...],
        is_ready: Callable[[], bool] | None,
    ) -> ProcessSpec:
        user = self._postgres.user if name == "postgres" else None
        home = self.home / name
        home.mkdir(exist_ok=True)
        return ProcessSpec(
            name=name,
            command=self._network.on(name, *command, user=user),
            log=self.home / f"{name}.log",
            environment={**self._of(name), "ITTYBATCH_HOME": str(home)},
            cwd=CHECKOUT,
            is_ready=is_ready,
            ready_within_s=_READY_WITHIN_S,
        )

    def _step(self, name: str, command: tuple[str, ...]) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=command,
            log=self.home / f"{name}.log",
            environment=self.process_environment(),
            cwd=CHECKOUT,
            ready_within_s=_READY_WITHIN_S,
        )

    def _settings(self) -> dict[str, str]:
        at = self._network.address
        return {
            "DATABASE_URL": self._url(_LEDGER),
            "PREFECT_API_URL": f"http://{at('prefect')}:4200/api",
            "PREFECT_API_AUTH_STRING": "operator:soak",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "ITTYBIT_API_URL": f"http://{HOST}:8400",
            "ITTYBIT_API_KEY": "soak-key",
            "ITTYBIT_WEBHOOK_SECRET": "soak-webhook-secret",
            # The sandbox calls plain HTTP on its own machine only: `webhooks` forwards it.
            "WEBHOOK_URL": "http://127.0.0.1:8300/webhooks/ittybit",
            "ITTYBATCH_LEASE_S": str(LEASE_S),
            "ITTYBATCH_POLL_AFTER_S": "300",
            "ITTYBATCH_REPORT_TO": f"s3://{BUCKET}/reports/",
            "AWS_ENDPOINT_URL": f"http://{HOST}:9000",
            "AWS_ACCESS_KEY_ID": "soak",
            "AWS_SECRET_ACCESS_KEY": "soak",
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "*",
        }

    def _of(self, machine: str | None) -> dict[str, str]:
        """The environment of a machine; of this one if None."""
        found = {"PATH": os.environ["PATH"], "NO_COLOR": "1", **self._shared}
        found["PYTHONPATH"] = str(self._code)
        if machine is None:
            found |= self.environment()
        else:
            found["PREFECT_HOME"] = str(self.home / machine / "prefect")
        if machine == "prefect":
            found["PREFECT_SERVER_API_AUTH_STRING"] = self._shared["PREFECT_API_AUTH_STRING"]
            found["PREFECT_API_DATABASE_CONNECTION_URL"] = self._url(_PREFECT, "postgresql+asyncpg")
        if machine in CLOCKS:
            found |= {
                "LD_PRELOAD": str(self._clock),
                "CLOCK_OFFSET_S": str(CLOCKS[machine]),
            }
        return found

    def _url(self, database: str, scheme: str = "postgresql") -> str:
        at = self._network.address("postgres")
        return f"{scheme}://{ROLE}:{self._postgres.password}@{at}:5432/{database}"

    def _postgres_answers(self) -> bool:
        try:
            with psycopg.connect(self._url("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _answers(self, machine: str, port: int, path: str) -> Callable[[], bool]:
        url = f"http://{self._network.address(machine)}:{port}{path}"
        opener = build_opener(ProxyHandler({}))

        def asks() -> bool:
            try:
                with opener.open(url, timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        return asks
