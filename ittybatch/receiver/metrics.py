"""The receiver's metrics for Prometheus."""

from collections import Counter as Counting
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ittybatch.engine.replacing import Woken
from ittybatch.ledger.states import Verdict
from ittybatch.receiver.ledger_metrics import LedgerMetrics
from ittybatch.receiver.sink_metrics import SinkMetrics

# Alerts look at these.
_WATCHED_STATUSES = (int(HTTPStatus.UNAUTHORIZED), int(HTTPStatus.SERVICE_UNAVAILABLE))


class Metrics:
    """The metrics of one receiver, in their own registry."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        deliveries = Counter(
            "ittybatch_deliveries",
            "Signed webhooks stored, by verdict.",
            ["verdict"],
            registry=self._registry,
        )
        # Resolved once, because looking up a label costs more than counting.
        self._deliveries = {
            verdict: deliveries.labels(verdict=verdict.value) for verdict in Verdict
        }
        self._refused = Counter(
            "ittybatch_webhooks_refused",
            "Requests to the webhook route that were refused, by status.",
            ["status"],
            registry=self._registry,
        )
        self._api_requests = Counter(
            "ittybatch_api_requests",
            "Requests to the API, by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._api_s = Histogram(
            "ittybatch_api_seconds",
            "Seconds until the API's answer, by route.",
            ["route"],
            registry=self._registry,
        )
        self._queue_messages = Counter(
            "ittybatch_queue_messages",
            "Messages of watched queues, and objects that a rule left out.",
            ["outcome"],
            registry=self._registry,
        )
        self._group_size = Histogram(
            "ittybatch_commit_deliveries",
            "Webhooks per commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self._registry,
        )
        self._commit_s = Histogram(
            "ittybatch_commit_seconds", "Seconds per commit.", registry=self._registry
        )
        self._woken = Counter(
            "ittybatch_runs_woken",
            "Actions of the waker on flow runs, by kind.",
            ["how"],
            registry=self._registry,
        )
        self._waker_errors = Counter(
            "ittybatch_waker_errors",
            "Rounds of the waker that failed.",
            registry=self._registry,
        )
        self._uncommitted = Gauge(
            "ittybatch_webhooks_uncommitted",
            "Webhooks in memory that wait for their commit.",
            registry=self._registry,
        )
        self.sinks = SinkMetrics(self._registry)
        self.ledger = LedgerMetrics(self._registry, self.sinks)
        # Create these series at 0: Prometheus's `increase` misses the first increment of a new
        # series.
        for status in _WATCHED_STATUSES:
            self._refused.labels(status=str(status))
        for how, _ in Woken().by_kind():
            self._woken.labels(how=how)
        self._queue_messages.labels(outcome="failed")

    def stored(self, verdicts: Iterable[Verdict]) -> None:
        """Count stored webhooks."""
        # Counting takes a lock: once per group, not per webhook.
        for verdict, count in Counting(verdicts).items():
            self._deliveries[verdict].inc(count)

    def refused(self, status: int) -> None:
        """Count a request that was refused with this status."""
        self._refused.labels(status=str(status)).inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer of the API.

        Args:
            route: The route of the request.
            status: The status of the answer.
            seconds: Duration of the request.
        """
        self._api_requests.labels(route=route, status=str(status)).inc()
        self._api_s.labels(route=route).observe(seconds)

    def count_queue_messages(self, counts: Mapping[str, int]) -> None:
        """Count what a poll of a watched queue gave.

        Args:
            counts: Messages by outcome (`taken`, `aside`, `stayed`, `later`, `failed`), and
                left-out objects by rule.
        """
        for outcome, count in counts.items():
            self._queue_messages.labels(outcome=outcome).inc(count)

    def committed(self, deliveries: int, seconds: float) -> None:
        """Count a group commit.

        Args:
            deliveries: The number of webhooks in it.
            seconds: Duration of the commit.
        """
        self._group_size.observe(deliveries)
        self._commit_s.observe(seconds)

    def woken(self, how: str, runs: int) -> None:
        """Count actions of the waker.

        Args:
            how: The kind of action, a field of `Woken`.
            runs: The number of flow runs that it acted on.
        """
        self._woken.labels(how=how).inc(runs)

    def waker_failed(self) -> None:
        """Count a failed round of the waker."""
        self._waker_errors.inc()

    def count_uncommitted(self, count: Callable[[], int]) -> None:
        """Call `count` at each scrape for the number of uncommitted webhooks."""
        self._uncommitted.set_function(count)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
