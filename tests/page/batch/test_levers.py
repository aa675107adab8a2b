"""The levers of a batch over HTTP: each once, each recorded, and none for who may only look."""

import re

import pytest

from ittybatch.engine.lookup import MadeElsewhere, MarkedJob
from ittybatch.engine.starting import ADOPT_DEPLOYMENT
from ittybatch.ittybit.marks import Mark
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.batches import change_options, read_batch
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.runs import end_runs
from ittybatch.ledger.states import BatchState
from tests.ledger import library
from tests.page.steering import (
    Page,
    Recorder,
    failing,
    state_of,
    submitted,
    waiting,
    words,
)
from tests.receiver.harness import running


@pytest.mark.usefixtures("prefect")
def test_a_plan_is_approved_once(ledger: Ledger, page: Page) -> None:
    """Its price and time are beside the button; a second click is told that it came too late."""
    batch = waiting(ledger, cost_per_job=0.25)
    text = words(page.get(f"/page/batches/{batch}"))
    assert "2 jobs planned; cost: 0.50 in your unit, if each job is made once" in text
    assert "Approve: send 2 jobs" in text
    assert "Resume" not in text
    told = page.told(page.post(f"/page/batches/{batch}/approve"))
    assert told == f"Done: Batch {batch} is running."
    assert state_of(ledger, batch) is BatchState.RUNNING
    told = page.told(page.post(f"/page/batches/{batch}/approve"))
    assert told == f"Not done: Batch {batch} does not wait for approval; it is running."
    assert "Approve" not in words(page.get(f"/page/batches/{batch}"))
    actions = ledger.read(recent_actions, batch=batch)
    assert [(each.action, each.via, each.refused) for each in actions] == [
        ("approve", "page", True),
        ("approve", "page", False),
    ]


def test_an_approval_stands_although_prefect_is_down(
    ledger: Ledger, page: Page, prefect: Recorder
) -> None:
    """What is done and what is not yet is told, and is in the record."""
    batch = waiting(ledger)
    ledger.write(end_runs, batch)
    prefect.is_down = True
    told = page.told(page.post(f"/page/batches/{batch}/approve"))
    assert told.startswith(f"Partly done: Batch {batch} is running")
    assert "do not exist yet" in told
    assert state_of(ledger, batch) is BatchState.RUNNING


@pytest.mark.usefixtures("prefect")
def test_a_batch_is_paused_resumed_and_cancelled(ledger: Ledger, page: Page) -> None:
    """Impatient clicks and a second tab change nothing, and say how it is."""
    batch, _ = submitted(ledger, 1)
    at = f"/page/batches/{batch}"
    for _ in range(2):
        assert f"Done: Batch {batch} is held." in page.told(page.post(f"{at}/pause"))
    assert "Paused by someone on this machine" in words(page.get(at))
    assert f"Done: Batch {batch} is running." in page.told(page.post(f"{at}/resume"))
    assert "is not held; it is running" in page.told(page.post(f"{at}/resume"))
    asked = words(page.get(f"{at}/cancel"))
    assert "1 job at Ittybit already: Ittybit cannot stop what has started" in asked
    assert "may still run, and be billed" in asked
    for _ in range(2):
        told = page.told(page.post(f"{at}/cancel"))
        assert f"Batch {batch} is cancelled. 1 job at Ittybit already may still run" in told
    assert "Not done: " in page.told(page.post(f"{at}/pause"))
    assert "has ended" in words(page.get(f"{at}/cancel"))
    assert state_of(ledger, batch) is BatchState.CANCELLED


def test_jobs_that_another_ledger_sent_are_recorded_from_the_page(
    ledger: Ledger, page: Page, prefect: Recorder
) -> None:
    """Only a batch that is held for them has the lever. It starts a flow run, on a worker."""
    batch = waiting(ledger)
    lever = f"/page/batches/{batch}/adopt"
    assert lever not in page.get(f"/page/batches/{batch}")
    theirs = MarkedJob(Mark("20260101-020000-abcdef", "key", 1), library.remote("job_1"))
    ledger.write(hold_batch, batch, str(MadeElsewhere(batch, theirs)))
    shown = page.get(f"/page/batches/{batch}")
    assert lever in shown
    assert '<button class="primary">Record the jobs that exist' in shown
    assert '<button class="primary">Resume batch' not in shown, "it comes second"
    for _ in range(2):
        told = page.told(page.post(lever))
        assert told.startswith("Done: Flow run ")
        assert "it sends nothing" in told
    asked = [each for each in prefect.asked.values() if each["deployment"] == ADOPT_DEPLOYMENT]
    assert {tuple(each["parameters"].items()) for each in asked} == {(("batch", batch),)}
    assert len(asked) == 2, "the first may have ended"
    assert state_of(ledger, batch) is BatchState.HELD
    assert [each.action for each in ledger.read(recent_actions, batch=batch)] == ["adopt"] * 2
    prefect.is_down = True
    assert page.told(page.post(lever)).startswith("Not done: Prefect's API could not be reached")


