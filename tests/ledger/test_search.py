"""Search: any job is found, a page at a time, in bounded time."""

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.search import JobPage, JobSearch, search_jobs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import claim_due
from ittybatch.profiles import Item
from ittybatch.profiles.job import item_key, job_key
from tests.ledger import library

SIGNED = "https://cdn.test/clips/000001.mov?X-Sig=abc"
DIGITS = "9876543210"


def _search(
    ledger: Ledger,
    wanted: JobSearch,
    *,
    limit: int = 50,
    after: str | None = None,
    before: str | None = None,
) -> JobPage:
    return ledger.read(search_jobs, wanted, limit=limit, after=after, before=before)


def _names(page: JobPage) -> str:
    """The digits of the inputs, in their order."""
    return "".join(job.input.removeprefix("s3://media/")[:1] for job in page.jobs)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search ends where it looked at enough jobs, however slow the machine is."""
    monkeypatch.setattr("ittybatch.ledger.search._LOOK_S", 60)


@pytest.fixture
def batch(ledger: Ledger) -> str:
    """Ten jobs in chunks of three. Of the first chunk one has succeeded, one failed for good."""
    jobs = [library.job(f"{number}.mov", attempts=1) for number in range(10)]
    found = library.planned_batch(ledger, *jobs, chunk_size=3)
    chunk = library.released_chunk(ledger, found)
    library.accept(ledger, ledger.write(claim_due, chunk, 100))
    ended = [library.remote("task-0"), library.failed("task-1", "invalid_input", "no video")]
    ledger.write(settle, ended)
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9, 10, 11])
def test_pages_go_from_the_newest_to_the_oldest_and_back(
    ledger: Ledger, batch: str, limit: int
) -> None:
    """Each job is on one page, in both directions, wherever a chunk ends."""
    pages = [_search(ledger, JobSearch(batch), limit=limit)]
    while pages[-1].after:
        pages.append(_search(ledger, JobSearch(batch), limit=limit, after=pages[-1].after))
    assert "".join(map(_names, pages)) == DIGITS
    assert {len(page.jobs) for page in pages[:-1]} <= {limit}
    assert pages[0].before is None, "nothing is newer than the first page"
    back = [pages[-1]]
    while back[-1].before:
        back.append(_search(ledger, JobSearch(batch), limit=limit, before=back[-1].before))
    assert "".join(map(_names, reversed(back))) == DIGITS
    for page in back[1:]:
        onward = _search(ledger, JobSearch(batch), limit=limit, after=page.after)
        assert _names(onward) != _names(page)


def test_filters_can_be_combined(ledger: Ledger, batch: str) -> None:
    other = library.planned_batch(
        ledger, library.job("x.mov", rendition="poster", metadata={"show": 'the "end"'})
    )
    cases = [
        (JobSearch(), "x" + DIGITS),
        (JobSearch(batch), DIGITS),
        (JobSearch(batch, states=[JobState.SUCCEEDED]), "0"),
        (JobSearch(batch, states=[JobState.FAILED, JobState.EXPIRED]), "1"),
        (JobSearch(batch, states=[JobState.SUBMITTED, JobState.SUCCEEDED]), "20"),
        (JobSearch(states=[JobState.PLANNED], rendition="poster"), "x"),
        (JobSearch(rendition="sd", kind="image"), ""),
        (JobSearch(rendition="sd", text="MEDIA/7"), "7"),
        (JobSearch(text="media/_"), ""),
        (JobSearch(metadata="show=pilot", text="media/3"), "3"),
        (JobSearch(metadata='the "end"'), "x"),
        (JobSearch(metadata='show = the "end"'), "x"),
        (JobSearch("no such batch"), ""),
    ]
    for wanted, expected in cases:
        assert _names(_search(ledger, wanted)) == expected, wanted
    [found] = _search(ledger, JobSearch(other)).jobs
    assert (found.batch_id, found.batch_name, found.state) == (other, "test", JobState.PLANNED)
    [failed] = _search(ledger, JobSearch(states=[JobState.FAILED])).jobs
    assert (failed.attempts, failed.error_message) == (1, "no video")


def test_an_id_a_key_or_a_whole_address_finds_its_job_in_any_batch(
    ledger: Ledger, batch: str
) -> None:
    """Without looking through the others."""
    to_bucket = library.job("4.mov", rendition="hd", destination="s3://out/4.mp4")
    later = library.planned_batch(ledger, to_bucket, library.job("8.mov", rendition="hd"))
    key = job_key(item_key(Item(SIGNED, fingerprint="1")), "video", "{}", None)
    library.planned_batch(ledger, library.job(SIGNED, input=SIGNED, job_key=key))
    [first] = _search(ledger, JobSearch(text="task-0")).jobs
    assert first.state is JobState.SUCCEEDED
    for states in ([], [JobState.SUCCEEDED]):
        page = _search(ledger, JobSearch(states=states, text=str(first.id)))
        assert (page.exact, page.jobs) == (True, [first])
    of_key = _search(ledger, JobSearch(text=to_bucket.job_key))
    of_destination = _search(ledger, JobSearch(text="s3://out/4.mp4"))
    assert of_key.jobs == of_destination.jobs
    assert [job.batch_id for job in of_key.jobs] == [later]
    of_input = _search(ledger, JobSearch(text="s3://media/8.mov"))
    assert (of_input.exact, len(of_input.jobs)) == (True, 2)
    assert [job.batch_id for job in of_input.jobs] == [later, batch]
    of_url = _search(ledger, JobSearch(text=SIGNED))
    assert (of_url.exact, len(of_url.jobs)) == (True, 1)
    only = _search(ledger, JobSearch(batch, text="s3://media/8.mov"))
    assert [job.batch_id for job in only.jobs] == [batch]


def test_a_search_that_finds_little_stops_and_says_where_to_go_on(
    ledger: Ledger, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never reads through a million jobs for one page."""
    monkeypatch.setattr("ittybatch.ledger.search.LOOK_AT", 4)
    monkeypatch.setattr("ittybatch.ledger.search._FIRST_JOBS", 1)
    first = _search(ledger, JobSearch(batch, text="media/1.m"))
    assert (_names(first), first.looked_at) == ("", 4)
    assert first.after is not None
    rest = _search(ledger, JobSearch(batch, text="media/1.m"), after=first.after)
    assert _names(rest) == "1"
    newer = _search(ledger, JobSearch(batch, text="media/8.m"), before=rest.jobs[0].place)
    assert "8" in _names(newer) or newer.before is not None


def test_what_nobody_wrote_as_a_place_or_a_text_is_refused_or_finds_nothing(
    ledger: Ledger, batch: str
) -> None:
    """Addresses are written by hand, too."""
    for text in ("\x00", "%", "9" * 400, "'; DROP TABLE jobs; --", "a" * 10_000):
        assert _names(_search(ledger, JobSearch(batch, text=text, metadata=""))) == "", text
    for place in ("", "1", "1.2.3", "a.b", "-1.2", "1." + "9" * 30):
        with pytest.raises(ValueError, match="no place in a list"):
            _search(ledger, JobSearch(batch), after=place)
