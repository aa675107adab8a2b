"""Regions that many viewers ask for at once are made once, and never show less than is true."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ittybatch.page.access import Viewer
from ittybatch.page.sharing import SharedRegions

ANN = Viewer("ann", may_act=True)


class Slow:
    """A page whose answers tell how many were begun before them; each takes a moment."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.most_at_once = 0
        self.fails = False
        self.has_begun = asyncio.Event()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.begun += 1
        self.has_begun.set()
        number = self.begun
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.02)
        self.at_once -= 1
        if self.fails:
            raise LookupError(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(number).encode()})


@pytest.fixture
def page() -> Slow:
    return Slow()


def _asking(page: Slow) -> Callable[..., Coroutine[Any, Any, int]]:
    """A function that asks the shared page for a path, and returns what the answer tells."""
    shared = SharedRegions(page)

    async def ask(
        path: str = "/page/regions/batches",
        viewer: Viewer = ANN,
        query: bytes = b"",
        method: str = "GET",
    ) -> int:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [],
            "state": {"viewer": viewer},
        }
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        await shared(scope, receive, send)
        return int(sent[-1]["body"])

    return ask


def test_who_asks_at_the_same_time_shares_one_answer(page: Slow) -> None:
    async def scenario() -> list[int]:
        ask = _asking(page)
        return await asyncio.gather(*(ask() for _ in range(50)))

    assert asyncio.run(scenario()) == [1] * 50


def test_who_asks_while_a_region_is_made_gets_the_next_one(page: Slow) -> None:
    """The one in the making may not have what they have just been told of."""

    async def scenario() -> list[int]:
        ask = _asking(page)
        first = asyncio.create_task(ask())
        await page.has_begun.wait()
        later = await asyncio.gather(ask(), ask())
        return [await first, *later]

    assert asyncio.run(scenario()) == [1, 2, 2]


def test_only_the_same_address_for_the_same_viewer_is_shared(page: Slow) -> None:
    """One who may only look sees no buttons. Regions take turns."""
    looks = Viewer("ann", may_act=False)

    async def scenario() -> list[int]:
        ask = _asking(page)
        asked = [ask(), ask(viewer=looks), ask(viewer=Viewer("bob", may_act=True))]
        asked += [ask(query=b"q=1"), ask(path="/page/regions/health")]
        return await asyncio.gather(*asked)

    assert sorted(asyncio.run(scenario())) == [1, 2, 3, 4, 5]
    assert page.most_at_once == 1


def test_pages_and_forms_are_answered_one_by_one_at_once(page: Slow) -> None:
    async def scenario() -> list[int]:
        ask = _asking(page)
        pages = [ask(path="/page/"), ask(path="/page/")]
        return await asyncio.gather(*pages, ask(method="POST"))

    assert sorted(asyncio.run(scenario())) == [1, 2, 3]
    assert page.most_at_once == 3


def test_one_who_leaves_takes_nothing_from_the_others_and_a_failure_is_told_to_all(
    page: Slow,
) -> None:
    async def leaves() -> int:
        ask = _asking(page)
        first, second = asyncio.create_task(ask()), asyncio.create_task(ask())
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(leaves()) == 1
    page.fails = True

    async def fails() -> list[object]:
        ask = _asking(page)
        failed = await asyncio.gather(ask(), ask(), return_exceptions=True)
        page.fails = False
        return [*failed, await ask()]

    told = asyncio.run(fails())
    assert [type(each) for each in told] == [LookupError, LookupError, int]


def test_a_region_that_waits_for_something_else_lets_the_others_go_on(
    page: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that does not answer, for instance."""
    monkeypatch.setattr("ittybatch.page.sharing._MOST_TURN_S", 0.001)
    monkeypatch.setattr("ittybatch.page.sharing._MOST_REST_S", 0.0)

    async def scenario() -> None:
        ask = _asking(page)
        await asyncio.gather(*(ask(query=b"%d" % number) for number in range(5)))

    asyncio.run(scenario())
    assert page.most_at_once > 1
