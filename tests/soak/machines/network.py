"""Machines as network namespaces, joined by a switch whose cables can be pulled out."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self

_SUBNET = "10.77.0"
# This machine's own address in the network.
_HERE = f"{_SUBNET}.1"
_FIRST = 10


def why_not() -> str | None:
    """Say what is missing to make network namespaces; None if nothing is."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    missing = [name for name in ("ip", "setpriv") if not shutil.which(name)]
    return f"{', '.join(missing)} not installed" if missing else None


class Network:
    """A switch with a cable to each machine and to this one; a context manager.

    Args:
        machines: Their names.
    """

    def __init__(self, machines: Sequence[str]) -> None:
        self._prefix = f"ib{os.getpid()}"
        self._switch = f"{self._prefix}-switch"
        self._numbers = {name: _FIRST + number for number, name in enumerate(machines)}

    def __enter__(self) -> Self:
        _ip("netns", "add", self._switch)
        self._in(self._switch, "link", "add", "bridge", "type", "bridge")
        self._in(self._switch, "link", "set", "bridge", "up")
        self._plug(f"{self._prefix}r", None, _HERE)
        for name in self._numbers:
            _ip("netns", "add", self.namespace(name))
            self._plug(self._cable(name), self.namespace(name), self.address(name))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in self._numbers:
            self.lose(name)
            _ip("netns", "delete", self.namespace(name))
        _ip("netns", "delete", self._switch)

    def namespace(self, machine: str) -> str:
        """The name of a machine's namespace."""
        return f"{self._prefix}-{machine}"

    def address(self, machine: str) -> str:
        """A machine's address."""
        return f"{_SUBNET}.{self._numbers[machine]}"

    @property
    def subnet(self) -> str:
        """All addresses of the network."""
        return f"{_SUBNET}.0/24"

    def on(self, machine: str, *command: str, user: str | None = None) -> tuple[str, ...]:
        """Wrap a command, so that it runs on a machine.

        Args:
            machine: The machine.
            command: The argument vector.
            user: The account to run as.
        """
        as_user = (
            ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups") if user else ()
        )
        return ("ip", "netns", "exec", self.namespace(machine), *as_user, *command)

    def cut(self, machine: str) -> None:
        """Pull out a machine's cable: open connections stay open and carry nothing."""
        self._in(self._switch, "link", "set", f"{self._cable(machine)}s", "down")

    def mend(self, machine: str) -> None:
        """Put the cable in again."""
        self._in(self._switch, "link", "set", f"{self._cable(machine)}s", "up")

    def lose(self, machine: str) -> None:
        """Kill every process of a machine."""
        for pid in _ip("netns", "pids", self.namespace(machine)).split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _cable(self, machine: str) -> str:
        # The name of an interface has 15 characters at most.
        return f"{self._prefix}c{self._numbers[machine]}"

    def _plug(self, cable: str, namespace: str | None, address: str) -> None:
        end = f"{cable}s"
        _ip("link", "add", cable, "type", "veth", "peer", "name", end, "netns", self._switch)
        self._in(self._switch, "link", "set", end, "master", "bridge", "up")
        if namespace is not None:
            _ip("link", "set", cable, "netns", namespace)
        self._in(namespace, "address", "add", f"{address}/24", "dev", cable)
        for interface in (cable, "lo"):
            self._in(namespace, "link", "set", interface, "up")

    @staticmethod
    def _in(namespace: str | None, *arguments: str) -> None:
        _ip(*(("-n", namespace) if namespace else ()), *arguments)


def _ip(*arguments: str) -> str:
    return subprocess.run(
        ["ip", *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
