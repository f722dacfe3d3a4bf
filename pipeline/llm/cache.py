"""Answers to questions that were asked a moment ago, and the turns of those that are asked now."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")
_MOST = 1000


def key_of(*parts: str) -> str:
    """One key for texts: equal for equal ones only."""
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


class Cache(Generic[T]):
    """Keeps an answer for ``seconds`` (0: none at all), the newest thousand."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, key: str) -> asyncio.Lock:
        """Held by who asks a question: an equal one waits, and finds the answer, or asks where there was none.

        Where nothing is kept nobody waits. It lasts for as long as somebody has it.
        """
        return self._turns.setdefault(key, asyncio.Lock()) if self._seconds else asyncio.Lock()

    def get(self, key: str) -> T | None:
        """The answer to an equal question, if it is fresh."""
        until, answer = self._kept.get(key, (0.0, None))
        return answer if self._clock() < until else None

    def put(self, key: str, answer: T) -> None:
        """Keep a good answer; failures are nobody's to keep."""
        if not self._seconds:
            return
        self._kept.pop(key, None)
        self._kept[key] = (self._clock() + self._seconds, answer)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
