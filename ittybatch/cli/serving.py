"""The command that runs the webhook receiver."""

from typing import Annotated

from cyclopts import Parameter

from ittybatch.cli.status import SUCCEEDED
from ittybatch.receiver import serve
from ittybatch.settings import Settings


def receiver(
    *,
    host: Annotated[str, Parameter(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, Parameter(help="The port. Default: PORT.")] = None,
) -> int:
    """Run the webhook receiver. It also resumes the flow runs that have new webhooks.

    Settings: ITTYBIT_WEBHOOK_SECRET (several, separated by commas, during a rotation),
    DATABASE_URL, PREFECT_API_URL, PORT.
    """
    serve(Settings(), host=host, port=port)
    return SUCCEEDED
