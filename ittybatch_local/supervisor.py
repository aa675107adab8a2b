"""Starts services, restarts them when they die, and stops them in reverse order."""

import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ittybatch_local.errors import StackError
from ittybatch_local.process import GuardedProcess, ProcessSpec

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
STEADY_AFTER_S = 60.0
PROBE_EVERY_S = 0.1


class Supervisor:
    """Runs each service under a guard; a context manager that stops all of them at its end.

    Args:
        on_event: Called with a line that a user should see, from other threads.
    """

    def __init__(self, on_event: Callable[[str], None] = lambda _: None) -> None:
        self._on_event = on_event
        self._services: dict[str, _Service] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def launch(self, spec: ProcessSpec) -> None:
        """Start a service without waiting for its health check."""
        if spec.name in self._services:
            raise StackError(f"{spec.name} is already part of this stack.")
        self._services[spec.name] = service = _Service(spec, self._on_event)
        service.start()

    def await_ready(self, name: str) -> None:
        """Wait until a service passes its health check.

        Raises:
            StackError: It died or did not answer in time. The message ends with its log's tail.
        """
        self._service(name).await_ready()

    def run_step(self, spec: ProcessSpec) -> None:
        """Run a command and wait for its end.

        Raises:
            StackError: It failed, or took longer than `spec.ready_within_s`.
        """
        step = GuardedProcess(spec)
        step.start()
        try:
            exit_code = step.wait(spec.ready_within_s)
        finally:
            step.stop()
        if exit_code is None:
            raise _failure(step, f"{spec.name} did not end within {spec.ready_within_s:g} s.")
        if exit_code != 0:
            raise _failure(step, f"{spec.name} failed (exit {exit_code}).")

    def pid(self, name: str) -> int:
        """The process id of a service.

        Raises:
            StackError: It does not run.
        """
        return self._service(name).pid()

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a service, which is restarted if it dies."""
        self._service(name).kill(number)

    def stop(self, name: str) -> None:
        """Stop a service and all its descendants until `start`."""
        self._service(name).stop()

    def start(self, name: str) -> None:
        """Start a stopped service and wait until it is ready."""
        service = self._service(name)
        service.start()
        service.await_ready()

    def restart(self, name: str) -> None:
        """Stop a service, start it again and wait until it is ready."""
        self.stop(name)
        self.start(name)

    def close(self) -> None:
        """Stop all services, the last started first."""
        for name in reversed(list(self._services)):
            self._services[name].stop()
        self._services.clear()

    def _service(self, name: str) -> "_Service":
        try:
            return self._services[name]
        except KeyError:
            known = ", ".join(self._services) or "nothing"
            raise StackError(f"{name!r} is not part of this stack, which runs {known}.") from None


class _Service:
    """One service across restarts."""

    def __init__(self, spec: ProcessSpec, on_event: Callable[[str], None]) -> None:
        self._spec = spec
        self._on_event = on_event
        self._lock = threading.RLock()
        self._unwanted = threading.Event()
        self._unwanted.set()
        self._current: GuardedProcess | None = None
        # Processes that died, but whose children may still finish their work.
        self._past: list[GuardedProcess] = []
        self._has_answered = False
        self._started_at = 0.0
        self._backoff_s = FIRST_BACKOFF_S

    def start(self) -> None:
        with self._lock:
            if not self._unwanted.is_set():
                return
            self._has_answered = False
            self._backoff_s = FIRST_BACKOFF_S
            self._unwanted.clear()
            try:
                self._spawn()
            except StackError:
                self._unwanted.set()
                raise

    def stop(self) -> None:
        self._unwanted.set()
        with self._lock:
            processes = [*self._past, *([self._current] if self._current else [])]
            for process in processes:
                process.request_stop()
            for process in processes:
                process.stop()
            self._past.clear()
            self._current = None

    def pid(self) -> int:
        current = self._current
        if current is None or current.pid is None or not current.is_alive:
            raise StackError(f"{self._spec.name} is not running.")
        return current.pid

    def kill(self, number: signal.Signals) -> None:
        if self._current is None:
            raise StackError(f"{self._spec.name} is not running.")
        self._current.kill(number)

    def await_ready(self) -> None:
        spec = self._spec
        deadline = time.monotonic() + spec.ready_within_s
        while True:
            current = self._current
            if current is None:
                raise StackError(f"{spec.name} is not running.")
            if not current.is_alive and not self._has_answered:
                self._unwanted.set()
                raise _failure(
                    current, f"{spec.name} died before it was ready (exit {current.exit_code})."
                )
            if self._answers():
                with self._lock:
                    # Alive after its answer: from here on `_ended` restarts it.
                    if current.is_alive:
                        self._has_answered = True
                        return
            if time.monotonic() > deadline:
                raise _failure(
                    current, f"{spec.name} was not ready within {spec.ready_within_s:g} s."
                )
            time.sleep(PROBE_EVERY_S)

    def _answers(self) -> bool:
        return self._spec.is_ready is None or self._spec.is_ready()

    def _spawn(self) -> None:
        self._started_at = time.monotonic()
        self._current = GuardedProcess(self._spec, self._ended)
        self._current.start()

    def _ended(self, process: GuardedProcess) -> None:
        """Restart the service; runs in the thread of the process that ended."""
        with self._lock:
            if not self._has_answered:
                return  # `await_ready` reports it
        while not self._unwanted.is_set():
            if time.monotonic() - self._started_at > STEADY_AFTER_S:
                self._backoff_s = FIRST_BACKOFF_S
            if self._unwanted.wait(self._backoff_s):
                return
            self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)
            with self._lock:
                if self._unwanted.is_set() or self._current is not process:
                    return
                if self._revive(process):
                    return

    def _revive(self, process: GuardedProcess) -> bool:
        name = self._spec.name
        if not self._spec.keeps_orphans:
            process.stop()
        try:
            self._spawn()
        except StackError as error:
            self._current = process
            self._on_event(
                f"{name} died (exit {process.exit_code}) and did not restart: {error.message}"
            )
            return False
        self._past.append(process)
        for past in [past for past in self._past if past.is_gone]:
            past.stop()
            self._past.remove(past)
        self._on_event(f"{name} died (exit {process.exit_code}), restarted")
        return True


def _failure(process: GuardedProcess, message: str) -> StackError:
    tail = process.tail()
    ends = f" It ends:\n{tail}" if tail else " It is empty."
    return StackError(message, remedy=f"Its log is {process.spec.log}.{ends}")
