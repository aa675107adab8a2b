"""One limit of time for many pieces of work."""

import asyncio
import time

import pytest

from ittybatch.ittybit.deadline import Deadline


async def _after(wait_s: float) -> str:
    await asyncio.sleep(wait_s)
    return "done"


def test_work_that_ends_in_time_gives_its_result() -> None:
    """And leaves nothing behind that would hurt later work."""

    async def main() -> None:
        deadline = Deadline(0.2)
        assert await deadline.run(_after(0)) == "done"
        for _ in range(5):  # together longer than the limit, which is for each
            assert await deadline.run(_after(0.06)) == "done"
        deadline.close()

    asyncio.run(main())


def test_each_piece_of_work_has_the_whole_limit() -> None:
    """What began earlier expires earlier; what is quick does not expire."""

    async def main() -> tuple[str | BaseException, ...]:
        deadline = Deadline(0.3)

        async def begun(after_s: float, wait_s: float) -> str:
            await asyncio.sleep(after_s)
            return await deadline.run(_after(wait_s))

        return await asyncio.gather(
            begun(0, 30), begun(0.1, 0.25), begun(0.2, 30), begun(0.25, 0), return_exceptions=True
        )

    started = time.monotonic()
    first, second, third, fourth = asyncio.run(main())
    assert time.monotonic() - started < 5
    assert isinstance(first, TimeoutError)
    assert isinstance(third, TimeoutError)
    assert (second, fourth) == ("done", "done")


def test_a_timer_that_found_nothing_to_do_is_set_again() -> None:
    """For work that began after the first had ended."""

    async def main() -> None:
        deadline = Deadline(0.1)
        await deadline.run(_after(0))
        await asyncio.sleep(0.15)
        with pytest.raises(TimeoutError):
            await deadline.run(_after(30))
        with pytest.raises(TimeoutError):
            await deadline.run(_after(30))
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())


def test_somebody_elses_cancellation_stays_one() -> None:
    """Even where both come at the same time."""

    async def main() -> None:
        deadline = Deadline(0.05)
        task = asyncio.create_task(deadline.run(_after(30)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        both = asyncio.create_task(deadline.run(_stubborn()))
        await asyncio.sleep(0.1)
        both.cancel()
        with pytest.raises(asyncio.CancelledError):
            await both

    asyncio.run(main())


async def _stubborn() -> None:
    try:
        await asyncio.sleep(30)
    finally:
        await asyncio.sleep(30)


def test_an_outer_limit_is_its_owners() -> None:
    """It comes out where it was set."""

    async def main() -> None:
        deadline = Deadline(30)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await deadline.run(_after(30))
        assert await deadline.run(_after(0)) == "done"
        deadline.close()

    asyncio.run(main())


def test_the_works_own_error_comes_out() -> None:
    """Also where the limit was reached while it was cleaning up."""

    async def fails() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            raise ConnectionError from None

    async def main() -> None:
        deadline = Deadline(0.05)
        with pytest.raises(ConnectionError):
            await deadline.run(fails())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())
