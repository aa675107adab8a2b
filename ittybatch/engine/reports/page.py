"""The report as one HTML page: outputs, times, sizes and failures.

The page has no script and loads nothing but pictures, which are the outputs themselves. Its
template is `templates/report.html`.
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
    """The HTML report. It lists the first jobs of a large batch, and says how many there are.

    Args:
        stream: Where to write the page.
        status: The batch.
        reasons: Failures by state and reason, the most frequent first.
        only_failures: Whether to leave out outputs.
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
            outputs_wanted=not self._only_failures,
            outputs=self._outputs,
            output_count=self._output_count,
            pictures=self._pictures,
            picture_count=self._picture_count,
            now=datetime.now(UTC),
        )
        self._stream.write(page.encode())


def visible(value: object) -> object:
    """Replace invisible characters in a value, such as a control that reverses the text."""
    if value is None or isinstance(value, Markup):
        return value or ""
    return "".join(
        character if character.isprintable() else " " if character.isspace() else _REPLACEMENT
        for character in str(value)
    )


def is_web_address(url: str | None) -> bool:
    """Say whether a URL may be linked: http or https, and nothing like `javascript:`."""
    if not url or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def shown_uri(uri: object) -> str:
    """A URI without its password and its query, which may hold a signature."""
    return Item(str(uri)).shown


def item_name(uri: str) -> str:
    """The key of an S3 object or the path of a URL; the URI if it has none."""
    item = Item(uri)
    return item.key or item.shown


def _keep(rows: list[Result], row: Result, most: int) -> None:
    if len(rows) < most:
        rows.append(row)


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _tiles(status: BatchStatus, tally: Tally) -> Iterator[tuple[str, str, str]]:
    """The figures at the top: a label, a figure, and a class."""
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
ENVIRONMENT.globals.update(outlook=outlook, check_texts=CHECK_TEXTS)
