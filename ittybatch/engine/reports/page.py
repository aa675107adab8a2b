"""The report as one short HTML page: what came out, how long it took, what it saved, what failed.

It holds no script and loads nothing but pictures; those are the outputs themselves.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

from ittybatch.engine.advice import advise, outlook
from ittybatch.engine.amounts import format_bytes, format_duration
from ittybatch.engine.reports.entries import FAILED_STATES, counts_of
from ittybatch.engine.reports.html import link, shown, table, web_address
from ittybatch.engine.reports.tally import Tally
from ittybatch.ittybit.options import Kind
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.results import Result
from ittybatch.ledger.states import JobState
from ittybatch.profiles import Item

MOST_PICTURES = 60
MOST_FAILED = 100
_PICTURES = {Kind.IMAGE.value, Kind.ANIMATION.value}
_CHECKS = {
    "ok": "there, as told",
    "missing": "not there",
    "wrong_size": "of another size",
    "wrong_format": "of another format",
    "unknown": "could not be looked at",
}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --bad: #c0392b; --good: #1e8e5a; }
* { box-sizing: border-box; }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; overflow-wrap: anywhere; }
code { font: .9em ui-monospace, monospace; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; padding: 0; }
.tiles li { list-style: none; padding: .6rem 1rem; border: 1px solid var(--line);
  border-radius: .5rem; min-width: 7rem; }
.tiles b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.bad b, .bad { color: var(--bad); } .good b { color: var(--good); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; white-space: nowrap; }
.short { white-space: nowrap; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .8rem; overflow-wrap: anywhere; }
figure img { width: 100%; height: 8rem; object-fit: contain; background: var(--soft);
  border-radius: .4rem; }
footer { margin-top: 2.5rem; font-size: .85rem; opacity: .8; }
"""
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src http: https:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'">
<title>{title}</title><style>{style}</style></head><body>
"""  # noqa: E501  one attribute
_FOOT = """<footer>Every job: <code>ittybatch report {batch} --format csv</code>, or json, or
parquet. Written {now:%Y-%m-%d %H:%M} UTC.</footer>
</body></html>
"""


class PageReport:
    """The report as a page. Of many jobs it shows some, and says of how many.

    Args:
        stream: Where the page goes.
        status: The batch.
        reasons: Failures by state and reason, the most frequent first.
        only_failures: Whether outputs are left out.
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
        self._picture_count = 0
        self._failed: list[Result] = []

    def add(self, rows: Sequence[Result]) -> None:
        """Remember the first pictures and failures of these."""
        for row in rows:
            if row.state in FAILED_STATES:
                if len(self._failed) < MOST_FAILED:
                    self._failed.append(row)
            elif row.kind in _PICTURES and row.state is JobState.SUCCEEDED:
                self._picture_count += 1
                if len(self._pictures) < MOST_PICTURES and web_address(row.output_url):
                    self._pictures.append(row)

    def end(self, tally: Tally) -> None:
        """Write the page."""
        status = self._status
        title = f"Batch {status.name}: {status.state.value.replace('_', ' ')}"
        parts = [
            _HEAD.format(title=shown(title), style=_STYLE),
            _header(title, status),
            _tiles(status, tally),
            self._failures(),
            _checks(tally),
        ]
        if not self._only_failures:
            parts += [_renditions(tally), self._gallery()]
        parts += [_slowest(tally), _FOOT.format(batch=shown(status.id), now=datetime.now(UTC))]
        self._stream.write("\n".join(part for part in parts if part).encode())

    def _failures(self) -> str:
        if not self._reasons:
            return ""
        reasons = table(
            ("Jobs>", "Status", "Again?", "Reason", "Example"),
            [
                (
                    f"{reason['jobs']:,}",
                    shown(reason["state"]),
                    shown(outlook(reason).value),
                    shown(reason["error_message"] or reason["error_kind"] or "no reason given"),
                    shown(Item(str(reason["example"])).shown),
                )
                for reason in self._reasons
            ],
        )
        failed = table(
            ("Item", "Rendition", "Status", "Attempts>", "Reason"),
            [
                (
                    shown(_name(row)),
                    shown(row.rendition),
                    shown(row.state.value),
                    str(row.attempts),
                    shown(row.error_message or row.error_kind or ""),
                )
                for row in self._failed
            ],
        )
        advice = "".join(f"<p>{shown(each)}</p>" for each in advise(self._status.id, self._reasons))
        whole = sum(self._status.counts[state.value] for state in FAILED_STATES)
        told = _of(len(self._failed), whole)
        return f"<h2>Failures by reason</h2>{reasons}<h2>Failed jobs{told}</h2>{failed}{advice}"

    def _gallery(self) -> str:
        if not self._pictures:
            return ""
        told = _of(len(self._pictures), self._picture_count)
        figures = "".join(map(_figure, self._pictures))
        return f'<h2>Pictures{told}</h2><div class="gallery">{figures}</div>'


