"""The metrics of sinks."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from ittybatch.ledger.sinks import SinkStatus


class SinkMetrics:
    """Results that this receiver delivered, and those that wait in the ledger.

    Args:
        registry: The registry to register in.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._delivered = Counter(
            "ittybatch_results_delivered",
            "Results delivered by this receiver.",
            ["sink"],
            registry=registry,
        )
        self._refused = Counter(
            "ittybatch_results_refused",
            "Results that the sink refused for good.",
            ["sink"],
            registry=registry,
        )
        self._unavailable = Counter(
            "ittybatch_sink_failures",
            "Groups that wait because the sink was unavailable.",
            ["sink"],
            registry=registry,
        )
        self._pending = Gauge(
            "ittybatch_results_pending",
            "Results in the ledger that wait for delivery.",
            ["sink"],
            registry=registry,
        )
        self._kept = Gauge(
            "ittybatch_results_kept",
            "Rejected results in the ledger that `sinks retry` would send again.",
            ["sink"],
            registry=registry,
        )
        self._lag_s = Gauge(
            "ittybatch_results_lag_seconds",
            "Age of the oldest result that waits.",
            ["sink"],
            registry=registry,
        )

    def delivered(self, sink: str, results: int) -> None:
        """Count delivered results."""
        self._delivered.labels(sink=sink).inc(results)

    def refused(self, sink: str, results: int) -> None:
        """Count results that the sink refused for good."""
        self._refused.labels(sink=sink).inc(results)

    def unavailable(self, sink: str) -> None:
        """Count a group that failed because the sink was unavailable."""
        self._unavailable.labels(sink=sink).inc()

    def set_waiting(self, sinks: Sequence[SinkStatus]) -> None:
        """Set the gauges from the ledger's figures."""
        now = datetime.now(UTC)
        for sink in sinks:
            oldest = sink.oldest_pending_at
            lag_s = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
            self._pending.labels(sink=sink.name).set(sink.pending)
            self._kept.labels(sink=sink.name).set(sink.refused)
            self._lag_s.labels(sink=sink.name).set(lag_s)
            # A counter that begins with its first count hides it from `increase`.
            for counter in (self._delivered, self._refused, self._unavailable):
                counter.labels(sink=sink.name)
