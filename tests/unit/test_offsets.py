"""The committable offset, against a model that is too simple to be wrong."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.offsets import Progress, TrackedConsumer, check_version

Steps = st.lists(st.tuples(st.sampled_from(["deliver", "finish"]), st.integers(0, 11), st.integers(1, 4)), max_size=60)


@given(Steps, st.integers(0, 1000))
def test_nothing_unfinished_is_ever_behind_the_commit(steps: list[tuple[str, int, int]], start: int):
    """Whatever the order of finishing, and with gaps in the offsets, all below the committable offset is finished."""
    progress = Progress()
    delivered: list[int] = []
    finished: set[int] = set()
    following = start
    for step, which, gap in steps:
        if step == "deliver":
            delivered.append(following)
            progress.deliver(following)
            following += gap
        elif delivered:
            offset = delivered[which % len(delivered)]
            finished.add(offset)
            progress.finish(offset)
        unfinished = [offset for offset in delivered if offset not in finished]
        expected = min(unfinished) if unfinished else (delivered[-1] + 1 if delivered else None)
        assert progress.committable == expected


def test_a_redelivered_event_holds_the_commit_back_again():
    """After a seek to an earlier offset, what was delivered again must be finished again."""
    progress = Progress()
    for offset in (5, 6, 7):
        progress.deliver(offset)
        progress.finish(offset)
    assert progress.committable == 8
    progress.deliver(6)
    assert progress.committable == 6
    progress.finish(6)
    assert progress.committable == 8


def test_the_first_event_counts_before_anything_was_committed():
    """A slow first event of a fresh partition is not passed over (Faust's second hole)."""
    progress = Progress()
    progress.deliver(0)
    progress.deliver(1)
    progress.finish(1)
    assert progress.committable == 0


def test_the_head_of_the_line_is_not_one_off():
    """With 10 unfinished and 11 done, 10 is committed, not 12 (Faust's first hole)."""
    progress = Progress()
    progress.deliver(10)
    progress.deliver(11)
    progress.finish(11)
    assert progress.committable == 10


def test_the_installed_faust_is_the_one_the_tracker_was_written_for():
    check_version()


async def raced(delivery: Any, stopped: asyncio.Event) -> Any:
    consumer = object.__new__(TrackedConsumer)
    consumer._stopped, consumer._crashed = asyncio.Event(), asyncio.Event()
    consumer.loop = asyncio.get_running_loop()
    return await consumer.wait_first(delivery, stopped.wait())


async def test_a_delivery_that_waits_for_nothing_is_no_race():
    """Its value is there at once, its error too, and the other side was never begun."""

    async def delivered() -> str:
        return "delivered"

    async def broken() -> None:
        raise ZeroDivisionError

    assert (await raced(delivered(), asyncio.Event())).results == ["delivered"]
    with pytest.raises(ZeroDivisionError):
        await raced(broken(), asyncio.Event())


@pytest.mark.parametrize("steps", [1, 3])
async def test_a_delivery_that_waits_goes_on_where_it_was(steps: int):
    """Begun by hand, it is raced from its first wait on; what it waits for, and errors, reach it."""
    seen: list[int] = []

    async def delivered() -> str:
        for step in range(steps):
            await asyncio.sleep(0.01 if step else 0)
            seen.append(step)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        return "delivered"

    assert (await raced(delivered(), asyncio.Event())).results == ["delivered"]
    assert seen == list(range(steps))


async def test_a_stop_ends_a_delivery_that_waits():
    """What waits for room in a stream is cancelled, and closes what it holds."""
    closed = asyncio.Event()

    async def delivered() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    stopped = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, stopped.set)
    await raced(delivered(), stopped)
    async with asyncio.timeout(1):
        await closed.wait()
