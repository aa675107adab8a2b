"""`GET /jobs`: filters, order and pages."""

from collections.abc import Iterator

import pytest

from tests.sandbox.harness import Running, running


@pytest.fixture(scope="module")
def filled() -> Iterator[tuple[Running, list[str]]]:
    """A sandbox with 25 jobs, oldest first: every fifth is an image, all have ended."""
    with running(instant=True) as sandbox:
        ids = [
            sandbox.create(input=f"s3://library/{n}.mp4", kind="image" if n % 5 == 0 else "video")
            for n in range(25)
        ]
        sandbox.post({"kind": "probe", "input": {"url": "https://example.com/a"}}, path="/tasks")
        for job_id in ids:
            sandbox.ended(job_id)
        yield sandbox, ids


def listed(sandbox: Running, query: str) -> list[str]:
    answer = sandbox.client.get(f"/jobs?{query}")
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()]


def test_the_newest_twenty_come_first(filled: tuple[Running, list[str]]) -> None:
    """Standalone tasks are not jobs and do not appear."""
    sandbox, ids = filled
    assert listed(sandbox, "") == ids[:4:-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_following_the_links_visits_every_job_once(
    filled: tuple[Running, list[str]], order: str
) -> None:
    """`Has-More` turns false on the last page, which has no link."""
    sandbox, ids = filled
    url, seen, pages = f"/jobs?limit=10&order={order}", list[str](), 0
    while url:
        answer = sandbox.client.get(url)
        assert answer.headers["limit"] == "10"
        seen += [job["id"] for job in answer.json()]
        url = answer.links["next"]["url"] if answer.headers["has-more"] == "true" else ""
        assert ("next" in answer.links) == bool(url)
        pages += 1
    assert seen == (ids if order == "asc" else ids[::-1])
    assert pages == 3


def test_after_and_before_are_relative_to_the_order(filled: tuple[Running, list[str]]) -> None:
    """After continues a listing, before goes back to what came earlier in it."""
    sandbox, ids = filled
    assert listed(sandbox, f"order=asc&after={ids[2]}&limit=2") == ids[3:5]
    assert listed(sandbox, f"order=asc&before={ids[2]}") == ids[:2]
    assert listed(sandbox, f"after={ids[2]}") == [ids[1], ids[0]]
    assert listed(sandbox, f"before={ids[22]}") == [ids[24], ids[23]]


def test_filters_narrow_a_listing(filled: tuple[Running, list[str]]) -> None:
    """By kind, by status, by the exact input, and by all at once."""
    sandbox, ids = filled
    assert listed(sandbox, "kind=image&order=asc") == ids[::5]
    assert listed(sandbox, "status=failed") == []
    assert listed(sandbox, "input=s3://library/7.mp4") == [ids[7]]
    assert listed(sandbox, "input=s3://library/7.mp4&kind=image") == []
    assert listed(sandbox, "input=s3://library/&status=succeeded") == []
    assert listed(sandbox, f"kind=image&order=asc&limit=2&after={ids[5]}") == [ids[10], ids[15]]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "order=up", "kind=film", "status=done", "after=task_x"],
)
def test_a_wrong_parameter_is_named(filled: tuple[Running, list[str]], query: str) -> None:
    """The answer is 400 and begins with the parameter's name."""
    answer = filled[0].client.get(f"/jobs?{query}")
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(query.partition("=")[0] + ": ")
