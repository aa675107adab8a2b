"""Failures are retried by group: counted and priced first, frozen at the click, paid for once."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.submission import claim_due
from ittybatch.sources import FailedJobsSource
from tests.ledger import library
from tests.page.steering import (
    Page,
    Recorder,
    failing,
    fields_of,
    plan_retry,
    retry_link,
    submitted,
    words,
)


def test_a_group_is_retried_once_for_each_confirmation(
    ledger: Ledger, page: Page, prefect: Recorder
) -> None:
    """The number and the price are repeated, the filter is frozen, and a double click is one."""
    batch = failing(ledger, 5)
    link = retry_link(page.get(f"/page/batches/{batch}"), "Retry these 3")
    asked = page.get(link)
    assert "Retry 3 jobs (no price is set)?" in words(asked)
    assert "no price is set for video (ITTYBATCH_KIND_COSTS)" in words(asked)
    assert 'such as ITTYBATCH_KIND_COSTS={"video": 0.05}, and restart' in words(asked)
    assert re.search(r"Reason Could not fetch s3://\S+\.mov: HTTP 404 and alike", words(asked))
    fields = fields_of(asked)
    answers = [page.post(f"/page/batches/{batch}/retry", **fields) for _ in range(2)]
    [request] = prefect.asked.values()
    assert request["deployment"] == "run-batch/retry-failed"
    source = request["parameters"]["source"]
    assert source["batch"] == batch
    assert source["alike"] == "Could not fetch …: HTTP 404"
    assert source["states"] == ["failed"]
    assert source["skip_retried"] is True
    assert datetime.fromisoformat(source["recorded_before"]) <= datetime.now(UTC)
    assert source["most_jobs"] == 3, "the number that was confirmed"
    run = request["idempotency_key"][-36:]
    assert page.told(answers[0]) == "Done: Asked for 3 jobs to be made again. How far it is"
    # A run that ends without a batch says so there.
    follow = f'href="/page/new/started/{run}"'
    assert follow in page.get(answers[0].headers["location"]).partition("<main")[0]
    assert follow in page.get(f"/page/batches/{batch}").partition("<main")[2]
    text = words(page.get(f"/page/batches/{batch}"))
    assert "Retry these 3" not in text
    assert "Retry asked for" in text
    assert "It waits for a worker." in text
    assert "Retry this job (" in text, "of another reason, and not asked for"
    assert "retry by someone on this machine (page)" in text
    assert "Its batch begins when a worker starts the flow run." in text
    again = {"type": "failed", "batch": batch}
    made = library.new_batch(ledger, flow_run_id=run, source=again).id
    shown = page.get(f"/page/batches/{batch}")
    assert f'<br><a href="/page/batches/{made}">Its batch {made}' in shown
    assert follow not in shown.partition('id="done"')[2]
    # The batch that it began names what it was begun by.
    text = words(page.get(f"/page/batches/{made}"))
    assert "retry by someone on this machine (page)" in text
    assert f"for failures of batch {batch}" in text


@pytest.mark.parametrize("ended", [timedelta(hours=-1), timedelta(hours=1)], ids=str)
def test_what_is_confirmed_is_what_is_paid(
    ledger: Ledger, page: Page, prefect: Recorder, ended: timedelta
) -> None:
    """Webhooks that come late, with ends before the confirmation, add nothing to it.

    Nor does a clock of Ittybit that is ahead of the ledger's hide what had failed before.
    """
    batch, task = submitted(ledger, 5)
    at = datetime.now(UTC) + ended

    def fail(*numbers: int) -> None:
        reports = [library.failed(f"{task}-{n}", "invalid_input", "no film") for n in numbers]
        ledger.write(settle, [replace(each, finished_at=at) for each in reports])

    fail(0)
    asked = page.get(retry_link(page.get(f"/page/batches/{batch}"), "Retry this job"))
    fields = fields_of(asked)
    fail(1, 2)
    assert page.told(page.post(f"/page/batches/{batch}/retry", **fields)).startswith(
        "Done: Asked for 1 job "
    )
    [request] = prefect.asked.values()
    fail(3)
    source = FailedJobsSource.model_validate(request["parameters"]["source"])
    assert len(library.rows(ledger, plan_retry(ledger, batch, source))) == 1
    everything = source.model_copy(update={"recorded_before": None, "most_jobs": 2})
    assert len(library.rows(ledger, plan_retry(ledger, batch, everything))) == 2


def test_a_number_above_the_confirmed_one_is_asked_again(
    ledger: Ledger, page: Page, prefect: Recorder
) -> None:
    """Nothing is started, and the page shows the new number; so it is for a form without one."""
    batch = failing(ledger, 4)
    link = f"/page/batches/{batch}/retry"
    fields = fields_of(page.get(f"{link}?state=failed"))
    for changed in ({"expected": "2"}, {"expected": ""}):
        answer = page.post(link, **{**fields, **changed})
        assert "Not done: 3 jobs can be made again by now, and" in page.told(answer)
        assert "Retry 3 jobs (" in words(page.get(answer.headers["location"]))
    assert prefect.asked == {}


def test_what_a_later_batch_has_taken_up_is_not_offered(
    ledger: Ledger, page: Page, prefect: Recorder
) -> None:
    """A second tab that still shows the button is told, and nothing is started."""
    batch = failing(ledger, 4)
    html = page.get(f"/page/batches/{batch}")
    everything = retry_link(html, "Retry all that failed")
    assert "Retry 3 jobs" in words(page.get(everything))
    fields = fields_of(page.get(everything))
    later = plan_retry(ledger, batch)
    html = page.get(f"/page/batches/{batch}")
    text = words(html)
    assert text.count(f"Taken up by batch {later}") == 2
    assert f'href="/page/batches/{later}"' in html
    of_batch = f'failed jobs of <a href="/page/batches/{batch}">'
    assert of_batch in page.get(f"/page/batches/{later}")
    assert "Retry" not in text
    assert "There is nothing to retry" in words(page.get(everything))
    told = page.told(page.post(f"/page/batches/{batch}/retry", **fields))
    assert "Not done: There is nothing to retry" in told
    assert prefect.asked == {}
    page.post(f"/page/batches/{batch}/retry", 400, state="succeeded")
    page.post(f"/page/batches/{batch}/retry", 400, before="yesterday evening")


def test_a_nul_in_an_address_or_a_form_is_no_error(
    ledger: Ledger, page: Page, prefect: Recorder
) -> None:
    """Postgres refuses it in text."""
    batch = failing(ledger, 1)
    page.get("/page/actions?batch=%00b&actor=%00a")
    at = f"/page/batches/{batch}/retry"
    assert "There is nothing to retry" in words(page.get(f"{at}?alike=%00x&before="))
    page.post(at, alike="\x00x")
    assert prefect.asked == {}


def test_the_same_retry_planned_twice_pays_once(ledger: Ledger) -> None:
    """Also after the first has failed again in a way that would free its claims."""
    batch = failing(ledger, 4)
    first = plan_retry(ledger, batch)
    assert len(library.rows(ledger, first)) == 3
    assert library.rows(ledger, plan_retry(ledger, batch)) == []
    chunk = library.released_chunk(ledger, first)
    library.accept(ledger, ledger.write(claim_due, chunk, 10), prefix=first)
    ledger.write(settle, [library.failed(f"{first}-{n}", "x", "no such file") for n in range(3)])
    assert library.rows(ledger, plan_retry(ledger, batch)) == []
