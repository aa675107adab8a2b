"""The page of health: what is wrong, since when, and what to press."""

import re
import socket
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import insert, update

from ittybatch.engine.finding import Finding, Grade
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.last_runs import (
    RECONCILE,
    forget_receiver,
    last_run,
    receivers,
    record_receiver,
    record_run,
)
from ittybatch.ledger.models import LastRun, Outbox
from ittybatch.ledger.sinks import DeclaredSink, back_off, sync_sinks
from ittybatch.ledger.states import Verdict
from ittybatch.ledger.webhook_counts import count_webhooks, last_webhook_at
from ittybatch.page import app, health
from ittybatch.page.doctor import Doctor
from tests.ledger import library
from tests.page.steering import Page, Recorder, words
from tests.receiver.harness import Running, payload, running, wait_until

HOSTILE = "<script>alert(1)</script>"


def test_webhooks_are_counted_by_what_they_changed(receiver: Running, ledger: Ledger) -> None:
    """The newest ones, and it says if there are more."""
    library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    assert ledger.read(last_webhook_at) is None
    receiver.post_at_once([payload("task-0"), payload("task-1"), payload("who"), b"{"])
    counts = ledger.read(count_webhooks, timedelta(hours=1))
    assert counts.by_verdict == {Verdict.APPLIED: 2, Verdict.UNKNOWN: 1, Verdict.MALFORMED: 1}
    assert (counts.total, counts.is_truncated) == (4, False)
    cut = ledger.read(count_webhooks, timedelta(hours=1), limit=3)
    assert (cut.total, cut.is_truncated) == (3, True)
    last = ledger.read(last_webhook_at)
    assert last is not None
    assert cut.since <= last
    assert not ledger.read(count_webhooks, timedelta(hours=1), limit=4).is_truncated
    assert ledger.read(count_webhooks, timedelta(0)).total == 0


def test_receivers_are_known_while_they_run(ledger: Ledger, ledger_url: str) -> None:
    """One that ends removes its record; one that was killed is forgotten after a day."""
    ledger.write(record_receiver, "killed, process 1", {"version": "0"})
    longest = "h" * 80 + ", process 2"
    ledger.write(record_receiver, longest, {"version": "0"})
    ledger.write(forget_receiver, longest)
    with running(ledger_url) as up:
        wait_until(lambda: len(ledger.read(receivers)) == 2)
        [alive] = [each for each in ledger.read(receivers) if each.name != "killed, process 1"]
        assert socket.gethostname()[-20:] in alive.name
        shown = up.get("/page/health").text
        assert "killed, process 1" in shown
        old = ledger.read(lambda tx: tx.now) - timedelta(days=2)
        ledger.write(
            lambda tx: tx.execute(
                update(LastRun).where(LastRun.name == "receiver:killed, process 1").values(at=old)
            )
        )
        ledger.write(record_receiver, "third", {})
        assert "killed, process 1" not in {each.name for each in ledger.read(receivers)}
    assert [each.name for each in ledger.read(receivers)] == ["third"]


