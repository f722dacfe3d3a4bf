"""Calls that come while one is under way share the next one: a round trip for many, and one alone waits for nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from pipeline.errors import Unavailable

Asked = TypeVar("Asked")
Given = TypeVar("Given")

_MOST = 100
"""The most that share a call: what fails as a whole is tried again one by one."""


class Together(Generic[Asked, Given]):
    """One item's way to ``work``, which takes many, and returns or raises for all of them, in their order."""

    def __init__(self, work: Callable[[Sequence[Asked]], Awaitable[Sequence[Given]]]) -> None:
        self._work = work
        self._waiting: list[tuple[Asked, asyncio.Future[Given]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: Asked) -> Given:
        """What ``work`` gives for the item, or raises for it: one that is bad spoils no other's."""
        answer: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="together")
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            await self._answer([(item, answer) for item, answer in batch if not answer.done()])
        self._running = None

    async def _answer(self, batch: Sequence[tuple[Asked, "asyncio.Future[Given]"]]) -> None:
        if not batch:
            return
        (given,) = await asyncio.gather(self._work([item for item, _ in batch]), return_exceptions=True)
        if isinstance(given, BaseException) and not isinstance(given, Unavailable) and len(batch) > 1:
            for one in batch:
                await self._answer([one])
            return
        for place, (_, answer) in enumerate(batch):
            if answer.done():  # who asked was cancelled
                continue
            if isinstance(given, BaseException):
                answer.set_exception(given)
            else:
                answer.set_result(given[place])


def once_for_all(ask: Callable[[Asked], Awaitable[Given]]) -> Together[Asked, Given]:
    """The same of questions that are asked one by one: equal ones, of whoever waited meanwhile, once.

    Nobody is given an answer that is older than the question.
    """

    async def asked(questions: Sequence[Asked]) -> list[Given]:
        answers = {question: await ask(question) for question in dict.fromkeys(questions)}
        return [answers[question] for question in questions]

    return Together(asked)
