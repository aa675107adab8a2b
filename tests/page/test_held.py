"""What is held back, by reason, and its release, over HTTP."""

import re
from collections import Counter
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import event, update

from ittybatch.engine.releasing import NothingToRelease, release_jobs
from ittybatch.ledger import Ledger, quarantine
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.batches import change_options
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.held_groups import held_groups
from ittybatch.ledger.models import Job
from ittybatch.ledger.quarantine import HeldCount, HeldFilter, count_held, find_held, held_jobs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.submission import claim_due
from tests.ledger import library
from tests.ledger.lost_answers import one_answer_lost
from tests.page.steering import Page, words
from tests.receiver.harness import Running, running

GROUP = "Could not fetch …: HTTP 404"


def hold(ledger: Ledger, *names: str, message: str = "no video stream") -> str:
    """A batch whose jobs are all held back. `{name}` in the message is that of the file."""
    batch = library.planned_batch(ledger, *(library.job(name, attempts=1) for name in names))
    chunk = library.released_chunk(ledger, batch)
    sent = ledger.write(claim_due, chunk, 100)
    library.accept(ledger, sent, prefix=batch)
    ledger.write(
        settle,
        [
            replace(
                library.failed(f"{batch}-{number}", "invalid_input", message.format(name=name)),
                finished_at=None,
            )
            for number, name in enumerate(names)
        ],
    )
    return batch


def test_held_jobs_are_grouped_counted_and_released_by_reason(ledger: Ledger) -> None:
    """Whatever names and numbers their messages have, newest first, a window at a time."""
    first = hold(ledger, "a.mov", "b.mov", message="Could not fetch s3://media/{name}: HTTP 404")
    second = hold(ledger, "c.mov", message="Could not fetch s3://media/{name}: HTTP 404")
    hold(ledger, "in/d.mov")
    found = ledger.read(held_groups, HeldFilter())
    assert [(each.reason, each.jobs, each.batches) for each in found.groups] == [
        (GROUP, 3, 2),
        ("no video stream", 1, 1),
    ]
    assert found.after is None
    [newest] = ledger.read(held_groups, HeldFilter(), window=1).groups
    assert newest.reason == "no video stream"
    last = ledger.read(held_groups, HeldFilter(), window=1).after
    older = ledger.read(held_groups, HeldFilter(), after=last)
    assert [(each.reason, each.jobs) for each in older.groups] == [(GROUP, 3)]
    same = HeldFilter(alike=GROUP)
    assert ledger.read(count_held, same, most=100) == HeldCount(Counter(video=3), is_part=False)
    of_first = ledger.read(count_held, HeldFilter(batch=first, alike=GROUP), most=100)
    assert of_first.kinds.total() == 2
    below = ledger.read(count_held, HeldFilter(input_prefix="s3://media/in/"), most=9)
    assert below.kinds.total() == 1
    [one, *_] = ledger.read(find_held, HeldFilter(batch=second), limit=5)
    assert release_jobs(ledger, HeldFilter(job=one.id), expected=1).complete
    done = release_jobs(ledger, same, expected=3)
    assert (done.jobs, done.complete) == (2, False)
    assert "1 job had been released or made again meanwhile" in done.describe()
    assert [job.error_message for job in ledger.read(held_jobs)] == ["no video stream"]