def test_the_last_reconcile_is_known(
    ledger: Ledger, receiver: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run takes the place of the one before. The first is late only after its time."""
    new = words(receiver.get("/page/health").text)
    assert re.search(r"Reconcile \S* ?expected first run by \d\d:\d\d UTC", new)
    assert "deploy schedules it" not in new
    monkeypatch.setattr(health, "_FIRST_RECONCILE_WITHIN", timedelta())
    old = words(receiver.get("/page/health").text)
    assert re.search(r"Reconcile \S* ?late never. ittybatch deploy schedules it", old)
    ledger.write(record_run, RECONCILE, {"settled": 4})
    ledger.write(record_run, RECONCILE, {"settled": 1234})
    ran = ledger.read(last_run, RECONCILE)
    assert ran is not None
    assert ran.details == {"settled": 1234}
    assert "1,234 settled" in receiver.get("/page/health").text


@pytest.fixture
def refused(ledger: Ledger) -> None:
    """A sink that refused one result, and another that is away."""
    declared = [DeclaredSink("crm", "http", on_accepted=False), DeclaredSink("lake", "sql", False)]
    ledger.write(sync_sinks, declared)
    ledger.write(back_off, "lake", f"no route to postgresql://me:s3cr3t@lake {HOSTILE}", 60)
    library.submitted(ledger, library.job("a.mov"))
    ledger.write(
        lambda tx: tx.execute(
            insert(Outbox).values(
                sink="crm",
                job_id=1,
                event="ended",
                created_at=tx.now,
                refused_at=tx.now,
                error=HOSTILE,
            )
        )
    )


def test_what_a_sink_refused_is_delivered_again_from_here(
    ledger: Ledger, ledger_url: str, refused: None
) -> None:
    """The page says what keeps results from a sink, without passwords, and offers a way out."""
    del refused
    with running(ledger_url) as up, httpx.Client(base_url=up.url, trust_env=False) as client:
        shown = client.get("/page/health").text
        assert "Deliver 1 again" in shown
        assert HOSTILE not in shown
        assert "s3cr3t" not in shown
        done = client.post("/page/health/sinks/retry", data={"sink": "crm"}, follow_redirects=True)
        assert "1 result will be delivered to crm again." in done.text
        assert "Deliver 1 again" not in done.text
        unknown = client.post("/page/health/sinks/retry", data={"sink": HOSTILE})
        told = client.get(unknown.headers["location"]).text
        assert "Not done:" in told
        assert HOSTILE not in told
        fragment = client.post(
            "/page/health/sinks/retry", data={"sink": "crm"}, headers={"HX-Request": "true"}
        )
        assert (fragment.status_code, fragment.headers["hx-trigger"]) == (200, "acted")
        assert "<html" not in fragment.text
    assert [each.refused for each in ledger.read(recent_actions)] == [False, True, False]


def test_reconcile_is_started_from_the_page(
    receiver: Running, ledger: Ledger, prefect: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Prefect, so only a receiver that knows Prefect has the lever."""
    assert "Reconcile now" not in receiver.get("/page/health").text
    monkeypatch.setattr(health, "ui_url", lambda: "http://prefect.test")
    assert "Reconcile now" in receiver.get("/page/health").text
    page = Page(receiver)
    told = page.told(page.post("/page/health/reconcile"))
    assert told.startswith("Done: Flow run ")
    [asked] = prefect.asked.values()
    assert (asked["deployment"], asked["parameters"]) == ("reconcile/reconcile", {})
    prefect.is_down = True
    assert page.told(page.post("/page/health/reconcile")).startswith("Not done: ")
    done = ledger.read(recent_actions)
    assert [(each.action, each.refused) for each in done] == [
        ("reconcile", True),
        ("reconcile", False),
    ]


def test_an_outcome_is_shown_once_and_not_for_ever(receiver: Running, ledger: Ledger) -> None:
    """A number that nobody has, or that is none, shows nothing."""
    del ledger
    for done in ("7", "-1", "x", "9" * 30, "%00"):
        answer = receiver.get(f"/page/health?done={done}")
        assert answer.status_code == 200
        assert 'class="notice good"' not in answer.text


def test_the_doctor_runs_once_at_a_time_and_survives_an_error() -> None:
    """Two who ask get the same examination."""
    runs = []

    def check() -> list[Finding]:
        runs.append(1)
        if len(runs) > 1:
            raise ZeroDivisionError
        return [Finding("Ledger", Grade.OK, "fine."), Finding("Key", Grade.BROKEN, "none.")]

    doctor = Doctor(check)
    assert doctor.last.ended_at is None
    assert doctor.examine(10) == "1 ok, 0 warnings, 1 broken"
    assert [each.check for each in doctor.last.worst_first] == ["Key", "Ledger"]
    assert doctor.examine(10) == "0 ok, 0 warnings, 1 broken"
    assert "ZeroDivisionError" in doctor.last.findings[0].what
    assert doctor.last.began_at is None
    assert len(runs) == 2


def test_what_the_checks_found_is_shown_without_secrets(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Viewers read it too."""
    leaky = "https://ann:geheim99@prefect.test/api refused Bearer geheim88"
    found = [Finding(each, Grade.BROKEN, leaky, leaky, leaky) for each in ("Prefect API", "Worker")]
    monkeypatch.setattr(app, "check_everything", lambda _: found)
    with running(sqlite_url) as up:
        Page(up).post("/page/health/check")
        shown = up.get("/page/health").text
    assert shown.count("prefect.test/api refused Bearer [redacted]") == 7
    assert "geheim" not in shown


def test_a_ledger_that_is_away_is_an_explained_page(tmp_path: object) -> None:
    """Not an empty one; a region leaves what is shown, and becomes a notice."""
    with running(f"sqlite:///{tmp_path}/empty.db") as up:
        page = up.get("/page/health")
        assert page.status_code == 503
        assert "ittybatch db upgrade" in page.text
        region = up.get("/page/regions/health", {"HX-Request": "true"})
        assert (region.status_code, region.headers["content-type"][:10]) == (503, "text/plain")
        assert "ittybatch db upgrade" in region.text
