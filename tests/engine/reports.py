"""Batches whose jobs came to all sorts of ends, and their reports."""

import io
from dataclasses import replace
from typing import Any

from ittybatch.engine.reporting import Written, report_output, write_report
from ittybatch.engine.reports.forms import ReportFormat
from ittybatch.ittybit.job import Job, Output
from ittybatch.ledger import Ledger
from ittybatch.ledger.settlement import settle
from tests.ledger import library


def mixed_batch(ledger: Ledger) -> str:
    """One job that succeeded, one that failed, one in flight."""
    names = ("a.mov", "=cmd()|x.mov", "c.mov")
    chunk, _ = library.submitted(ledger, *map(library.job, names))
    bad = library.failed("task-1", "invalid_input", '=HYPERLINK("http://x")')
    ledger.write(settle, [library.remote("task-0"), bad])
    return library.place(ledger, chunk).batch_id


def settled_batch(ledger: Ledger, outputs: dict[str, Output], **changes: Any) -> str:  # noqa: ANN401
    """A batch with a job for each item, that succeeded with this output."""
    jobs = [library.job(name, **changes) for name in outputs]
    chunk, _ = library.submitted(ledger, *jobs)
    told = [succeeded(f"task-{number}", each) for number, each in enumerate(outputs.values())]
    ledger.write(settle, told)
    return library.place(ledger, chunk).batch_id


def succeeded(task: str, output: Output) -> Job:
    """What Ittybit says of a job that has made an output."""
    return replace(library.remote(task), outputs=(output,))


def output(url: str, file_format: str = "mp4", size_bytes: int | None = 1000) -> Output:
    """An output as Ittybit tells of it."""
    return Output(url, file_format, 854, 480, 12.5, size_bytes, {})


def written(
    ledger: Ledger, batch: str, form: ReportFormat, *, only_failures: bool = False
) -> bytes:
    """A report in one form."""
    stream = io.BytesIO()
    wish = report_output(ledger, batch, form, stream, only_failures=only_failures)
    write_report(ledger, batch, [wish])
    return stream.getvalue()


def checked(ledger: Ledger, batch: str) -> Written:
    """What a look at every output came to."""
    return write_report(ledger, batch, [], check_outputs=True)
