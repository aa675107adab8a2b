"""Estimates: by the user's own rates and the ledger's memory; unknown is never nothing."""

from pathlib import Path
from typing import Any

import pytest

from ittybatch.engine.estimate import Estimate, estimate, why_ask
from ittybatch.engine.options import BatchOptions
from ittybatch.ledger import Ledger
from ittybatch.ledger.queries import PastDurations, ended_per_minute, past_durations
from ittybatch.ledger.settlement import settle
from ittybatch.settings import Settings
from tests.ledger import library

_COUNTS = {"jobs": 120, "items": 60, "kind:video": 60, "kind:image": 60}


def _estimate(
    known: dict[str, PastDurations] | None = None,
    options: dict[str, Any] | None = None,
    **settings: Any,  # noqa: ANN401
) -> Estimate:
    given = Settings(home=Path("nowhere"), **settings)
    return estimate(_COUNTS, BatchOptions.model_validate(options or {}), given, known or {})


def test_without_rates_cost_and_time_are_unknown() -> None:
    """And it is said what is missing, and where to set it."""
    found = _estimate()
    assert (found.cost, found.minutes) == (None, None)
    priceless = "no price is set for image, video (ITTYBATCH_KIND_COSTS)"
    assert found.describe_cost() == f"unknown: {priceless}"
    assert "no image or video job has ended yet" in found.describe_time()


def test_one_kind_without_a_rate_leaves_the_whole_unknown() -> None:
    """A sum with a hole in it would look like a price."""
    assert _estimate(kind_costs={"video": 0.5}).cost is None
    assert _estimate(kind_costs={"video": 0.5, "image": 0.01}).cost == pytest.approx(30.6)


def test_the_cost_of_a_job_given_with_the_batch_counts_first() -> None:
    """It is what its ceiling goes by, too."""
    assert _estimate(options={"cost_per_job": 0.25}, kind_costs={"video": 9}).cost == 30


def test_time_follows_from_what_earlier_jobs_took() -> None:
    """Sixty videos of 100 s and as many images of 20 s, twenty at a time."""
    known = {"video": PastDurations(10, 100.0), "image": PastDurations(5, 20.0)}
    found = _estimate(known, max_in_flight=20)
    assert found.minutes == pytest.approx(6)
    assert found.describe_time() == "about 6 min, as 15 earlier jobs took, 20 at a time"


def test_nothing_ends_sooner_than_its_longest_job() -> None:
    """However many run at a time."""
    known = {"video": PastDurations(10, 600.0), "image": PastDurations(5, 1.0)}
    assert _estimate(known).minutes == pytest.approx(10)


def test_the_users_own_speed_counts_first() -> None:
    """Who knows the account knows better."""
    assert _estimate(jobs_per_minute=60).describe_time() == "about 2 min, at 60 jobs a minute"


@pytest.mark.parametrize("settings", [{}, {"jobs_per_minute": 60}, {"max_in_flight": 5}])
def test_what_submits_nothing_takes_no_time(settings: dict[str, Any]) -> None:
    """A minute would look like work."""
    given = Settings(home=Path("nowhere"), **settings)
    found = estimate({"jobs": 0, "already_done": 7}, BatchOptions(), given, {})
    assert (found.minutes, found.cost) == (0, 0)
    assert found.describe_time() == "none: there is nothing to submit"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, False),
        ({"approve_above_jobs": 120}, False),
        ({"approve_above_jobs": 119}, True),
        ({"approve_above_jobs": 0}, True),
        ({"approve_above_cost": 30.0, "cost_per_job": 0.25}, False),
        ({"approve_above_cost": 29.9, "cost_per_job": 0.25}, True),
        ({"approve_above_cost": 1e9}, True),
    ],
)
def test_who_asks_to_be_asked_is_asked(options: dict[str, Any], asked: bool) -> None:
    """Above the ceiling, and where the cost is unknown."""
    given = BatchOptions.model_validate(options)
    assert bool(why_ask(_estimate(options=options), given)) is asked


def test_nobody_is_asked_about_nothing() -> None:
    """A night without news needs no approval."""
    found = estimate({"jobs": 0}, BatchOptions(), Settings(home=Path("nowhere")), {})
    assert why_ask(found, BatchOptions(approve_above_jobs=0)) is None


def test_who_asks_for_every_plan_has_set_no_limit_to_name() -> None:
    """The sentence says what waits; a limit is named only if there is one."""
    found = _estimate()
    said = why_ask(found, BatchOptions(approve_above_jobs=0))
    assert said == "120 jobs are planned. Nothing is sent before you approve it."
    said = why_ask(found, BatchOptions(approve_above_jobs=9))
    assert said == "120 jobs are to be submitted, more than 9."


def test_the_ledger_remembers_how_long_jobs_took(ledger: Ledger) -> None:
    """By kind, and how many ended lately."""
    chunk, sent = library.submitted(ledger, library.job("a.mov"), library.job("b.mov"))
    batch = library.place(ledger, chunk).batch_id
    assert ledger.read(past_durations) == {}
    assert ledger.read(ended_per_minute, batch) is None
    ledger.write(settle, [library.remote("task-0"), library.remote("task-1")])
    found = ledger.read(past_durations)
    assert found.keys() == {"video"}
    assert found["video"].jobs == len(sent)
    assert (ledger.read(ended_per_minute, batch) or 0) > 1
