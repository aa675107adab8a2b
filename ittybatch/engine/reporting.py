"""The completion report: one pass over a batch's jobs, written in every form at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, ParamSpec, Self

from ittybatch.engine.reports.checks import OutputChecks
from ittybatch.engine.reports.dynamodb import open_table
from ittybatch.engine.reports.entries import FAILED_STATES
from ittybatch.engine.reports.forms import (
    CsvReport,
    JsonReport,
    ParquetReport,
    ReportForm,
    ReportFormat,
)
from ittybatch.engine.reports.page import PageReport
from ittybatch.engine.reports.places import NotWritten, whole, within
from ittybatch.engine.reports.rejects import write_rejects_to
from ittybatch.engine.reports.tally import Tally
from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import batch_status
from ittybatch.ledger.results import Result, failure_reasons, result_pages
from ittybatch.sources.places import require_allowed
from ittybatch.sources.s3 import SCHEME

P = ParamSpec("P")

# What lies beside the ledger; Parquet is for whoever asks for it.
_AT_HOME = (ReportFormat.JSON, ReportFormat.CSV, ReportFormat.HTML)


@dataclass(frozen=True, slots=True)
class Output:
    """One thing that a report is written as.

    Args:
        name: What it is called where it fails: its place.
        opened: Gives what takes the jobs; leaving it makes the report whole, or takes it back.
        only_failures: Whether it is told only of jobs that did not succeed.
        may_fail: Whether the others are written all the same where this one cannot be.
        adds_up: Whether it tells what all jobs add up to, the succeeded ones too.
    """

    name: str
    opened: AbstractContextManager[ReportForm]
    only_failures: bool = False
    may_fail: bool = False
    adds_up: bool = False


@dataclass(slots=True)
class Written:
    """What became of a report.

    Args:
        tally: What the jobs add up to.
        places: Where it was written to, by what it is.
        failures: Why something that may fail was not written.
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
    """A report at a path, at `s3://bucket/key`, or on a stream that stays open."""
    opened = _opened(ledger, batch, form, place, only_failures=only_failures)
    name = place if isinstance(place, str) else form.value
    return Output(name, opened, only_failures, may_fail, adds_up=form is ReportFormat.HTML)


def table_output(table: str, batch: str, *, may_fail: bool = False) -> Output:
    """Each job that has ended as an item of a DynamoDB table."""
    return Output(table, open_table(table, batch), may_fail=may_fail)


def write_report(
    ledger: Ledger, batch: str, outputs: Sequence[Output], *, check_outputs: bool = False
) -> Written:
    """Read a batch's jobs once, page by page, and write everything that is made of them.

    Args:
        ledger: Where the batch is.
        batch: Its id.
        outputs: What to write.
        check_outputs: Whether each job's output is looked at.

    Raises:
        NotWritten: A report that must not fail cannot be written; it is as it was before.
        TableUnavailable: The same of a table.
    """
    written = Written()
    needs_all = check_outputs or any(
        output.adds_up or not output.only_failures for output in outputs
    )
    with ExitStack() as stack:
        checks = stack.enter_context(OutputChecks()) if check_outputs else None
        writings = [stack.enter_context(_Writing(output)) for output in outputs]
        for read in result_pages(ledger, batch, states=() if needs_all else FAILED_STATES):
            rows = checks.look(read) if checks else read
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
    dynamodb_table: str | None = None,
) -> Written:
    """Write what a batch leaves behind at its end.

    Args:
        ledger: Where the batch is.
        batch: Its id.
        folder: Where `report.json`, `report.csv`, `report.html` and, if there were bad rows,
            `rejects.csv` go. Nothing but these must not fail.
        copies_to: Folder or `s3://bucket/prefix/` below which the batch gets a folder with the
            same and `report.parquet`.
        only_failures: Only jobs that did not succeed in the copies.
        check_outputs: Whether each job's output is looked at.
        dynamodb_table: Table that is told of each job.

    Raises:
        NotWritten: The folder cannot be written to.
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
            for form in ReportFormat
        ]
    if dynamodb_table:
        outputs.append(table_output(dynamodb_table, batch, may_fail=True))
    written = write_report(ledger, batch, outputs, check_outputs=check_outputs)
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
    """Why copies may not go to a folder; nothing where they may."""
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
                yield ParquetReport(stream)
            case ReportFormat.HTML:
                reasons = ledger.read(failure_reasons, batch)
                yield PageReport(stream, status, reasons, only_failures=only_failures)


class _Writing:
    """An output while it is written. Where it may fail, its failure ends it and nothing else."""

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
        """Tell it of these jobs."""
        if self._output.only_failures and not self._output.adds_up:
            rows = [row for row in rows if row.state in FAILED_STATES]
        if self._form is not None and rows:
            self._guarded(self._form.add, rows)

    def end(self, tally: Tally) -> None:
        """Make it whole."""
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
            self.failure = self._taken_back(error)

    def _taken_back(self, error: Exception) -> str:
        """Leave the output with its error, which may put it into better words."""
        try:
            self.__exit__(type(error), error, error.__traceback__)
        except Exception as told:  # noqa: BLE001  whatever it is, it ends nothing but this output
            error = told
        if isinstance(error, IttybatchError):
            return str(error)
        return f"{self._output.name} was not written: {type(error).__name__}: {error}"
