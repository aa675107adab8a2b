"""Finished jobs are made again only for a batch that asks for it."""

from pathlib import Path

import pytest

from ittybatch.engine.estimate import Estimate, why_ask
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.planning import plan_batch, preview
from ittybatch.ledger import Ledger, quarantine
from ittybatch.ledger.control import cancel_batch, hold_batch
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.submission import Submission, claim_due
from ittybatch.profiles import Profile
from ittybatch.sources import FailedJobsSource, ManifestSource
from tests.ledger import library

PROFILE = Profile.from_mapping(
    {
        "name": "p",
        "renditions": [
            {
                "name": "sd",
                "kind": "video",
                "destination": "s3://out/{key}/{rendition}.{ext}",
                "attempts": 1,
            }
        ],
    }
)


@pytest.fixture
def source(tmp_path: Path) -> ManifestSource:
    """Two objects."""
    path = tmp_path / "list.csv"
    path.write_text("input\ns3://media/a.mov\ns3://media/b.mov\n", encoding="utf-8")
    return ManifestSource(uri=str(path))


def _plan(ledger: Ledger, source: ManifestSource, *, again: bool = False) -> str:
    opened = library.new_batch(
        ledger, source=source.model_dump(mode="json"), profile=PROFILE.model_dump(mode="json")
    )
    return plan_batch(ledger, opened, source, Path("nowhere"), chunk_size=10, again=again).id


def _send(ledger: Ledger, batch: str) -> list[Submission]:
    sent = ledger.write(claim_due, library.released_chunk(ledger, batch), 100)
    library.accept(ledger, sent, batch)
    return sent


def _finished(ledger: Ledger, source: ManifestSource) -> list[Submission]:
    """A batch of which one job has succeeded and the other has failed for good."""
    batch = _plan(ledger, source)
    sent = _send(ledger, batch)
    bad = library.failed(f"{batch}-1", "invalid_input", "not media")
    ledger.write(settle, [library.remote(f"{batch}-0"), bad])
    return sent


def test_finished_jobs_are_made_again_under_new_keys(
    ledger: Ledger, source: ManifestSource
) -> None:
    """The preview counts them first; a batch without `again` leaves them alone."""
    first = _finished(ledger, source)
    nowhere = Path("nowhere")
    assert preview(ledger, source, PROFILE, nowhere).counts["jobs"] == 0
    found = preview(ledger, source, PROFILE, nowhere, again=True)
    assert (found.counts["jobs"], found.counts["again"]) == (2, 2)

    second = _send(ledger, _plan(ledger, source, again=True))
    keys = {each.idempotency_key for each in first}
    assert len(second) == 2
    assert keys.isdisjoint(each.idempotency_key for each in second)
    assert {each.attempt for each in second} == {2}
    # What is under way is not sent a third time, whoever asks.
    assert preview(ledger, source, PROFILE, nowhere, again=True).counts["jobs"] == 0


@pytest.mark.parametrize("stop", [cancel_batch, hold_batch])
def test_what_was_not_made_again_stays_done(
    ledger: Ledger, source: ManifestSource, stop: object
) -> None:
    """A batch that was stopped before it sent anything leaves nothing to be paid by the next."""
    batch = _plan(ledger, source)
    _send(ledger, batch)
    ledger.write(settle, [library.remote(f"{batch}-0"), library.remote(f"{batch}-1")])
    ledger.write(stop, _plan(ledger, source, again=True), "stopped")  # type: ignore[arg-type]
    found = preview(ledger, source, PROFILE, Path("nowhere"))
    assert (found.counts["jobs"], found.counts["already_done"]) == (0, 2)
    assert library.rows(ledger, _plan(ledger, source)) == []
    # Asked for again, they are made.
    assert len(_send(ledger, _plan(ledger, source, again=True))) == 2


def test_it_asks_for_approval_unless_its_starter_has_confirmed_a_count() -> None:
    """The count that was confirmed is the limit: more than that asks again."""
    found = Estimate(jobs=2, cost=None, minutes=None, unpriced=(), basis="")
    assert why_ask(found, BatchOptions(again=True))
    assert why_ask(found, BatchOptions(again=True, approve_above_jobs=2)) is None
    assert why_ask(found, BatchOptions(again=True, approve_above_jobs=1))
    assert why_ask(found, BatchOptions()) is None


def test_options_are_kept_and_read_under_their_old_names() -> None:
    """The ledger of an older version holds them."""
    options = BatchOptions.model_validate({"skip_standing": True, "go_on_with": "x"})
    assert options.skip_existing
    assert options.to_store()["skip_standing"] is True
    assert BatchOptions.model_validate(options.to_store()).skip_existing
    assert "go_on_with" not in options.to_store()


def _remake(ledger: Ledger, source: ManifestSource) -> str:
    """A plan of a batch that says in the ledger that it makes jobs again."""
    opened = library.new_batch(
        ledger,
        source=source.model_dump(mode="json"),
        profile=PROFILE.model_dump(mode="json"),
        options={"again": True},
    )
    return plan_batch(ledger, opened, source, Path("nowhere"), chunk_size=10, again=True).id


def test_what_waits_to_be_made_again_stays_held_back(
    ledger: Ledger, source: ManifestSource
) -> None:
    """Nobody has approved it, so the next night does not send it instead."""
    _finished(ledger, source)
    ledger.write(hold_batch, _remake(ledger, source), "waits")
    found = preview(ledger, source, PROFILE, Path("nowhere"))
    assert (found.counts["jobs"], found.counts["already_done"]) == (0, 1)
    assert found.counts["held_back"] == 1


def test_a_cancelled_plan_to_make_jobs_again_gives_their_claims_back(
    ledger: Ledger, source: ManifestSource
) -> None:
    """What was held back is held back, and can be released, as if nobody had asked."""
    _finished(ledger, source)
    before = ledger.read(quarantine.held_jobs)
    ledger.write(cancel_batch, _remake(ledger, source), "changed my mind")
    found = preview(ledger, source, PROFILE, Path("nowhere"))
    assert (found.counts["jobs"], found.counts["already_done"]) == (0, 1)
    assert found.counts["held_back"] == 1
    assert ledger.read(quarantine.held_jobs) == before


def test_a_retry_of_an_old_failure_does_not_pay_for_what_has_succeeded_since(
    ledger: Ledger, source: ManifestSource
) -> None:
    """Also while the claim is with a batch that was to make it again, and was cancelled."""
    first = _plan(ledger, source)
    _send(ledger, first)
    ledger.write(settle, [library.failed(f"{first}-{each}") for each in (0, 1)])
    second = _plan(ledger, source)
    _send(ledger, second)
    ledger.write(settle, [library.remote(f"{second}-0"), library.remote(f"{second}-1")])
    ledger.write(cancel_batch, _plan(ledger, source, again=True), "cancelled")
    retried = preview(ledger, FailedJobsSource(batch=first), PROFILE, Path("nowhere"))
    assert (retried.counts["jobs"], retried.counts["already_done"]) == (0, 2)
