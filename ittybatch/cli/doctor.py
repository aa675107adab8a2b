"""The command that checks an installation."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from ittybatch.cli.output import Json, console, print_json
from ittybatch.cli.status import COULD_NOT_RUN, SUCCEEDED
from ittybatch.engine.bucket_checks import check_bucket
from ittybatch.engine.finding import Finding, Grade
from ittybatch.page.doctor import check_everything
from ittybatch.settings import Settings

_MARKS = {
    Grade.OK: ("ok", "green"),
    Grade.WARNING: ("warn", "yellow"),
    Grade.BROKEN: ("BAD", "bold red"),
}


def doctor(
    *,
    bucket: Annotated[
        str | None,
        Parameter(
            help="Also check that this machine and a worker can list this bucket or s3:// prefix."
        ),
    ] = None,
    request_payer: Annotated[
        bool, Parameter(negative="", help="Agree to pay for listing --bucket (requester pays).")
    ] = False,
    json: Json = False,
) -> int:
    """Check key, secret, webhook URL, API, page, ledger, Prefect, worker, intake, sinks, buckets.

    Each finding says how to fix the problem. Exit status 3 if something is broken.
    """
    settings = Settings()
    findings = check_everything(settings)
    if bucket:
        healthy = {finding.check for finding in findings if finding.grade is Grade.OK}
        findings += check_bucket(
            bucket, worker_is_there="Worker" in healthy, request_payer=request_payer
        )
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        show(findings)
    broken = any(finding.grade is Grade.BROKEN for finding in findings)
    return COULD_NOT_RUN if broken else SUCCEEDED


def show(findings: Sequence[Finding]) -> None:
    """Print findings as a table, and below it the commands that fix them."""
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.grade]
        remedy = f"\n-> {finding.remedy}" if finding.remedy else ""
        table.add_row(Text(mark, style=style), finding.check, Text(finding.what + remedy))
    console.print(table)
    for finding in findings:
        if finding.command:
            # Outside of the table, whose cells are wrapped: it is there to be copied.
            console.print(Text(f"\n{finding.check}:"))
            console.print(Text(finding.command), soft_wrap=True)