def _header(title: str, status: BatchStatus) -> str:
    source = Item(str(status.source.get("uri", status.source.get("batch", "")))).shown
    why = f'<p class="bad">{shown(status.reason)}</p>' if status.reason else ""
    return (
        f"<h1>{shown(title)}</h1>"
        f"<p><code>{shown(status.id)}</code>, profile <b>{shown(status.profile)}</b>, "
        f"source <code>{shown(source)}</code></p>{why}"
    )


def _tiles(status: BatchStatus, tally: Tally) -> str:
    counts = counts_of(status)
    tiles = [("Items", f"{counts['items']:,}", ""), ("Jobs", f"{counts['jobs']:,}", "")]
    tiles.append(("Succeeded", f"{counts['succeeded']:,}", "good"))
    tiles += [
        (state.value.capitalize(), f"{counts[state.value]:,}", "bad")
        for state in FAILED_STATES
        if counts[state.value]
    ]
    if counts["skipped"]:
        tiles.append(("Skipped", f"{counts['skipped']:,}", ""))
    if status.ended_at is not None:
        took_s = (status.ended_at - status.created_at).total_seconds()
        tiles.append(("Took", format_duration(max(0.0, took_s)), ""))
    if media_s := sum(each.media_s for each in tally.renditions.values()):
        tiles.append(("Playing time made", format_duration(media_s), ""))
    items = "".join(
        f'<li class="{look}">{shown(title)}<b>{shown(figure)}</b></li>'
        for title, figure, look in tiles
    )
    return f'<ul class="tiles">{items}</ul>'


def _renditions(tally: Tally) -> str:
    if not tally.renditions:
        return ""
    head = ("Rendition", "Jobs>", "Succeeded>", "Average time>", "Longest>")
    rows = [
        (
            shown(name),
            f"{each.jobs:,}",
            f"{each.succeeded:,}",
            format_duration(each.average_s),
            format_duration(each.longest_s if each.timed else None),
            format_bytes(each.input_bytes) if each.sized else "",
            format_bytes(each.output_bytes) if each.sized else "",
            each.saved,
        )
        for name, each in sorted(tally.renditions.items())
    ]
    return "<h2>Renditions</h2>" + table((*head, "Inputs>", "Outputs>", "Saved>"), rows)


def _checks(tally: Tally) -> str:
    if not tally.checks:
        return ""
    rows = [
        (shown(_CHECKS.get(check, check)), f"{count:,}")
        for check, count in tally.checks.most_common()
    ]
    return "<h2>Outputs that were looked at</h2>" + table(("Outputs", "Count>"), rows)


def _slowest(tally: Tally) -> str:
    if not tally.slowest:
        return ""
    rows = [
        (
            format_duration(seconds),
            shown(_name(row)),
            shown(row.rendition),
            shown(row.state.value),
            link(row.output_url, "output") if row.state is JobState.SUCCEEDED else "",
        )
        for seconds, row in tally.slowest
    ]
    head = ("Time>", "Item", "Rendition", "Status", "Output")
    return "<h2>What took longest, from submission to end</h2>" + table(head, rows)


def _figure(row: Result) -> str:
    address = web_address(row.output_url)
    pixels = f"{row.width}x{row.height}" if row.width else ""
    told = ", ".join(part for part in (row.rendition, pixels, format_bytes(row.size_bytes)) if part)
    name = shown(_name(row))
    return (
        f'<figure><a href="{address}" rel="noopener noreferrer" target="_blank">'
        f'<img src="{address}" alt="{name}" loading="lazy" decoding="async"></a>'
        f"<figcaption>{name}<br>{shown(told)}</figcaption></figure>"
    )


def _name(row: Result) -> str:
    """The item's file, or its address without what may sign it."""
    item = Item(row.input)
    return item.key or item.shown


def _of(some: int, whole: int) -> str:
    return f": the first {some:,} of {whole:,}" if some < whole else ""
