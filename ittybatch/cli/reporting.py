"""The command that writes a batch's report."""

import sys
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from ittybatch.cli.output import Batch, console, errors
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.reporting import (
    Written,
    plots_output,
    report_output,
    table_output,
    write_report,
)
from ittybatch.engine.reports.forms import ReportFormat, form_of
from ittybatch.engine.reports.page import PlotFiles
from ittybatch.ledger import open_ledger
from ittybatch.ledger.queries import find_batch
from ittybatch.settings import Settings


def report(
    batch: Batch,
    *,
    format: Annotated[  # noqa: A002  the option's name
        ReportFormat | None,
        Parameter(
            help="csv, json, parquet, html or xlsx. Default: the suffix of the output, or json."
        ),
    ] = None,
    output: Annotated[
        str | None,
        Parameter(
            alias="-o",
            help="A path or s3://bucket/key to write to. Default: standard output.",
        ),
    ] = None,
    only_failures: Annotated[
        bool, Parameter(negative="", help="Only jobs that did not succeed.")
    ] = False,
    check_outputs: Annotated[
        bool,
        Parameter(
            negative="",
            help="First check that each output exists and has the right size and format.",
        ),
    ] = False,
    dynamodb: Annotated[
        str | None,
        Parameter(help="Also write jobs to this DynamoDB table; without `--output`, only there."),
    ] = None,
    plots: Annotated[
        str | None,
        Parameter(
            help="Also draw durations, throughput, failures and sizes as .svg files in this folder "
            "or s3://bucket/prefix/; without `--output`, only these."
        ),
    ] = None,
) -> int:
    """Write a batch's completion report."""
    form = form_of(output, format)
    settings = Settings()
    ledger = open_ledger(settings)
    found = ledger.read(find_batch, batch)
    outputs = [table_output(dynamodb, found)] if dynamodb else []
    drawn = PlotFiles(plots) if plots else None
    if plots and drawn is not None:
        outputs.append(plots_output(drawn, plots))
    if output is None and form in {ReportFormat.PARQUET, ReportFormat.XLSX}:
        output = f"{found}.{form.value}"
    printed = output is None and (format is not None or not outputs)
    if output is not None or printed:
        place = sys.stdout.buffer if output is None else output
        outputs.append(report_output(ledger, found, form, place, only_failures=only_failures))
    written = write_report(
        ledger,
        found,
        outputs,
        check_outputs=check_outputs,
        kind_costs=settings.kind_costs,
    )
    sys.stdout.buffer.flush()
    # Standard output may be a pipe, which must contain only the report.
    to = errors if printed else console
    _print_written(written, output, dynamodb, to=to)
    if drawn is not None:
        _print_plots(drawn, found, to=to)
    return SUCCEEDED


def _print_plots(drawn: PlotFiles, batch: str, *, to: Console) -> None:
    for place in drawn.written:
        to.print(f"Wrote {place}.", markup=False)
    if not drawn.written:
        to.print(f"Nothing to plot: no job of batch {batch} has ended.", markup=False)


def _print_written(written: Written, output: str | None, table: str | None, *, to: Console) -> None:
    if output:
        to.print(f"Wrote {output}.", markup=False)
    if table:
        to.print(f"Wrote the jobs to the DynamoDB table {table}.", markup=False)
    if written.tally.checks:
        counts = ", ".join(f"{count:,} {check}" for check, count in written.tally.checks.items())
        to.print(f"Outputs looked at: {counts}.", markup=False)
