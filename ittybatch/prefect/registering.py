"""Register the blocks with a Prefect server, as `prefect block register` does."""

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from ittybatch.engine.flow_runs import PrefectUnavailable
from ittybatch.ittybit.redaction import redacted
from ittybatch.prefect import BLOCKS


def register_blocks() -> None:
    """Create or update the types and schemas of the blocks.

    Raises:
        PrefectUnavailable: Prefect does not answer, or refuses.
    """
    for block in BLOCKS:
        try:
            block.register_type_and_schema()
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            raise PrefectUnavailable(
                # The error names the address of the API, which may have a password.
                f"Prefect did not register the block {block.__name__}: {redacted(str(error))}",
                remedy="Run `ittybatch deploy` again. Everything else of it was done.",
            ) from error
