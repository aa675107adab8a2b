"""One leg's submissions, in the process of the test."""

import asyncio
from typing import Any

from ittybatch.engine.dispatch import Dispatched, Dispatcher
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger import Ledger
from tests.sandbox.harness import KEY


def dispatch(ledger: Ledger, url: str, chunk: int, **given: Any) -> Dispatched:  # noqa: ANN401
    """Submit what is due of a chunk, each job with one request."""

    async def run() -> Dispatched:
        async with IttybitClient(KEY, base_url=url, attempts=1) as client:
            return await Dispatcher(ledger, client, chunk, **given).run()

    return asyncio.run(run())