def test_no_more_are_released_than_were_counted(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count stops at a number of jobs or of chunks, and the release stops at the same ones."""
    monkeypatch.setattr(quarantine, "MOST_CHUNKS_READ", 2)
    monkeypatch.setattr(quarantine, "_CHUNKS_READ_AT_ONCE", 1)
    monkeypatch.setattr(quarantine, "_CHUNKS_AT_ONCE", 1)
    hold(ledger, "a.mov")
    hold(ledger, "b.mov", "c.mov")
    hold(ledger, "d.mov", "e.mov")
    everything = HeldFilter()
    one = ledger.read(count_held, everything, most=1)
    assert one == HeldCount(Counter(video=1), is_part=True)
    seen = ledger.read(count_held, everything, most=100)
    assert seen == HeldCount(Counter(video=4), is_part=True)
    assert release_jobs(ledger, everything, expected=1).jobs == 1
    done = release_jobs(ledger, everything, expected=4)
    assert (done.jobs, done.complete) == (3, False)
    monkeypatch.undo()
    assert [job.input for job in ledger.read(held_jobs)] == ["s3://media/a.mov"]
    assert ledger.read(count_held, everything, most=1) == HeldCount(Counter(video=1), is_part=False)


def test_a_release_whose_commit_got_no_answer_is_counted_and_made_once(ledger: Ledger) -> None:
    """It is not refused because it has worked, and releases no others instead."""
    hold(ledger, "a.mov", "b.mov", "c.mov")
    with one_answer_lost(ledger):
        assert release_jobs(ledger, HeldFilter(), expected=2).jobs == 2
    assert len(list(ledger.read(held_jobs))) == 1
    with one_answer_lost(ledger):
        assert release_jobs(ledger, HeldFilter(), expected=1).complete
    assert list(ledger.read(held_jobs)) == []
    with pytest.raises(NothingToRelease), one_answer_lost(ledger):
        release_jobs(ledger, HeldFilter(), expected=1)


def test_a_release_that_breaks_off_tells_how_far_it_got(ledger: Ledger) -> None:
    """The database goes away between two steps."""
    for number in range(12):  # a step takes ten chunks
        hold(ledger, f"{number}.mov")
    steps = 0

    def cut(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps > 1:
            raise LedgerUnavailable("The ledger cannot be used.")

    event.listen(
        ledger.engine,
        "before_execute",
        lambda _, clause, *_rest: cut() if str(clause).startswith("UPDATE jobs") else None,
    )
    done = release_jobs(ledger, HeldFilter(), expected=12)
    assert (done.jobs, done.complete) == (10, False)
    assert (
        "Then it stopped: The ledger cannot be used. The others stay held back." in done.describe()
    )


class TestThePage:
    """On SQLite alone: the queries are tested above, on both databases."""

    @pytest.fixture
    def ledger_url(self, sqlite_url: str) -> str:
        return sqlite_url

    def test_it_shows_why_since_when_and_what_a_release_would_cost(
        self, ledger: Ledger, receiver: Running
    ) -> None:
        page = Page(receiver)
        assert "Nothing is held back." in words(page.get("/page/held"))
        batch = hold(
            ledger, "a.mov", "b.mov", message="Could not fetch s3://media/{name}: HTTP 404"
        )
        hold(ledger, "in/c.mov")
        html = page.get("/page/held")
        text = words(html)
        assert "3 jobs in 2 groups." in text
        assert f"{GROUP} failed jobs 2" in text
        assert "Held since" in text
        assert "For example s3://media/b.mov" in text
        assert "fix that first, then release it: the next batch makes it." in text
        assert "no price is set" in text
        assert "3 jobs" not in words(page.get(f"/page/held?batch={batch}"))
        assert "no video stream" in words(page.get("/page/held?input=s3://media/in/"))
        assert "Nothing that fits is held back." in words(page.get("/page/held?input=s3://other/"))
        one_by_one = words(page.get(f"/page/held?{urlencode({'state': 'failed', 'alike': GROUP})}"))
        assert "s3://media/a.mov" in one_by_one
        assert "in/c.mov" not in one_by_one

    def test_a_group_is_released_after_a_look_at_the_count(
        self, ledger: Ledger, receiver: Running
    ) -> None:
        """What fails between the look and the click stays held back."""
        hold(ledger, "a.mov", "b.mov")
        page = Page(receiver)
        query = urlencode({"state": "failed", "alike": "no video stream"})
        html = page.get(f"/page/held/release?{query}")
        assert "Release 2 jobs?" in words(html)
        hold(ledger, "c.mov")
        hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', html)
        fields: dict[str, Any] = {name: unescape(value) for name, value in hidden}
        told = page.told(page.post("/page/held/release", **fields))
        assert "Done: Released 2 jobs: the next batch that finds their items makes them" in told
        [left] = ledger.read(held_jobs)
        assert left.input == "s3://media/c.mov"
        [action] = ledger.read(recent_actions)
        assert (action.action, action.refused) == ("release", False)
        again = page.told(page.post("/page/held/release", **fields))
        assert "Not done: There is nothing to release" in again
        told = page.told(page.post("/page/held/release", job=str(left.id), expected="2"))
        assert "Partly done: Released 1 job" in told

    def test_a_release_has_one_price(self, ledger: Ledger, receiver: Running) -> None:
        """The group, the question and the record are of the batch, in whichever way it is named."""
        other = hold(ledger, "x.mov")
        batch = hold(ledger, "a.mov", "b.mov")
        ledger.write(change_options, batch, {"cost_per_job": 0.25})
        page = Page(receiver)
        for name in ("latest", batch, batch[:-1]):
            text = words(page.get(f"/page/held?batch={name}"))
            assert "Making them again: about 0.50" in text
            html = page.get(f"/page/held/release?batch={name}")
            assert "Making them again about 0.50" in words(html)
            assert f'name="batch" value="{batch}"' in html
        first = ledger.read(find_held, HeldFilter(batch=batch), limit=2)[0]
        another = update(Job).where(Job.id == first.id).values(error_message="It is empty.")
        ledger.write(lambda tx: tx.execute(another))
        text = words(page.get(f"/page/held?batch={batch}"))
        assert text.count("Making it again: about 0.25") == 2
        assert "Making them again: about 0.50" in text, "of both reasons"
        page.post("/page/held/release", batch=batch, expected="2")
        for name, shown in (("latest", True), (batch[-6:], True), (other, False), ("x", False)):
            log = words(page.get(f"/page/actions?batch={name}"))
            assert ("Released 2 jobs" in log) is shown, name
        assert f"fits {batch}, {other}." in words(page.get("/page/held?batch=20", 400))

    def test_all_reasons_are_released_at_once_after_a_look(
        self, ledger: Ledger, ledger_url: str
    ) -> None:
        """The link keeps the filters, and says how many jobs and what they cost."""
        hold(ledger, "in/a.mov", message="It is empty.")
        hold(ledger, "in/b.mov", "in/c.mov")
        hold(ledger, "other.mov")
        look = "bob:battery staple"
        with running(
            ledger_url,
            kind_costs={"video": 0.5},
            page_auth="ada:correct horse",
            page_viewer_auth=look,
        ) as up:
            page = Page(up, "ada", "correct horse")
            shown = page.get("/page/held?input=s3://media/in/")
            assert "Release all 3 jobs … Making them again: about 1.50" in words(shown)
            assert "Release all 4 jobs" in words(page.get("/page/held"))
            assert "Release all" not in Page(up, *look.split(":")).get("/page/held")
            [address] = re.findall(r'href="([^"]+)">Release all', shown)
            asked = page.get(unescape(address))
            assert "Release 3 jobs?" in words(asked)
            hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', asked)
            fields: dict[str, Any] = {name: unescape(value) for name, value in hidden}
            assert "Done: Released 3 jobs" in page.told(page.post("/page/held/release", **fields))
            assert "Release all" not in page.get("/page/held")  # one reason is left
        assert [job.input for job in ledger.read(held_jobs)] == ["s3://media/other.mov"]

    def test_what_cannot_be_meant_is_refused(self, ledger: Ledger, receiver: Running) -> None:
        """Above all a form without a filter, which would mean everything."""
        hold(ledger, "a.mov")
        page = Page(receiver)
        assert "Nothing was chosen" in page.told(page.post("/page/held/release"))
        for query in (
            "state=succeeded",
            "before=soon",
            "job=x",
            f"input={'x' * 3000}",
            "batch=%00",
        ):
            page.get(f"/page/held?{query}", 400)
        page.post("/page/held/release", 400, state="planned")
        assert ledger.read(held_jobs)
