"""Looking up and listing jobs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from ittybatch.ittybit.errors import InvalidRequest, NotFound, UnreadableAnswer
from ittybatch.ittybit.job import JobStatus
from tests.ittybit import samples
from tests.ittybit.api import DROP, JOB, Api, api, pages, reply


def listed(
    *replies: bytes,
    **query: Any,  # noqa: ANN401 - the arguments of list_jobs
) -> tuple[list[str], Api]:
    async def main() -> tuple[list[str], Api]:
        async with api(*replies) as answering, answering.client() as ittybit:
            return [job.id async for job in ittybit.list_jobs(**query)], answering

    return asyncio.run(main())


def many(*ids: str) -> list[dict[str, Any]]:
    return [{**JOB, "id": job_id} for job_id in ids]


def test_a_job_is_looked_up_by_its_id() -> None:
    """After a connection that broke."""

    async def main() -> None:
        async with api(DROP, reply(200, samples.GET_JOB)) as answering:
            async with answering.client() as ittybit:
                job = await ittybit.get_job("job_abc123")
            assert job.status is JobStatus.SUCCEEDED
            assert answering.seen[-1].method == "GET"
            assert answering.seen[-1].target == "/jobs/job_abc123"

    asyncio.run(main())


def test_a_job_that_is_not_there_is_not_found() -> None:
    """At once; asking again would not make it."""

    async def main() -> None:
        refusal = reply(404, {"kind": "job_not_found", "message": "No such job"})
        async with api(refusal) as answering, answering.client() as ittybit:
            with pytest.raises(NotFound, match="job_not_found"):
                await ittybit.get_job("job_abc123")
            assert len(answering.seen) == 1

    asyncio.run(main())


@pytest.mark.parametrize("job_id", ["a/../b", "a?b=c", "a#b", "é", "a b", "a%2Fb"])
def test_an_odd_id_stays_one_part_of_the_path(job_id: str) -> None:
    """Ids are opaque, and come from outside."""

    async def main() -> None:
        async with api(reply(200, JOB)) as answering, answering.client() as ittybit:
            await ittybit.get_job(job_id)
            target = answering.seen[0].target
            assert target.startswith("/jobs/")
            assert target.count("/") == 2
            assert not set("?# ") & set(target)

    asyncio.run(main())


@pytest.mark.parametrize("job_id", ["", ".", "..", "x" * 256])
def test_an_id_that_can_be_no_id_is_not_asked_for(job_id: str) -> None:
    """`..` would be another address."""

    async def main() -> None:
        async with api(reply(200, JOB)) as answering, answering.client() as ittybit:
            with pytest.raises(InvalidRequest):
                await ittybit.get_job(job_id)
            assert answering.seen == []

    asyncio.run(main())


def test_a_list_is_walked_by_cursor_until_a_short_page() -> None:
    """Each page starts after the last job of the one before."""
    ids, answering = listed(*pages(["a", "b"], ["c", "d"], ["e"]), page_size=2)
    assert ids == ["a", "b", "c", "d", "e"]
    assert [request.query.get("after") for request in answering.seen] == [None, "b", "d"]
    assert {request.query["limit"] for request in answering.seen} == {"2"}


def test_filters_arrive_as_they_were_given() -> None:
    """Whatever characters an address holds."""
    address = "s3://bucket/a b&c=d+e%20#f?é/1.mov"
    _, answering = listed(reply(200, []), kind="video", status="failed", input=address, order="asc")
    assert answering.seen[0].query == {
        "kind": "video",
        "status": "failed",
        "input": address,
        "order": "asc",
        "limit": "100",
    }


def test_an_empty_list_has_ended() -> None:
    """So has one whose last page was exactly full."""
    assert listed(reply(200, []))[0] == []
    ids, answering = listed(*pages(["a", "b"], []), page_size=2)
    assert ids == ["a", "b"]
    assert len(answering.seen) == 2


@pytest.mark.parametrize("key", ["data", "jobs", "items"])
def test_a_list_may_be_wrapped(key: str) -> None:
    """Ittybit does not document the body of a list."""
    assert listed(reply(200, {"meta": {}, key: many("a", "b")}))[0] == ["a", "b"]


def test_a_full_page_can_be_the_last() -> None:
    """`Has-More: false` says so."""
    ids, answering = listed(reply(200, many("a", "b"), {"Has-More": "false"}), page_size=2)
    assert ids == ["a", "b"]
    assert len(answering.seen) == 1


def test_a_short_page_can_have_more() -> None:
    """`Has-More: true` says so, and so does a `Limit` below what was asked for."""
    for header in ({"Has-More": "true"}, {"Limit": "2"}):
        first = reply(200, many("a", "b"), header)
        assert listed(first, reply(200, many("c"), {"Limit": "2"}))[0] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "answers",
    [
        [["a", "b"]],
        [["a", "b"], ["b", "a"]],
        [["a", "b"], ["c", "d"], ["a", "b"], ["c", "d"], ["a", "b"]],
    ],
)
def test_a_server_without_cursors_ends_the_list(answers: Sequence[Sequence[str]]) -> None:
    """It repeats earlier pages; no job is listed twice, and the listing ends."""
    ids, answering = listed(*pages(*answers), page_size=2)
    assert sorted(ids) == sorted({job_id for page in answers for job_id in page})
    assert len(answering.seen) <= 4


def test_a_cursor_that_is_given_again_is_skipped() -> None:
    """Some servers start a page with the cursor itself."""
    ids, _ = listed(*pages(["a", "b"], ["b", "c"], ["c"]), page_size=2)
    assert ids == ["a", "b", "c"]


def test_what_is_no_job_is_passed_over() -> None:
    """The rest of the page is still good."""
    assert listed(reply(200, [{**JOB, "id": "a"}, None, {"odd": 1}, 7]))[0] == ["a"]


@pytest.mark.parametrize("body", [b"<html>", {}, {"data": {}}, "text", [{}], [None]])
def test_what_is_no_list_is_unreadable(body: object) -> None:
    """A failed listing never counts as an empty one."""
    with pytest.raises(UnreadableAnswer):
        listed(reply(200, body))


@pytest.mark.parametrize("page_size", [0, 101])
def test_a_page_has_the_size_that_the_api_allows(page_size: int) -> None:
    """1 to 100."""
    with pytest.raises(InvalidRequest, match="1 to 100"):
        listed(reply(200, []), page_size=page_size)