def test_tuning_shows_an_error_beside_its_field(ledger: Ledger, page: Page) -> None:
    """What is wrong is shown there, and nothing is changed."""
    batch = waiting(ledger)
    fields = {"max_active_chunks": "0", "submit_per_s": "fast", "priority": "normal"}
    before = {"was_max_active_chunks": "4", "was_submit_per_s": "", "was_priority": "normal"}
    answer = page.post(f"/page/batches/{batch}/tune", 422, **fields, **before)
    errors = re.findall(r'id="tune-(\w+)-hint"><strong class="error">([^<]+)', answer.text)
    assert dict(errors) == {
        "max_active_chunks": "Input should be greater than or equal to 1.",
        "submit_per_s": "Write a number, for example 0.5.",
    }
    answer = page.post(
        f"/page/batches/{batch}/tune", 422, **{**fields, **before, "max_active_chunks": "2.5"}
    )
    assert "Write a whole number, for example 5." in words(answer.text)
    assert 'value="fast"' in answer.text
    assert ledger.read(read_batch, batch).options == {}


def test_tuning_changes_only_what_the_user_has_changed(ledger: Ledger, page: Page) -> None:
    """An old form undoes nothing; two who change the same are told."""
    batch = waiting(ledger)
    at = f"/page/batches/{batch}/tune"
    old = {"was_max_active_chunks": "4", "was_submit_per_s": "", "was_priority": "normal"}
    first = {"max_active_chunks": "8", "submit_per_s": "", "priority": "normal", **old}
    told = page.told(page.post(at, **first))
    assert "Changed: Active chunks: 8." in told
    # The form of a second tab, which still shows 4.
    second = {**first, "max_active_chunks": "4", "submit_per_s": "2.5"}
    assert "Submissions per second: 2.5" in page.told(page.post(at, **second))
    assert ledger.read(read_batch, batch).options == {"max_active_chunks": 8, "submit_per_s": 2.5}
    conflict = page.post(at, 422, **{**first, "max_active_chunks": "2"})
    assert "Somebody else has changed it meanwhile, to 8." in words(conflict.text)
    unchanged = {**first, "max_active_chunks": "4"}
    assert "Not done: No field was changed" in page.told(page.post(at, **unchanged))


@pytest.mark.parametrize(
    ("name", "entered", "shown"),
    [
        ("max_active_chunks", "200", "Active chunks: 200"),
        ("submit_per_s", "5.0", "Submissions per second: 5"),
        ("submit_per_s", "0", "Submissions per second: no limit"),
        ("priority", "high", "Priority: high"),
    ],
)
def test_a_tuning_that_is_sent_twice_is_told_what_is_so_already(
    ledger: Ledger, page: Page, name: str, entered: str, shown: str
) -> None:
    """As by a double click: the browser shows only the second answer."""
    batch = waiting(ledger)
    ledger.write(change_options, batch, {"submit_per_s": 2.5})
    before = {"max_active_chunks": "4", "submit_per_s": "2.5", "priority": "normal"}
    old = {f"was_{each}": value for each, value in before.items()}
    form = {**before, **old, name: entered}
    assert "Done: " in page.told(page.post(f"/page/batches/{batch}/tune", **form))
    told = page.told(page.post(f"/page/batches/{batch}/tune", **form))
    assert told == f"Done: Batch {batch} has that already: {shown}."
    assert not any(each.refused for each in ledger.read(recent_actions, batch=batch))


def test_who_may_only_look_changes_nothing(ledger: Ledger, ledger_url: str) -> None:
    """No form is shown, and a request made by hand is refused."""
    batch = failing(ledger, 4)
    asking = waiting(ledger)
    with running(ledger_url, page_auth="anna:secret 1", page_viewer_auth="bob:secret 2") as up:
        bob = Page(up, "bob", "secret 2")
        for each in (batch, asking):
            html = bob.get(f"/page/batches/{each}")
            assert 'method="post"' not in html
            assert "Retry these" not in words(html)
        assert "Could not fetch" in bob.get(f"/page/batches/{batch}")
        for lever in ("approve", "pause", "resume", "cancel", "tune", "retry"):
            bob.post(f"/page/batches/{asking}/{lever}", 403, max_active_chunks="9")
        assert state_of(ledger, asking) is BatchState.UNAPPROVED
        assert ledger.read(recent_actions, batch=asking) == []
        anna = Page(up, "anna", "secret 1")
        anna.post(f"/page/batches/{asking}/pause")
        [done] = ledger.read(recent_actions, batch=asking)
        assert (done.actor, done.action) == ("anna", "pause")
        assert Page(up).request("GET", f"/page/batches/{batch}").status_code == 401
