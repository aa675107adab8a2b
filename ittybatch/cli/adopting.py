"""The command that takes over jobs which another ledger had Ittybit make."""

import asyncio
from dataclasses import asdict

from ittybatch.cli.output import Batch, Json, console, print_json
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.adopting import Adoption, adopt_batch
from ittybatch.engine.connection import connect
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.queries import find_batch
from ittybatch.settings import Settings


def adopt(batch: Batch, *, json: Json = False) -> int:
    """Record jobs of a batch that Ittybit has already, sent by another ledger.

    For a restored backup, a new laptop, or any ledger that does not know what its Ittybit project
    has made. Each unsent job is looked for by its input, options and destination. One that has
    succeeded is recorded with its output, one that runs is followed to its end. Nothing is sent.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    done = asyncio.run(_adopt(settings, ledger, ledger.read(find_batch, batch)))
    if json:
        print_json({**asdict(done), "adopted": {str(k): n for k, n in done.adopted.items()}})
    else:
        console.print(done.told(), markup=False)
    return SUCCEEDED


async def _adopt(settings: Settings, ledger: Ledger, batch: str) -> Adoption:
    async with connect(settings) as client:
        return await adopt_batch(ledger, client, batch)
