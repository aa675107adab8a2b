"""The metrics that are read from the ledger whenever somebody asks for them."""

import time

from prometheus_client import CollectorRegistry, Gauge

from ittybatch.ledger.watch import Watch
from ittybatch.receiver.sink_metrics import SinkMetrics


class LedgerMetrics:
    """Gauges of the ledger. Every receiver of one ledger shows the same figures.

    While the ledger cannot be read, `ittybatch_ready` is 0 and the others keep their last values.

    Args:
        registry: The receiver's.
        sinks: The gauges of sinks.
    """

    def __init__(self, registry: CollectorRegistry, sinks: SinkMetrics) -> None:
        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"ittybatch_{name}", what, labels, registry=registry)

        self._sinks = sinks
        self._ready = gauge("ready", "1 if the ledger can be used, 0 if webhooks are refused.")
        self._jobs = gauge("jobs", "Jobs of unfinished batches, by state.", "state")
        self._suspended = gauge("runs_waiting", "Flow runs that are suspended.")
        self._batches = gauge("batches", "Batches that have not ended, by state.", "state")
        self._circuits = gauge("circuits_open", "Batches that wait because Ittybit is down.")
        self._overdue = gauge("jobs_overdue", "Jobs at Ittybit past their deadline.")
        self._run_wait_s = gauge(
            "run_wait_seconds", "Seconds that the oldest run with work has waited for a worker."
        )
        self._webhook_at = gauge(
            "last_webhook_timestamp_seconds", "When the newest webhook came; 0: never."
        )
        self._reconcile_at = gauge(
            "last_reconcile_timestamp_seconds", "When `reconcile` last ran to its end; 0: never."
        )
        self._clock = gauge("clock_timestamp_seconds", "What a clock shows.", "clock")

    def set(self, watch: Watch | None) -> None:
        """Set the gauges.

        Args:
            watch: The ledger's figures; None if it cannot be used.
        """
        self._ready.set(watch is not None)
        self._clock.clear()  # a clock that is not read must not seem to stand still
        self._clock.labels(clock="receiver").set(time.time())
        if watch is None:
            return
        self._clock.labels(clock="ledger").set(watch.now.timestamp())
        for state, count in watch.jobs.items():
            self._jobs.labels(state=state).set(count)
        for state, count in watch.batches.items():
            self._batches.labels(state=state).set(count)
        self._suspended.set(watch.suspended)
        self._circuits.set(watch.circuits_open)
        self._overdue.set(watch.overdue)
        self._run_wait_s.set(watch.run_wait_s)
        for gauge, at in (
            (self._webhook_at, watch.last_webhook_at),
            (self._reconcile_at, watch.last_reconcile_at),
        ):
            gauge.set(at.timestamp() if at else 0)
        self._sinks.set_waiting(watch.sinks)
