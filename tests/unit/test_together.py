"""Calls that share a round trip: each gets its own answer, and nobody pays for another's fault."""

import asyncio
from collections.abc import Sequence

import pytest

from pipeline.errors import Rejected, Unavailable
from pipeline.together import Together, once_for_all


class Doubled:
    """Doubles numbers, as long as it is held, and refuses a batch with -1 in it; ``away`` it is not there."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.away = False

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        await self.go.wait()
        if self.away:
            raise Unavailable("postgres", "gone")
        if -1 in numbers:
            raise Rejected("-1")
        return [2 * number for number in numbers]


async def test_what_comes_meanwhile_goes_together() -> None:
    """The first goes alone at once; all that come while it is under way share the next call, and keep their answers."""
    work = Doubled()
    double = Together(work)
    first = asyncio.create_task(double(1))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(double(number)) for number in range(2, 150)]
    await asyncio.sleep(0.01)
    assert work.batches == [[1]]
    work.go.set()
    assert await asyncio.gather(first, *others) == [2 * number for number in range(1, 150)]
    assert [len(batch) for batch in work.batches] == [1, 100, 48]
    assert await double(7) == 14  # it rests, and begins again


async def test_one_that_is_bad_spoils_no_other() -> None:
    """A batch that is refused is tried again one by one; only the bad one's caller is told."""
    work = Doubled()
    double = Together(work)
    work.go.set()
    told = await asyncio.gather(*(double(number) for number in (12, -1, 14)), return_exceptions=True)
    assert [told[0], told[2]] == [24, 28]
    assert isinstance(told[1], Rejected)
    assert work.batches == [[12, -1, 14], [12], [-1], [14]]


async def test_an_outage_is_everybodys_and_asked_once() -> None:
    """Who asks again decides for itself when."""
    work = Doubled()
    double = Together(work)
    work.go.set()
    work.away = True
    told = await asyncio.gather(*(double(number) for number in (1, 2)), return_exceptions=True)
    assert [type(found) for found in told] == [Unavailable, Unavailable]
    assert work.batches == [[1, 2]]
    work.away = False
    assert await double(3) == 6


async def test_who_stops_waiting_takes_nobody_along() -> None:
    """One that is cancelled before its turn is not asked for; one cancelled under way leaves the others' answers."""
    work = Doubled()
    double = Together(work)
    running = asyncio.create_task(double(1))
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(double(number)) for number in (2, 3)]
    await asyncio.sleep(0.01)
    running.cancel()
    waiting[0].cancel()
    await asyncio.sleep(0.01)
    work.go.set()
    assert await waiting[1] == 6
    assert work.batches == [[1], [3]]
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_equal_questions_are_asked_once_and_no_answer_is_older_than_its_question() -> None:
    """What comes while one is under way shares the next, which looks again; other questions are asked by themselves."""
    asked: list[str] = []
    go = asyncio.Event()

    async def look(question: str) -> int:
        asked.append(question)
        await go.wait()
        return len(asked)

    look_for_all = once_for_all(look)
    first = asyncio.create_task(look_for_all("a"))
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(look_for_all(question)) for question in "aabaab"]
    await asyncio.sleep(0.01)
    assert asked == ["a"]
    go.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2, 2, 3, 2, 2, 3]
    assert asked == ["a", "a", "b"]
