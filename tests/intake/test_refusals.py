"""What is wrong with a request is answered with its field, and nothing of it is stored."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ittybatch.engine.options import RunOptions
from ittybatch.errors import ConfigurationError
from ittybatch.intake.intake import Intake, RequestRefused, Taken, TaskSpec, Wanted
from ittybatch.ledger import Ledger
from ittybatch.profiles import Item
from ittybatch.settings import Settings
from tests.intake import harness
from tests.intake.harness import by_kind, by_profile, take

WEB_URL = "https://example.com/a.mov"


def _refused(ledger: Ledger, settings: Settings, wanted: Wanted) -> RequestRefused:
    with pytest.raises(RequestRefused) as refused:
        take(ledger, settings, wanted)
    assert harness.batches(ledger) == []
    assert refused.value.remedy
    return refused.value


def _answers(ledger: Ledger, settings: Settings, *wanted: Wanted) -> list[Taken | BaseException]:
    """The answers to requests that come at the same time."""

    async def work(intake: Intake) -> list[Taken | BaseException]:
        answers = (intake.take(each, answer_within_s=5) for each in wanted)
        return list(await asyncio.gather(*answers, return_exceptions=True))

    return harness.run(ledger, settings, work)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (by_profile("a.mov", profile="nightly"), "profile"),
        (by_profile("a.mov", profile="../web"), "profile"),
        (by_profile("a.txt", profile="web"), "profile"),
        (by_kind("a.mov", kind="hologram"), "kind"),
        (by_kind("a.mov", options={"height": -1}), "options.height"),
        (by_kind("a.mov", options={"colour": "red"}), "options.colour"),
        (Wanted(Item(WEB_URL)), "tasks"),
        (Wanted(Item(WEB_URL), tasks=[TaskSpec("video")] * 101), "tasks"),
        (Wanted(Item(WEB_URL), tasks=[TaskSpec("video"), TaskSpec("x")]), "tasks[1].kind"),
        (by_kind("a.mov", metadata={"ittybatch_job_key": "x"}), "metadata"),
        (by_kind("a.mov", metadata={"a b": "x"}), "metadata"),
        (by_kind("a.mov", metadata={"a": object()}), "metadata"),
        (by_kind("a.mov", metadata={"a": "\ud800"}), "metadata"),
        (by_kind("a.mov", metadata={"a": "x" * 20_000}), "metadata"),
        (by_kind("a.mov", metadata={f"n{n}": n for n in range(40)}), "metadata"),
        (Wanted(Item("http://169.254.169.254/latest"), tasks=[TaskSpec("video")]), "url"),
        (Wanted(Item("file:///etc/passwd"), tasks=[TaskSpec("video")]), "url"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_request_is_refused_with_its_field(
    ledger: Ledger, settings: Settings, wanted: Wanted, field: str
) -> None:
    """422, what is wrong, and what to send instead."""
    refused = _refused(ledger, settings, wanted)
    assert (refused.status, refused.field) == (422, field)


def test_nested_values_are_bounded(ledger: Ledger, settings: Settings) -> None:
    """A body nested a thousand times deep is no reason to fail."""
    deep: Any = "x"
    for _ in range(2000):
        deep = [deep]
    assert _refused(ledger, settings, by_kind("a.mov", metadata={"a": deep})).field == "metadata"


def test_a_request_that_breaks_a_commit_spoils_no_other(ledger: Ledger, settings: Settings) -> None:
    """Postgres takes no NUL in text: the others of the group are taken one by one."""
    broken = Wanted(Item("s3://media/b.mov", fingerprint="\x00"), tasks=[TaskSpec("video")])
    _, good = _answers(ledger, settings, broken, by_kind("b.mov"))
    assert isinstance(good, Taken)
    assert good.jobs[0].task_id is not None


def test_a_profile_without_renditions_for_the_item_says_so(
    ledger: Ledger, settings: Settings
) -> None:
    """The caller can tell it from success."""
    refused = _refused(ledger, settings, by_profile("notes.txt"))
    assert "leave it out" in refused.message
    assert "s3://media/notes.txt" in refused.message
    # `kind` beside `profile` would be refused, too.
    assert "`kind` instead of `profile`" in str(refused.remedy)


def test_a_destination_of_another_item_is_refused_with_names(
    ledger: Ledger, settings: Settings
) -> None:
    """Other requests of the same group are taken."""
    [first] = take(ledger, settings, by_profile("one/a.mov", profile="stored"))
    assert first.jobs[0].created

    refused, taken = _answers(
        ledger,
        settings,
        by_profile("two/a.mov", profile="stored"),
        by_profile("two/b.mov", profile="stored"),
    )
    assert isinstance(refused, RequestRefused)
    assert refused.status == 409
    for name in ("s3://media/two/a.mov", "s3://out/a.mp4", "s3://media/one/a.mov"):
        assert name in refused.message
    assert isinstance(taken, Taken)
    assert len(harness.jobs(ledger)) == 2


def test_secrets_of_a_url_are_not_repeated(ledger: Ledger, settings: Settings) -> None:
    """A signature grants access to anyone who reads the log."""
    item = Item("https://example.com/a.txt?X-Amz-Signature=abc123")
    refused = _refused(ledger, settings, Wanted(item, profile="web"))
    assert "abc123" not in str(refused)


def test_a_changed_profile_opens_a_new_batch(ledger: Ledger, settings: Settings) -> None:
    """At once: a receiver runs for weeks. What is the same in both is not made again."""

    async def work(intake: Intake) -> None:
        await intake.take(by_profile("a.mov"), answer_within_s=5)
        text = harness.WEB.replace("1080", "2160")
        (settings.profiles_dir / "web.yaml").write_text(text)
        await asyncio.sleep(1.1)
        await intake.take(by_profile("a.mov"), answer_within_s=5)

    harness.run(ledger, settings, work)
    old, new = harness.batches(ledger)
    assert old.profile["renditions"][0]["options"] == {"height": 1080}
    assert new.profile["renditions"][0]["options"] == {"height": 2160}
    assert [job.rendition for job in harness.jobs(ledger)] == ["hd", "sd", "sound", "hd"]


def test_a_broken_or_removed_profile_is_refused(
    ledger: Ledger, settings: Settings, tmp_path: Path
) -> None:
    """With the problem and its line; correcting the file is enough."""
    path = tmp_path / "profiles" / "web.yaml"
    path.write_text("renditions:\n  - {name: hd, kind: vidoe}\n")
    assert "line 2" in str(_refused(ledger, settings, by_profile("a.mov")))
    path.unlink()
    assert _refused(ledger, settings, by_profile("a.mov")).field == "profile"
    path.write_text(harness.WEB)
    assert take(ledger, settings, by_profile("a.mov"))[0].jobs[0].created


def test_options_that_make_no_sense_for_requests_are_refused(
    ledger: Ledger, settings: Settings
) -> None:
    """At the start, with their names."""
    with pytest.raises(ConfigurationError, match=r"web.*canary_items, dry_run"):
        Intake(ledger, settings, {"web": RunOptions(dry_run=True, canary_items=5)})
    options = {"web": RunOptions(max_submissions=10, priority="high", submit_per_s=5)}
    take(ledger, settings, by_profile("a.mov"), options=options)
    assert harness.batches(ledger)[0].options == {
        "max_submissions": 10,
        "priority": "high",
        "submit_per_s": 5.0,
    }
