"""Every message meets exactly one fate."""

import asyncio
import sys
from collections.abc import Sequence
from functools import partial

import pytest
import structlog

from pipeline import settle as module
from pipeline.errors import Rejected, Unavailable
from pipeline.kafka import Message
from pipeline.settle import Allowance, Rejection, Turn, settle


def batch(count: int) -> list[Message]:
    return [Message("t", 0, offset, None, b"x", [], 0) for offset in range(count)]


class Graveyard:
    def __init__(self) -> None:
        self.letters: list[tuple[int, str, str]] = []

    async def bury(self, message: Message, reason: str, text: str) -> None:
        self.letters.append((message.offset, reason, text))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.002)


async def test_a_poisoned_message_costs_nobody_elses_fate():
    """Of five messages the third breaks the whole batch: it alone is dead-lettered, the others are done."""
    done: list[int] = []

    async def work(messages: Sequence[Message]) -> list[Rejection]:
        if any(message.offset == 2 for message in messages):
            raise Rejected("poison")
        done.extend(message.offset for message in messages)
        return []

    graves = Graveyard()
    await settle(batch(5), work, graves.bury)
    assert done == [0, 1, 3, 4]
    assert graves.letters == [(2, "rejected", "poison")]


async def test_a_bug_is_dead_lettered_as_a_bug():
    async def work(_: Sequence[Message]) -> list[Rejection]:
        raise ZeroDivisionError("oops")

    graves = Graveyard()
    await settle(batch(1), work, graves.bury)
    assert graves.letters == [(0, "bug", "ZeroDivisionError: oops")]


async def test_a_flood_of_bugs_does_not_drain_the_topic():
    """With three dead letters allowed, the fourth message waits, and is done once the stage is mended."""
    done: list[int] = []
    attempts = 0

    async def work(messages: Sequence[Message]) -> list[Rejection]:
        nonlocal attempts
        attempts += 1
        if attempts < 20:
            raise KeyError("a column that is not there")
        done.extend(message.offset for message in messages)
        return []

    graves = Graveyard()
    allowance = Allowance(3, seconds=3600)
    for message in batch(6):
        await settle([message], work, graves.bury, allowance)
    assert [offset for offset, _, _ in graves.letters] == [0, 1, 2]
    assert done == [3, 4, 5]


def test_an_allowance_grows_back_and_not_beyond_its_burst(monkeypatch: pytest.MonkeyPatch):
    """Two at once, one more every five seconds, and never more than two together."""
    now = 1000.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    allowance = Allowance(2, seconds=5)
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    now += 4
    assert not allowance.take()
    now += 1
    assert [allowance.take() for _ in range(2)] == [True, False]
    now += 3600
    assert [allowance.take() for _ in range(3)] == [True, True, False]


async def test_a_bug_that_waits_may_wait_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch):
    """Tried again more often than calls may be nested, a message is still done in the end."""
    monkeypatch.setattr(module, "LONGEST_WAIT", 0)
    monkeypatch.setattr(module, "log", structlog.testing.CapturingLogger())
    attempts = 0

    async def work(_: Sequence[Message]) -> list[Rejection]:
        nonlocal attempts
        attempts += 1
        if attempts <= 2 * sys.getrecursionlimit():
            raise KeyError("a column that is not there")
        return []

    graves = Graveyard()
    await settle(batch(1), work, graves.bury, Allowance(0, seconds=3600))
    assert attempts == 2 * sys.getrecursionlimit() + 1
    assert graves.letters == []


async def test_an_outage_is_waited_out_and_buries_nothing():
    """Unavailable five times, then well: done, and no dead letter."""
    attempts = 0

    async def work(_: Sequence[Message]) -> list[Rejection]:
        nonlocal attempts
        attempts += 1
        if attempts <= 5:
            raise Unavailable("postgres", "away")
        return []

    graves = Graveyard()
    await settle(batch(3), work, graves.bury)
    assert attempts == 6
    assert graves.letters == []


async def test_who_waits_asks_ever_less_often_and_as_the_server_says(monkeypatch: pytest.MonkeyPatch):
    """Twice as long each time, up to five seconds; where the server names a time, that."""
    monkeypatch.undo()
    waits: list[float] = []
    away = iter([None] * 7 + [30.0, None])

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def attempt() -> str:
        for retry_after in away:
            raise Unavailable("postgres", "away", retry_after)
        return "done"

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    assert await module.until_available(attempt) == "done"
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 30.0, 5.0]


async def test_a_dead_letter_waits_for_kafka_too():
    """While the dead letter topic is away nothing is dropped: it is written once Kafka is back."""
    failures = 3

    async def work(messages: Sequence[Message]) -> list[Rejection]:
        return [(messages[0], "bad")]

    graves = Graveyard()

    async def bury(message: Message, reason: str, text: str) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Unavailable("kafka", "away")
        await graves.bury(message, reason, text)

    await settle(batch(1), work, bury)
    assert graves.letters == [(0, "rejected", "bad")]


@pytest.mark.parametrize("trouble", ["none", "away", "poison", "away later"])
async def test_batches_that_overlap_are_counted_in_their_order(trouble: str):
    """Three batches at once: whatever befalls the first in its turn, what it counts comes before the others' is."""
    counted: list[int] = []
    failed: set[str] = set()

    def fails(when: str) -> bool:
        return trouble == when and when not in failed and not failed.add(when)

    async def work(messages: Sequence[Message], *, turn: Turn) -> list[Rejection]:
        async with turn(len(messages)):
            await asyncio.sleep(0.001)
            if messages[0].offset == 0 and fails("away"):
                raise Unavailable("postgres", "played")
            if trouble == "poison" and any(message.offset == 1 for message in messages):
                raise Rejected("poison")
            counted.extend(message.offset for message in messages)
        if messages[0].offset == 0 and fails("away later"):
            raise Unavailable("qdrant", "played")
        return []

    graves = Graveyard()
    before = asyncio.Event()
    before.set()
    async with asyncio.TaskGroup() as group:
        for start in (0, 3, 6):
            some = batch(9)[start : start + 3]
            passed = asyncio.Event()
            group.create_task(settle(some, partial(work, turn=Turn(before, passed, 3)), graves.bury)).add_done_callback(
                lambda _, passed=passed: passed.set()
            )
            before = passed
    in_order = [offset for offset in range(9) if not (trouble == "poison" and offset == 1)]
    assert [offset for number, offset in enumerate(counted) if offset not in counted[:number]] == in_order
    assert [letter[0] for letter in graves.letters] == ([1] if trouble == "poison" else [])


async def test_a_turn_is_over_when_all_of_its_batch_are_through():
    """What comes next waits for no more than that: while the first batch is at work after its turn, it has its own."""
    before, passed = asyncio.Event(), asyncio.Event()
    turn = Turn(before, passed, 3)
    waiting = asyncio.create_task(_through(turn, 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    before.set()
    await waiting
    with pytest.raises(Rejected):
        async with turn(1):
            raise Rejected("poison")
    await _through(turn, 1)
    assert not passed.is_set()
    await _through(turn, 1)
    assert passed.is_set()


async def _through(turn: Turn, records: int) -> None:
    async with turn(records):
        pass
