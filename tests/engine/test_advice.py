"""Advice: what to do about failed jobs depends on why they failed."""

import shlex
from typing import Any

import pytest

from ittybatch.engine.advice import Outlook, advise, outlook
from ittybatch.ledger import Ledger
from ittybatch.ledger.results import failure_reasons
from ittybatch.ledger.retrying import RetryFilter, ended_jobs
from ittybatch.ledger.settlement import settle
from tests.ledger import library


def _reason(
    message: str | None, kind: str | None = None, *, state: str = "failed", jobs: int = 1
) -> dict[str, Any]:
    return {"state": state, "error_kind": kind, "error_message": message, "jobs": jobs}


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        (_reason("could not decode", "invalid_input"), Outlook.WOULD_FAIL_AGAIN),
        (_reason("Access Denied"), Outlook.WOULD_FAIL_AGAIN),
        (_reason("encoder was preempted", "internal_error"), Outlook.PASSING),
        (_reason("fetching it returned 503", "invalid_input"), Outlook.PASSING),
        (_reason(None), Outlook.PASSING),
        (_reason("No end was heard of", "deadline_passed", state="expired"), Outlook.UNKNOWN_END),
        (_reason("Cancelled by x.", "cancelled", state="cancelled"), Outlook.CANCELLED),
    ],
)
def test_each_failure_has_its_outlook(reason: dict[str, Any], found: Outlook) -> None:
    """By the same judgement that decides on attempts."""
    assert outlook(reason) is found


def test_what_would_fail_again_is_to_be_mended_first() -> None:
    """A retry of it alone would be billed for nothing."""
    [told] = advise("b1", [_reason("could not decode", "invalid_input", jobs=3)])
    assert told.startswith("3 jobs would fail again, and be billed again. Fix")
    assert told.index("Fix") < told.index("ittybatch retry b1 --state failed --reason")


def test_what_may_pass_is_sent_again() -> None:
    """With one plain command, where nothing else failed."""
    [told] = advise("b1", [_reason("preempted", "internal_error"), _reason("timeout")])
    assert told.endswith("Send them again: `ittybatch retry b1 --state failed`")


def test_of_expired_jobs_ittybit_is_asked_first() -> None:
    """They may have been made and billed."""
    [told] = advise("b1", [_reason("No end", "deadline_passed", state="expired", jobs=2)])
    assert "asks Ittybit first" in told
    assert told.endswith("`ittybatch retry b1 --state expired`")


def test_a_mixed_batch_gets_a_command_for_each_that_touches_no_other(ledger: Ledger) -> None:
    """The command's words find exactly the jobs that it is given for."""
    names = ("a.mov", "b.mov", "c.mov")
    chunk, _ = library.submitted(ledger, *(library.job(name, attempts=1) for name in names))
    batch = library.place(ledger, chunk).batch_id
    said = ("it's 'invalid' $(rm)", "the `encoder` was preempted", "it's 'invalid' $(rm)")
    kinds = ("invalid_input", "internal_error", "invalid_input")
    failures = [
        library.failed(f"task-{number}", kind, message)
        for number, (kind, message) in enumerate(zip(kinds, said, strict=True))
    ]
    ledger.write(settle, failures)
    passing, lasting = advise(batch, ledger.read(failure_reasons, batch))
    for told, wanted in ((passing, ["b.mov"]), (lasting, ["a.mov", "c.mov"])):
        command = shlex.split(told.rpartition(": `")[2].removesuffix("`"))
        assert command[:5] == ["ittybatch", "retry", batch, "--state", "failed"]
        found = ledger.read(
            ended_jobs, RetryFilter(batch, ["failed"], reason=command[6]), after=0, limit=10
        )
        assert [each.item.uri.rpartition("/")[2] for each in found] == wanted


def test_many_reasons_are_not_all_spelt_out() -> None:
    """Three commands show how it goes."""
    reasons = [_reason(f"malformed box {number}") for number in range(9)]
    [told] = advise("b1", reasons)
    assert told.count("ittybatch retry") == 3
    assert "6 more reasons" in told
