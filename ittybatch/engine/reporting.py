"""Write the completion report: one pass over a batch's jobs writes all formats."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, ParamSpec, Self

from ittybatch.engine.prices import prices_of
from ittybatch.engine.reports.checks import OutputChecks
from ittybatch.engine.reports.durations import DurationLookup
from ittybatch.engine.reports.dynamodb import open_table
from ittybatch.engine.reports.entries import FAILED_STATES
from ittybatch.engine.reports.failures import failure_rows, read_failures
from ittybatch.engine.reports.forms import (
    CsvReport,
    JsonReport,
    ReportForm,
    ReportFormat,
)
from ittybatch.engine.reports.page import PageReport, PlotFiles
from ittybatch.engine.reports.places import NotWritten, whole, within
from ittybatch.engine.reports.rejects import rejected_rows, write_rejects_to
from ittybatch.engine.reports.tally import Tally
from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import batch_status
from ittybatch.ledger.results import Result, failure_reasons, result_pages
from ittybatch.settings import Settings
from ittybatch.sources.origins import require_allowed
from ittybatch.sources.s3 import SCHEME

P = ParamSpec("P")

# Written beside the ledger for every batch.
_AT_HOME = (ReportFormat.JSON, ReportFormat.CSV, ReportFormat.HTML)
# A workbook of a large batch takes minutes: it is written only on request.
_COPIES = (*_AT_HOME, ReportFormat.PARQUET)
_ADD_UP = {ReportFormat.HTML, ReportFormat.XLSX}


@dataclass(frozen=True, slots=True)
class Output:
    """One file, object or table that a report is written to.

    Args:
        name: Where it is written, for error messages.
        opened: Context that yields the report to write to. Its exit completes the report, or
            discards it after an error.
        only_failures: Whether it lists only jobs that did not succeed.
        may_fail: Whether to write the other outputs even if this one fails.
        adds_up: Whether it shows totals of all jobs, including those that succeeded.
    """

    name: str
    opened: AbstractContextManager[ReportForm]
    only_failures: bool = False
    may_fail: bool = False
    adds_up: bool = False


@dataclass(slots=True)
class Written:
    """The result of writing a report.

    Args:
        tally: Totals of the jobs.
        places: Paths or URIs of the files, by format.
        failures: A message for each output that may fail and was not written.
    """

    tally: Tally = field(default_factory=Tally)
    places: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def report_output(
    ledger: Ledger,
    batch: str,
    form: ReportFormat,
    place: str | IO[bytes],
    *,
    only_failures: bool = False,
    may_fail: bool = False,
) -> Output:
    """Describe a report to a path, to `s3://bucket/key`, or to a stream that stays open."""
    opened = _opened(ledger, batch, form, place, only_failures=only_failures)
    name = place if isinstance(place, str) else form.value
    return Output(name, opened, only_failures, may_fail, adds_up=form in _ADD_UP)


def table_output(table: str, batch: str) -> Output:
    """Describe a DynamoDB table that receives each ended job as an item."""
    return Output(table, open_table(table, batch))


def plots_output(files: PlotFiles, folder: str) -> Output:
    """Describe the plots of all jobs, as SVG files in a folder or below an S3 prefix."""
    return Output(folder, nullcontext(files), adds_up=True)


def write_report(
    ledger: Ledger,
    batch: str,
    outputs: Sequence[Output],
    *,
    check_outputs: bool = False,
    settings: Settings | None = None,
    kind_costs: Mapping[str, float] | None = None,
) -> Written:
    """Read a batch's jobs once, page by page, and write all outputs.

    Args:
        ledger: The ledger that has the batch.
        batch: The batch's id.
        outputs: The outputs to write.
        check_outputs: Whether to check each job's output.
        settings: Used to request the durations of inputs from Ittybit, which the checks compare
            with those of outputs; None for no comparison.
        kind_costs: The cost of a job by kind, for the summary.

    Raises:
        NotWritten: A required report could not be written; an existing file is unchanged.
        TableUnavailable: A required table could not be written to.
    """
    written = Written(Tally(prices_of(ledger, batch, kind_costs or {})))
    needs_all = check_outputs or any(
        output.adds_up or not output.only_failures for output in outputs
    )
    with ExitStack() as stack:
        durations = DurationLookup(settings) if settings else None
        checks = stack.enter_context(OutputChecks(durations)) if check_outputs else None
        writings = [stack.enter_context(_Writing(output)) for output in outputs]
        for read in result_pages(ledger, batch, states=() if needs_all else FAILED_STATES):
            rows = checks.check(read) if checks else read
            written.tally.add(rows)
            for writing in writings:
                writing.add(rows)
        for writing in writings:
            writing.end(written.tally)
    written.failures = [writing.failure for writing in writings if writing.failure]
    return written


def write_files(
    ledger: Ledger,
    batch: str,
    folder: Path,
    *,
    copies_to: str | None = None,
    only_failures: bool = False,
    check_outputs: bool = False,
    settings: Settings | None = None,
) -> Written:
    """Write the report files of a batch that has ended.

    Args:
        ledger: The ledger that has the batch.
        batch: The batch's id.
        folder: Folder for `report.json`, `report.csv`, `report.html` and, if rows were rejected,
            `rejects.csv`. Only these files are required; other outputs may fail.
        copies_to: Folder or `s3://bucket/prefix/`. A subfolder for the batch receives copies and
            `report.parquet`.
        only_failures: Whether the copies list only jobs that did not succeed.
        check_outputs: Whether to check each job's output.
        settings: As in `write_report`, and the costs of kinds.

    Raises:
        NotWritten: A file in the folder could not be written.
    """
    here = {form: str(folder / f"report.{form}") for form in _AT_HOME}
    outputs = [report_output(ledger, batch, form, place) for form, place in here.items()]
    copies = within(copies_to, batch) if copies_to else None
    refused = _refused(copies)
    if refused:
        copies = None
    if copies:
        outputs += [
            report_output(
                ledger,
                batch,
                form,
                within(copies, f"report.{form}"),
                only_failures=only_failures,
                may_fail=True,
            )
            for form in _COPIES
        ]
    written = write_report(
        ledger,
        batch,
        outputs,
        check_outputs=check_outputs,
        settings=settings,
        kind_costs=settings.kind_costs if settings else None,
    )
    written.failures += refused
    written.places = {form.value: place for form, place in here.items()}
    if rejects := write_rejects_to(ledger, batch, str(folder / "rejects.csv")):
        written.places["rejects"] = rejects
    if copies:
        written.places["copies"] = copies
        try:
            write_rejects_to(ledger, batch, within(copies, "rejects.csv"))
        except NotWritten as error:
            written.failures.append(str(error))
    return written


def _refused(copies: str | None) -> list[str]:
    """Explain why copies may not be written to a folder; empty if they may."""
    if copies is None or copies.startswith(SCHEME):
        return []
    try:
        require_allowed(Path(copies))
    except ConfigurationError as error:
        return [f"Copies of the report were not written: {error}"]
    return []


@contextmanager
def _opened(
    ledger: Ledger, batch: str, form: ReportFormat, place: str | IO[bytes], *, only_failures: bool
) -> Iterator[ReportForm]:
    status = ledger.read(batch_status, batch)
    with whole(place) if isinstance(place, str) else nullcontext(place) as stream:
        match form:
            case ReportFormat.JSON:
                yield JsonReport(stream, status)
            case ReportFormat.CSV:
                yield CsvReport(stream, for_excel=isinstance(place, str))
            case ReportFormat.PARQUET:
                from ittybatch.engine.reports.parquet import ParquetReport  # noqa: PLC0415

                yield ParquetReport(stream)
            case ReportFormat.HTML:
                reasons = ledger.read(failure_reasons, batch)
                yield PageReport(stream, status, reasons, only_failures=only_failures)
            case ReportFormat.XLSX:
                # openpyxl is slow to import, and only whoever asks for a workbook needs it.
                from ittybatch.engine.reports.workbook import WorkbookReport  # noqa: PLC0415

                every_reason = failure_rows(read_failures(ledger, batch))
                rejects = rejected_rows(ledger, batch)
                book = WorkbookReport(
                    stream, status, every_reason, rejects, only_failures=only_failures
                )
                try:
                    yield book
                finally:
                    book.discard()


class _Writing:
    """An output that is being written. If it may fail, its failure does not stop the others."""

    def __init__(self, output: Output) -> None:
        self.failure: str | None = None
        self._output = output
        self._form: ReportForm | None = None

    def __enter__(self) -> Self:
        self._guarded(self._open)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._form is not None:
            self._form = None
            self._output.opened.__exit__(kind, error, trace)

    def add(self, rows: Sequence[Result]) -> None:
        """Write these jobs."""
        if self._output.only_failures and not self._output.adds_up:
            rows = [row for row in rows if row.state in FAILED_STATES]
        if self._form is not None and rows:
            self._guarded(self._form.add, rows)

    def end(self, tally: Tally) -> None:
        """Complete the output."""
        if self._form is not None:
            self._guarded(self._form.end, tally)
        if self._form is not None:
            self._form = None
            self._guarded(self._output.opened.__exit__, None, None, None)

    def _open(self) -> None:
        self._form = self._output.opened.__enter__()

    def _guarded(self, step: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(*args, **kwargs)
        except Exception as error:
            if not self._output.may_fail:
                raise
            self.failure = self._undo(error)

    def _undo(self, error: Exception) -> str:
        """Close the output with its error, and return the message, which closing may replace."""
        try:
            self.__exit__(type(error), error, error.__traceback__)
        except Exception as better:  # noqa: BLE001  any error ends only this output
            error = better
        if isinstance(error, IttybatchError):
            return str(error)
        return f"{self._output.name} was not written: {type(error).__name__}: {error}"
