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
    private: Annotated[
        str | None,
        Parameter(
            name="--private",
            help="HOST:PORT that everything but webhooks and /healthz moves to.",
        ),
    ] = None,
) -> int:
    """Run the receiver: it takes webhooks and requests, and resumes the flow runs that wait.

    Settings: ITTYBIT_WEBHOOK_SECRET (several, separated by commas, during a rotation),
    ITTYBATCH_API_TOKEN (without it there is no API), DATABASE_URL, PREFECT_API_URL, PORT.
    """
    serve(Settings(), host=host, port=port, private=private)
    return SUCCEEDED
