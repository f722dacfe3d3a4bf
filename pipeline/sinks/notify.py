"""decisions → Slack: each one is told of once, and no channel is flooded.

What comes is written down and acknowledged; a poster a channel asks the outbox for its next call, makes it, and marks
it. Claim, post, mark: a crash between post and mark may repeat one message, and that is counted as uncertain.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import Any

import msgspec
import structlog

from pipeline import kafka, metrics
from pipeline.errors import Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.settle import until_available
from pipeline.sinks.blocks import Payload, render, render_digest, render_update
from pipeline.sinks.outbox import Claim, Letter, News, Outbox
from pipeline.sinks.policy import Policy
from pipeline.sinks.slack import LIMITED, Slack, open_slack
from pipeline.stages.publish import bury
from pipeline.stages.record import Record
from schemas import Decision
from schemas.dead_letter import RETRIED

GROUP = "pulseguard-slack"
POLL = 2.0
"""Seconds after which a poster looks whether another replica, an operator or the end of an episode gave it work."""
_GRACE = 15
log = structlog.get_logger()


async def run_slack(settings: Settings, record: Record, sender: kafka.Sender, policy: Policy) -> None:
    """Tell of decisions as they come, until cancelled. Ends with what a poster dies of: a bug."""
    slack = open_slack(settings)
    default = slack.channel or ("webhook" if slack.limited else "log")
    outbox = Outbox(record, policy, default, routed=slack.channel is not None, shadow=settings.shadow)
    pace = policy.limits.pace if slack.limited else 0.0
    async with asyncio.TaskGroup() as group:
        posters = _Posters(group, settings, outbox, sender, slack, pace)
        await until_available(outbox.redirect)
        group.create_task(posters.look(), name="slack channels")
        async with kafka.subscribe(settings, [settings.topic_decisions], GROUP) as subscription:
            async for batch in subscription:
                for channel in await _take(settings, outbox, sender, batch):
                    posters.wake(channel)
                await _acknowledge(subscription, batch)  # which waits for the poll that is under way
                metrics.consumed.labels(stage="slack").inc(len(batch))


async def _take(
    settings: Settings, outbox: Outbox, sender: kafka.Sender, batch: Sequence[kafka.Message]
) -> set[str]:  # fmt: skip
    """Write down what is to be told, and return the channels; dead-letter what is no decision."""
    news: list[News] = []
    for message in batch:
        try:
            decision = msgspec.json.decode(message.value or b"", type=Decision)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            await _reject(settings, sender, message, f"not a decision: {exc}")
        else:
            again = any(name == RETRIED for name, _ in message.headers)  # a human mended what Slack refused
            news.append(News(decision, message, again))
    try:
        return await until_available(lambda: outbox.take(news))
    except Rejected:
        return await _take_one_by_one(settings, outbox, sender, news)


async def _take_one_by_one(
    settings: Settings, outbox: Outbox, sender: kafka.Sender, batch: Sequence[News]
) -> set[str]:  # fmt: skip
    """What PostgreSQL refuses is a dead letter, and costs nobody else's message."""
    channels: set[str] = set()
    for news in batch:
        try:
            channels |= await until_available(lambda: outbox.take([news]))  # noqa: B023 - awaited at once
        except Rejected as exc:
            await _reject(settings, sender, news.message, exc.reason)
    return channels


async def _reject(settings: Settings, sender: kafka.Sender, message: kafka.Message, reason: str) -> None:
    log.error("slack_unreadable", reason=reason, topic=message.topic, offset=message.offset)
    await until_available(lambda: bury(sender, settings.topic_dlq, message, "rejected", reason))


async def _acknowledge(subscription: kafka.Subscription, batch: Sequence[kafka.Message]) -> None:
    """Commit, once: after a rebalance it can never succeed. Without it the batch comes again, and is known."""
    try:
        await subscription.commit(batch)
    except Unavailable as exc:
        log.warning("not_acknowledged", system=exc.system, detail=exc.detail, records=len(batch))


