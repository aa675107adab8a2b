"""One leg's submissions, in the process of the test."""

import asyncio
from typing import Any

from ittybatch.engine.dispatch import Dispatched, Dispatcher
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger import Ledger
from tests.sandbox.harness import KEY


def dispatch(ledger: Ledger, url: str, chunk: int, **given: Any) -> Dispatched:  # noqa: ANN401
    """Submit what is due of a chunk, each job with one request unless `attempts` says otherwise."""
    patience = {"attempts": given.pop("attempts", 1)}
    patience["retry_wait_initial_s"] = given.pop("retry_wait_s", 0.5)

    async def run() -> Dispatched:
        async with IttybitClient(KEY, base_url=url, **patience) as client:
            return await Dispatcher(ledger, client, chunk, **given).run()

    return asyncio.run(run())
