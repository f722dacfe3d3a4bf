"""One message to one fate: done, or dead-lettered. The only retry loop of the worker, and its only broad catch.

- `Unavailable`: wait with capped backoff and try again, for as long as it takes; lag is the alarm.
- `Rejected`: bad input; dead letter with the reason.
- anything else is a bug: logged with its traceback, dead letter. Not too many at once, though: an outage that nobody
  has told apart from a bug must not drain a topic. Who is over `Allowance` waits, and tries again.

A batch that fails as a whole is settled one by one, so that one poisoned message costs nobody else's fate.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Protocol, TypeVar

import structlog

from pipeline.errors import Rejected, Unavailable
from pipeline.kafka import Message
from schemas import Reason

FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0
"""Seconds."""

T = TypeVar("T")
Rejection = tuple[Message, str]
Work = Callable[[Sequence[Message]], Awaitable[Sequence[Rejection]]]
"""A stage over a batch: returns the messages it rejects, raises for what concerns the whole batch."""
Bury = Callable[[Message, Reason, str], Awaitable[None]]


class Turn:
    """The order of batches that overlap: what must keep it is done inside ``async with``, which waits for those before.

    A batch that fails and is tried again, also record by record, keeps its place until all of it is through.
    """

    def __init__(self, before: asyncio.Event, passed: asyncio.Event, records: int) -> None:
        self._before = before
        self._passed = passed
        self._left = records

    @asynccontextmanager
    async def __call__(self, records: int) -> AsyncIterator[None]:
        """Take the turn for so many of the batch's records."""
        await self._before.wait()
        yield
        self._left -= records
        if self._left <= 0:
            self._passed.set()


class WorkInTurn(Protocol):
    """A stage over batches that overlap."""

    def __call__(self, messages: Sequence[Message], /, *, turn: Turn) -> Awaitable[Sequence[Rejection]]:
        """As `Work`; what has to keep the order of batches is done in the turn."""


log = structlog.get_logger()


class Allowance:
    """How many bugs may be dead-lettered: ``burst`` at once, and one more every ``seconds``."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._left = float(burst)
        self._when = monotonic()

    def take(self) -> bool:
        """Whether there is one left, which is then gone."""
        now = monotonic()
        self._left = min(self._left + (now - self._when) / self._seconds, self._burst)
        self._when = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


BUGS = Allowance(100, 5.0)


async def settle(messages: Sequence[Message], work: Work, bury: Bury, bugs: Allowance = BUGS) -> None:
    """Return once every message is done or dead-lettered. Raises nothing but cancellation."""
    while not await _settled(messages, work, bury, bugs):
        await asyncio.sleep(LONGEST_WAIT)


async def _settled(messages: Sequence[Message], work: Work, bury: Bury, bugs: Allowance) -> bool:
    """Try once; False where a bug is over the allowance, and so is no fate yet."""
    try:
        for message, reason in await until_available(lambda: work(messages)):
            await _dead_letter(bury, message, "rejected", reason)
    except Exception as exc:
        if len(messages) > 1:
            for message in messages:
                await settle([message], work, bury, bugs)
        elif isinstance(exc, Rejected):
            await _dead_letter(bury, messages[0], "rejected", exc.reason)
        elif bugs.take():
            log.exception("stage_bug", topic=messages[0].topic, offset=messages[0].offset)
            await _dead_letter(bury, messages[0], "bug", f"{type(exc).__name__}: {exc}")
        else:
            log.exception("stage_bug_waits", topic=messages[0].topic, offset=messages[0].offset)
            return False
    return True


async def until_available(attempt: Callable[[], Awaitable[T]]) -> T:
    """Call ``attempt`` until no outside system it needs is away."""
    wait = FIRST_WAIT
    while True:
        try:
            return await attempt()
        except Unavailable as exc:
            if wait == FIRST_WAIT:
                log.warning("waiting", system=exc.system, detail=exc.detail)
            await asyncio.sleep(exc.retry_after or wait)
            wait = min(wait * 2, LONGEST_WAIT)


async def _dead_letter(bury: Bury, message: Message, reason: Reason, text: str) -> None:
    log.warning("dead_letter", reason=reason, detail=text[:300], topic=message.topic, offset=message.offset)
    await until_available(lambda: bury(message, reason, text))