class _Posters:
    """A task a channel; one channel that Slack limits holds no other up."""

    def __init__(
        self, group: asyncio.TaskGroup, settings: Settings, outbox: Outbox, sender: kafka.Sender, slack: Slack,
        pace: float,
    ) -> None:  # fmt: skip
        self._group = group
        self._settings = settings
        self._outbox = outbox
        self._sender = sender
        self._slack = slack
        self._pace = pace
        self._buttons = bool(settings.slack_bot_token and settings.slack_signing_secret)
        self._page = settings.page_url
        self._wakes: dict[str, asyncio.Event] = {}

    def wake(self, channel: str) -> None:
        """There is something for it."""
        if channel not in self._wakes:
            self._wakes[channel] = asyncio.Event()
            self._group.create_task(self._run(channel), name=f"slack {channel}")
        self._wakes[channel].set()

    async def look(self) -> None:
        """Wake for what an earlier start took, or another replica, which may be dead: its channel may be new here."""
        while True:
            for channel in await until_available(self._outbox.channels):
                self.wake(channel)
            await asyncio.sleep(POLL)

    async def _run(self, channel: str) -> None:
        wake = self._wakes[channel]
        while True:
            wake.clear()
            claim = await until_available(lambda: self._outbox.claim(channel, limited=self._slack.limited))
            if isinstance(claim, Claim):
                await _to_its_end(self._make(channel, claim))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(claim, POLL)):
                    await wake.wait()

    async def _make(self, channel: str, claim: Claim) -> None:
        if claim.again:
            metrics.slack_posts.labels(outcome="repeated").inc()
        payload = _payload(claim, buttons=self._buttons, page=self._page)
        doubt: list[str] = []
        tried = -self._pace

        async def attempt() -> str | None:
            nonlocal tried
            await asyncio.sleep(tried + self._pace - monotonic())
            if not await self._outbox.renew(claim):
                raise _HandedOver
            try:
                return await self._call(channel, claim, payload)
            except Unavailable as exc:
                if exc.detail != LIMITED:  # Slack may have posted it and not said so
                    metrics.slack_posts.labels(outcome="uncertain").inc()
                    doubt[:] = [f"uncertain: posted again after {exc.detail}"]
                raise
            finally:
                tried = monotonic()  # when it ended: what arrives late does not come close to the next

        try:
            place = await until_available(attempt)
        except _HandedOver:
            return
        except Rejected as exc:
            await self._refused(claim, channel, exc.reason)
        else:
            await until_available(lambda: self._outbox.finish(claim, "sent", "".join(doubt) or None, place))
            metrics.slack_posts.labels(outcome="sent").inc()

    async def _call(self, channel: str, claim: Claim, payload: Payload | None) -> str | None:
        if payload is None:
            return claim.place
        if claim.kind == "edit":
            await self._slack.edit(payload, claim.place or "")
            return claim.place
        return await self._slack.post(channel, payload, claim.place)

    async def _refused(self, claim: Claim, channel: str, reason: str) -> None:
        log.error("slack_refused", channel=channel, reason=reason, decisions=len(claim.about))
        for letter in await until_available(lambda: self._outbox.letters(claim)):
            await until_available(lambda: self._bury(letter, reason))  # noqa: B023 - awaited at once
        await until_available(lambda: self._outbox.finish(claim, "refused", reason, claim.place))
        metrics.slack_posts.labels(outcome="refused").inc()

    async def _bury(self, letter: Letter, reason: str) -> None:
        topic = self._settings.topic_decisions
        message = kafka.Message(topic, letter.partition, letter.offset, letter.key, letter.body, [], 0)
        await bury(self._sender, self._settings.topic_dlq, message, "refused", reason)


class _HandedOver(Exception):
    """Another replica took the claim over, and makes the call."""


async def _to_its_end(begun: Coroutine[Any, Any, None]) -> None:
    """Await what is begun; a stop waits for it, for `_GRACE` seconds: a post that is not marked comes twice."""
    task = asyncio.ensure_future(begun)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_GRACE)
        task.cancel()
        raise


def _payload(claim: Claim, *, buttons: bool, page: str | None) -> Payload | None:
    """What is said; None where an edit's message is not known any more."""
    if claim.kind == "edit":
        return render(claim.head, claim.members, buttons=buttons, page=page) if claim.head else None
    if claim.kind == "head":
        return render(claim.about[0], claim.members, claim.about[1:], buttons=buttons, page=page)
    if claim.kind == "digest":
        return render_digest(claim.about)
    return render_update(claim.about, claim.head, claim.members)
