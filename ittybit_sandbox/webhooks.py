"""Delivers webhooks: signs, retries, and injects faults."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohttp

from ittybit_sandbox.config import SandboxConfig
from ittybit_sandbox.faults import FaultPlan
from ittybit_sandbox.jobs import Delivery, DeliveryState, Job
from ittybit_sandbox.memory import Memory
from ittybit_sandbox.payloads import (
    SIGNATURE_HEADER,
    event_of,
    forged_body,
    sign,
    webhook_body,
)
from ittybit_sandbox.tally import Tally

_log = logging.getLogger(__name__)

_MAX_ANSWER_BYTES: Final = 65_536
_MAX_HELD_S: Final = 2.0
_FORGED_SECRET: Final = b"a forged secret"

Outgoing = tuple[Job, Delivery]


class Deliveries:
    """Sends each finished job to its webhook URLs until they acknowledge it.

    Args:
        config: Dialect, secret, timeouts and concurrency.
        memory: Lists the endpoints and records finished deliveries.
        plan: Decides which faults happen.
        tally: Counts deliveries.
    """

    def __init__(
        self, config: SandboxConfig, memory: Memory, plan: FaultPlan, tally: Tally
    ) -> None:
        self._config = config
        self._memory = memory
        self._plan = plan
        self._tally = tally
        self._secret = config.webhook_secret.get_secret_value().encode()
        self._queue: asyncio.Queue[Outgoing] = asyncio.Queue()
        self._held: dict[str, list[Outgoing]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._workers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the connection pool and start the workers."""
        config = self._config
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=config.webhook_concurrency),
            timeout=aiohttp.ClientTimeout(total=config.webhook_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": "application/json", "User-Agent": "ittybit-sandbox"},
        )
        self._workers = [
            asyncio.create_task(self._work()) for _ in range(config.webhook_concurrency)
        ]

    async def stop(self) -> None:
        """Stop at once; the next start sends what was not acknowledged."""
        for timer in self._timers:
            timer.cancel()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._session.close()

    def announce(self, job: Job) -> None:
        """Send a finished job to its own URL and to every endpoint for its event, once each."""
        if job.standalone:
            return
        event = event_of(job)
        urls = [job.request.webhook_url] if job.request.webhook_url else []
        urls += [endpoint.url for endpoint in self._memory.endpoints if endpoint.wants(event)]
        notified = {delivery.url for delivery in job.deliveries}
        for url in dict.fromkeys(urls):
            if url not in notified:
                delivery = Delivery(url, len(job.deliveries))
                job.deliveries.append(delivery)
                self._tally.deliveries["planned"] += 1
                self._dispatch(job, delivery)

    def redeliver(self, job: Job) -> int:
        """Send a finished job again to all its URLs, without faults; return their number."""
        for delivery in job.deliveries:
            self._tally.deliveries["redelivered"] += 1
            self._queue.put_nowait((job, Delivery(delivery.url, delivery.ordinal)))
        return len(job.deliveries)

    def _dispatch(self, job: Job, delivery: Delivery) -> None:
        outgoing = (job, delivery)
        if not self._plan.webhooks_active:
            self._queue.put_nowait(outgoing)
            return
        faults, counts = self._plan.faults.webhooks, self._tally.deliveries
        identity = f"{job.fault_identity}/{delivery.ordinal}"
        if self._plan.strikes(faults.lost, "lost", identity):
            delivery.state = DeliveryState.LOST
            counts["lost"] += 1
            self._memory.settle(job, delivery)
            return
        if self._plan.strikes(faults.forged, "forged", identity):
            counts["forged"] += 1
            forgery = Delivery(delivery.url, delivery.ordinal, forged=True)
            self._queue.put_nowait((job, forgery))
        if self._plan.strikes(faults.duplicated, "duplicated", identity):
            counts["duplicated"] += 1
            self._queue.put_nowait((job, Delivery(delivery.url, delivery.ordinal)))
        if self._plan.strikes(faults.delayed, "delayed", identity):
            counts["delayed"] += 1
            self._later(faults.delayed.seconds, lambda: self._queue.put_nowait(outgoing))
        elif self._plan.strikes(faults.reordered, "reordered", identity):
            counts["reordered"] += 1
            self._held.setdefault(delivery.url, []).append(outgoing)
            self._later(_MAX_HELD_S, lambda: self._release(delivery.url))
        else:
            self._queue.put_nowait(outgoing)

    def _release(self, url: str) -> None:
        for outgoing in self._held.pop(url, ()):
            self._queue.put_nowait(outgoing)

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(delay_s, fire)
        self._timers.add(timer)

    async def _work(self) -> None:
        while True:
            job, delivery = await self._queue.get()
            try:
                if delivery.forged:
                    await self._forge(job, delivery)
                else:
                    await self._attempt(job, delivery)
            except Exception:  # noqa: BLE001 - one failed write must not stop the others
                _log.exception("the webhook of job %s could not be recorded", job.id)

    async def _attempt(self, job: Job, delivery: Delivery) -> None:
        delivery.attempts += 1
        self._tally.deliveries["sent"] += 1
        delivery.last_status = await self._post(job, delivery)
        if _is_success(delivery.last_status):
            delivery.state = DeliveryState.ACKNOWLEDGED
            self._tally.deliveries["acknowledged"] += 1
        elif delivery.attempts >= self._config.webhook_attempts:
            delivery.state = DeliveryState.ABANDONED
            self._tally.deliveries["abandoned"] += 1
        else:
            self._tally.deliveries["refused"] += 1
            outgoing = (job, delivery)
            self._later(
                self._backoff_s(delivery.attempts), lambda: self._queue.put_nowait(outgoing)
            )
            return
        self._memory.settle(job, delivery)
        if delivery.url in self._held:
            self._release(delivery.url)

    async def _forge(self, job: Job, delivery: Delivery) -> None:
        status = await self._send(
            delivery.url, forged_body(job, self._config.webhook_dialect), _FORGED_SECRET
        )
        if _is_success(status):
            self._tally.deliveries["forged_and_believed"] += 1

    async def _post(self, job: Job, delivery: Delivery) -> int | None:
        body = webhook_body(job, self._config.webhook_dialect)
        return await self._send(delivery.url, body, self._secret_for(job, delivery))

    async def _send(self, url: str, body: bytes, secret: bytes) -> int | None:
        headers = {SIGNATURE_HEADER: sign(body, secret)}
        with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                await response.content.read(_MAX_ANSWER_BYTES)
                return response.status
        return None

    def _secret_for(self, job: Job, delivery: Delivery) -> bytes:
        if not self._plan.webhooks_active:
            return self._secret
        chance = self._plan.faults.webhooks.wrongly_signed
        identity = f"{job.fault_identity}/{delivery.ordinal}/{delivery.attempts}"
        if self._plan.strikes(chance, "wrongly_signed", identity):
            self._tally.deliveries["wrongly_signed"] += 1
            return _FORGED_SECRET
        return self._secret

    def _backoff_s(self, attempts: int) -> float:
        delay_s = self._config.webhook_base_delay_s * 2.0 ** min(attempts - 1, 32)
        return min(delay_s, self._config.webhook_max_delay_s)


def _is_success(status: int | None) -> bool:
    return status is not None and 200 <= status < 300  # noqa: PLR2004
