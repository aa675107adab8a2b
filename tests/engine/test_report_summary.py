"""The summary by rendition and the plots: figures of a million jobs in memory that stays small."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ittybatch.engine.prices import Prices
from ittybatch.engine.reporting import plots_output, report_output, write_report
from ittybatch.engine.reports.forms import ReportFormat
from ittybatch.engine.reports.histogram import Histogram
from ittybatch.engine.reports.page import PlotFiles
from ittybatch.engine.reports.renditions import ALL
from ittybatch.engine.reports.tally import Tally
from ittybatch.engine.reports.timeline import MOST_BINS, Timeline
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.results import all_job_rows
from ittybatch.ledger.settlement import settle
from tests.engine.reports import mixed_batch, settled_batch, succeeded
from tests.engine.reports import output as made
from tests.ledger import library

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """One database is enough where the ledger has no part in it."""
    opened = Ledger(create_ledger_engine(sqlite_url))
    yield opened
    opened.close()


def histogram_of(values: list[float]) -> Histogram:
    found = Histogram()
    for value in values:
        found.add(value)
    return found


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_at_most_one_percent_off(values: list[float], share: float) -> None:
    """Whatever the values are; the mean and the extremes are exact."""
    found = histogram_of(values)
    rank = max(1, -(-share * len(values) // 1))
    exact = sorted(values)[int(rank) - 1]
    assert found.quantile(share) == pytest.approx(exact, rel=0.0101)
    assert found.mean == pytest.approx(sum(values) / len(values))
    assert (found.smallest, found.largest) == (min(values), max(values))
    assert sum(count for _, _, count in found.bars(40)) == len(values)


def test_halves_of_a_histogram_make_the_whole() -> None:
    """So the row of all renditions is that of all jobs."""
    values = [1.0, 5.0, 60.0, 0.0]
    whole, half = histogram_of(values), histogram_of(values[:2])
    half.merge(histogram_of(values[2:]))
    assert half == whole
    assert (Histogram().mean, Histogram().quantile(0.95)) == (None, None)


def test_memory_does_not_grow_with_the_number_of_jobs() -> None:
    """Buckets and bins are limited, not jobs."""
    chance = random.Random(1)
    times, ends = Histogram(), Timeline()
    for _ in range(50_000):
        times.add(chance.lognormvariate(3, 3))
        ends.add(NOON + timedelta(seconds=chance.uniform(0, 3e6)), succeeded=True)
    assert len(times.buckets) < 1500
    bins = list(ends.bins())
    assert len(bins) <= MOST_BINS
    assert sum(good for _, good, _ in bins) == 50_000


def test_a_timeline_counts_each_end_in_its_bin() -> None:
    """Also one that comes before the first, and across the doubling of bins."""
    ends = Timeline()
    for seconds, good in ((600, True), (0, False), (601, True), (100_000, True)):
        ends.add(NOON + timedelta(seconds=seconds), succeeded=good)
    found = [(begins, good, bad) for begins, good, bad in ends.bins() if good or bad]
    assert [(good, bad) for _, good, bad in found] == [(0, 1), (2, 0), (1, 0)]
    width = timedelta(seconds=ends.width_s)
    assert found[0][0] <= NOON < found[0][0] + width


def test_a_rendition_is_summarised(ledger: Ledger) -> None:
    """What is unknown is missing: the size of a job without an output, the cost without a rate."""
    batch = mixed_batch(ledger)
    tally = Tally(Prices(by_kind={"video": 0.5}))
    tally.add(all_job_rows(ledger, batch))
    [sd] = tally.summary
    assert (sd.rendition, sd.jobs, sd.succeeded, sd.failed) == ("sd", 3, 1, 1)
    assert (sd.input_bytes, sd.output_bytes, sd.saved_bytes) == (100, 1000, -900)
    assert sd.cost == 1.5
    assert sd.mean_s == sd.longest_s == 0.0
    assert sd.cells()[-1] == "1.50"
    unpriced = Tally()
    unpriced.add(all_job_rows(ledger, batch))
    assert unpriced.summary[0].cost is None
    assert Tally().summary == []


def test_several_renditions_have_a_row_of_all(ledger: Ledger) -> None:
    """No rendition can have its name. Each submission costs, also that of a retry."""
    jobs = [library.job("a.mov"), library.job("a.mov", rendition="hd"), library.job("b.mov")]
    chunk, _ = library.submitted(ledger, *jobs)
    told = [succeeded("task-0", made("https://c.test/1", size_bytes=40)), library.failed("task-1")]
    ledger.write(settle, told)
    batch = library.place(ledger, chunk).batch_id
    tally = Tally(Prices(per_job=2.0))
    tally.add(all_job_rows(ledger, batch))
    hd, sd, every = tally.summary
    assert [each.rendition for each in (hd, sd, every)] == ["hd", "sd", ALL]
    assert (hd.cost, sd.cost, every.cost) == (2.0, 4.0, 6.0)
    assert (every.jobs, every.succeeded, every.saved_bytes) == (3, 1, 60)


def test_plots_are_svg_files_and_in_the_page(ledger: Ledger, tmp_path: Path) -> None:
    """Each bar says what it is; a name in it does nothing."""
    name = '"><script>alert(1)</script>\x1b'
    batch = settled_batch(ledger, {"a.mov": made("https://c.test/1")}, rendition=name)
    page = tmp_path / "report.html"
    files = PlotFiles(str(tmp_path / "plots"))
    outputs = [
        plots_output(files, str(tmp_path / "plots")),
        report_output(ledger, batch, ReportFormat.HTML, str(page)),
    ]
    write_report(ledger, batch, outputs)
    names = [Path(place).name for place in files.written]
    assert names == ["durations.svg", "throughput.svg", "sizes.svg"]
    for place in files.written:
        drawn = ET.parse(place).getroot()
        assert drawn.tag == f"{NAMESPACE}svg"
        assert drawn.findall(f".//{NAMESPACE}script") == []
        bars = [each for each in drawn.iter(f"{NAMESPACE}rect") if len(each)]
        assert bars
        assert all("1 job" in str(bar[0].text) or "1 succeeded" in str(bar[0].text) for bar in bars)
    text = page.read_text()
    assert text.count('<svg xmlns="http://www.w3.org/2000/svg" class="plot"') == 3
    assert "<script" not in text


def test_failures_are_drawn_where_there_are_some_and_nothing_where_nothing_ended(
    ledger: Ledger, tmp_path: Path
) -> None:
    """A plot without a figure would only take space."""
    for batch, expected in (
        (mixed_batch(ledger), {"durations", "throughput", "failures", "sizes"}),
        (library.planned_batch(ledger, library.job("z.mov")), set()),
    ):
        files = PlotFiles(str(tmp_path / batch))
        write_report(ledger, batch, [plots_output(files, "plots")])
        assert {Path(place).stem for place in files.written} == expected
