"""The report as one HTML page: outputs, times, sizes and failures.

The page has no scripts. It loads only images, which are outputs of the batch. Its template is
`templates/report.html`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ittybatch.engine.advice import advise, outlook
from ittybatch.engine.amounts import format_bytes, format_duration
from ittybatch.engine.reports.checks import CHECK_TEXTS
from ittybatch.engine.reports.entries import FAILED_STATES, counts_of
from ittybatch.engine.reports.places import whole, within
from ittybatch.engine.reports.plots import WIDTH, Plot, plots_of
from ittybatch.engine.reports.renditions import SUMMARY_TITLES
from ittybatch.engine.reports.tally import Tally
from ittybatch.ittybit.options import Kind
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.results import Result
from ittybatch.ledger.states import JobState
from ittybatch.profiles import Item

MOST_PICTURES = 60
MOST_FAILED = 100
MOST_OUTPUTS = 1000
_PICTURES = {Kind.IMAGE.value, Kind.ANIMATION.value}
_REPLACEMENT = "\ufffd"


class PageReport:
    """The HTML report. For a large batch, it lists the first jobs and gives the total number.

    Args:
        stream: Where to write the page.
        status: The batch.
        reasons: Failures by state and reason, the most frequent first.
        only_failures: Whether to omit the list of outputs.
    """

    def __init__(
        self,
        stream: IO[bytes],
        status: BatchStatus,
        reasons: Sequence[Mapping[str, Any]],
        *,
        only_failures: bool = False,
    ) -> None:
        self._stream = stream
        self._status = status
        self._reasons = reasons
        self._only_failures = only_failures
        self._pictures: list[Result] = []
        self._outputs: list[Result] = []
        self._failed: list[Result] = []
        self._picture_count = 0
        self._output_count = 0

    def add(self, rows: Sequence[Result]) -> None:
        """Keep the first pictures, outputs and failures."""
        for row in rows:
            if row.state in FAILED_STATES:
                _keep(self._failed, row, MOST_FAILED)
            elif row.state is JobState.SUCCEEDED:
                self._output_count += 1
                _keep(self._outputs, row, MOST_OUTPUTS)
                if row.kind in _PICTURES:
                    self._picture_count += 1
                    if is_web_address(row.output_url):
                        _keep(self._pictures, row, MOST_PICTURES)

    def end(self, tally: Tally) -> None:
        """Write the page."""
        status = self._status
        page = ENVIRONMENT.get_template("report.html").render(
            status=status,
            source=shown_uri(status.source.get("uri", status.source.get("batch", ""))),
            tiles=list(_tiles(status, tally)),
            reasons=self._reasons,
            advice=advise(status.id, self._reasons),
            failed=self._failed,
            failed_count=sum(status.counts[state.value] for state in FAILED_STATES),
            tally=tally,
            summary=tally.summary,
            plots=plots_of(tally),
            outputs_wanted=not self._only_failures,
            outputs=self._outputs,
            output_count=self._output_count,
            pictures=self._pictures,
            picture_count=self._picture_count,
            now=datetime.now(UTC),
        )
        self._stream.write(page.encode())


class PlotFiles:
    """The plots as SVG files, written once everything is counted.

    Args:
        folder: A folder, or `s3://bucket/prefix/`.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.written: list[str] = []

    def add(self, rows: Sequence[Result]) -> None:
        """Write nothing: plots are of all jobs."""

    def end(self, tally: Tally) -> None:
        """Write the plots that the batch has figures for."""
        for plot in plots_of(tally):
            place = within(self._folder, f"{plot.name}.svg")
            with whole(place) as stream:
                stream.write(draw(plot).encode())
            self.written.append(place)


def draw(plot: Plot) -> str:
    """Return a plot as an SVG document."""
    return ENVIRONMENT.get_template("plot.svg").render(plot=plot, width=WIDTH)


def visible(value: object) -> object:
    """Replace invisible characters, for example one that reverses the direction of the text."""
    if value is None or isinstance(value, Markup):
        return value or ""
    return "".join(
        character if character.isprintable() else " " if character.isspace() else _REPLACEMENT
        for character in str(value)
    )


def is_web_address(url: str | None) -> bool:
    """Check whether a URL is safe to link: only http and https are, never `javascript:`."""
    if not url or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def shown_uri(uri: object) -> str:
    """Return a URI without its password and without its query, which may contain a signature."""
    return Item(str(uri)).shown


def item_name(uri: str) -> str:
    """Return the key of an S3 object or the path of a URL, or else the whole URI."""
    item = Item(uri)
    return item.key or item.shown


def _keep(rows: list[Result], row: Result, most: int) -> None:
    if len(rows) < most:
        rows.append(row)


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _tiles(status: BatchStatus, tally: Tally) -> Iterator[tuple[str, str, str]]:
    """Yield the figures at the top of the page, each as label, value and CSS class."""
    counts = counts_of(status)
    yield "Items", f"{counts['items']:,}", ""
    yield "Jobs", f"{counts['jobs']:,}", ""
    yield "Succeeded", f"{counts['succeeded']:,}", "good"
    for state in FAILED_STATES:
        if counts[state.value]:
            yield state.value.capitalize(), f"{counts[state.value]:,}", "bad"
    if counts["skipped"]:
        yield "Skipped", f"{counts['skipped']:,}", ""
    if status.ended_at is not None:
        took_s = (status.ended_at - status.created_at).total_seconds()
        yield "Took", format_duration(max(0.0, took_s)), ""
    if media_s := sum(each.media_s for each in tally.renditions.values()):
        yield "Media produced", format_duration(media_s), ""


ENVIRONMENT = Environment(
    loader=PackageLoader("ittybatch.engine.reports"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=visible,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
ENVIRONMENT.filters.update(
    bytes=format_bytes,
    duration=format_duration,
    item_name=item_name,
    shown_uri=shown_uri,
    utc=_utc,
)
ENVIRONMENT.tests["web_address"] = is_web_address
ENVIRONMENT.globals.update(
    outlook=outlook, check_texts=CHECK_TEXTS, summary_titles=SUMMARY_TITLES, plot_width=WIDTH
)
