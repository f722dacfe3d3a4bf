"""What a channel is told next, and when. Pure: what waits and what was said before, to one call or a time to wait.

A situation has one head message. What comes after it is an update: in the head's thread with a bot token, a message of
its own where there is only a webhook. Over the channel's limit everything that waits comes in one digest. The worst
comes first, and nothing is dropped: each decision is in a message, or muted with the reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pipeline.sinks.policy import Limits, Route
from pipeline.stages.episodes import rank
from schemas import Decision

Kind = Literal["head", "update", "digest", "edit"]
LONG = 3600.0
"""Seconds: nothing is due."""
_MEMORY = timedelta(minutes=15)
"""A digest so long ago slows the next one no more."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A decision that nobody was told of."""

    decision: Decision
    since: datetime
    route: Route

    @property
    def situation(self) -> str:
        """Its situation; one that has none is its own."""
        return self.decision.situation_id or self.decision.id


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of a situation: its head, ``updates`` after it, the worst severity (a rank) and when last."""

    head: str
    place: str | None
    updates: int
    worst: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Head:
    """A head message that may be outdated: ``shown`` is what it says of its situation, ``now`` what it should say.

    ``repeat_at`` is when to say again that it goes on; None: never.
    """

    message_id: str
    situation: str
    place: str | None
    shown: str
    now: str
    repeat_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A call of the last hour."""

    kind: Kind
    at: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """The next call. ``about`` is empty for an edit and for a reminder; ``head`` is the message that it belongs to."""

    kind: Kind
    situation: str | None
    about: Sequence[Waiting] = ()
    head: str | None = None
    place: str | None = None


def plan(
    waiting: Sequence[Waiting], told: Mapping[str, Told], log: Sequence[Sent], limits: Limits, now: datetime
) -> Call | float:
    """The call that is due, or how many seconds until one may be."""
    paced = _paced(log, limits, now)
    if paced > 0:
        return paced
    groups: dict[str, list[Waiting]] = {}
    for item in waiting:
        groups.setdefault(item.situation, []).append(item)
    due: list[tuple[int, datetime, str]] = []
    soonest = LONG
    left = tokens(log, limits, now)
    for name, items in groups.items():
        at = _due(items, told.get(name), limits, roomy=left >= limits.burst / 2)
        if at <= now:
            due.append((-max(rank(item.decision.severity) for item in items), at, name))
        else:
            soonest = min(soonest, (at - now).total_seconds())
    if due and left >= 1:
        _, _, name = min(due)
        before = told.get(name)
        if before is None:
            return Call("head", name, _ordered(groups[name]))
        return Call("update", name, _ordered(groups[name]), before.head, before.place)
    if due:
        late = [item for _, _, name in due for item in groups[name]]
        wait = (_digest_at(log, min(item.since for item in late), limits) - now).total_seconds()
        return Call("digest", None, _ordered(late)) if wait <= 0 else min(wait, soonest)
    return soonest


def upkeep(heads: Iterable[Head], log: Sequence[Sent], limits: Limits, now: datetime) -> Call | float:
    """A head that says what is no longer so, or a reminder. They take only what half of the allowance leaves."""
    paced = _paced(log, limits, now)
    if paced > 0 or tokens(log, limits, now) < 1 + limits.burst // 2:
        return max(paced, 1.0)
    soonest = LONG
    for head in heads:
        if head.place is not None and head.now != head.shown:
            return Call("edit", head.situation, (), head.message_id, head.place)
        if head.repeat_at is not None:
            if head.repeat_at <= now:
                return Call("update", head.situation, (), head.message_id, head.place)
            soonest = min(soonest, (head.repeat_at - now).total_seconds())
    return soonest


def tokens(log: Iterable[Sent], limits: Limits, now: datetime) -> float:
    """What is left of the channel's allowance: a token bucket, replayed from what was sent. Digests are beside it."""
    left, at = float(limits.burst), None
    for sent in sorted((sent for sent in log if sent.kind != "digest"), key=lambda sent: sent.at):
        if at is not None:
            left = min(left + (sent.at - at).total_seconds() / limits.refill, limits.burst)
        left, at = max(left - 1, 0.0), sent.at
    return left if at is None else min(left + (now - at).total_seconds() / limits.refill, limits.burst)


def _paced(log: Iterable[Sent], limits: Limits, now: datetime) -> float:
    """Seconds until the next call of any kind; not above 0: now."""
    last = max((sent.at for sent in log), default=None)
    return 0.0 if last is None else (last - now).total_seconds() + limits.pace


def _due(items: Sequence[Waiting], before: Told | None, limits: Limits, *, roomy: bool) -> datetime:
    """News of a situation that is known already come at once while the channel is quiet, and then ever less often."""
    first = min(items, key=lambda item: item.since)
    if before is None:
        return first.since + timedelta(seconds=max(first.route.group_wait, first.route.hold_off))
    if roomy or max(rank(item.decision.severity) for item in items) > before.worst:
        return first.since
    times = max(before.updates - limits.burst // 2, 0)
    return before.last + timedelta(seconds=min(limits.update * 2**times, limits.longest))


def _digest_at(log: Iterable[Sent], first: datetime, limits: Limits) -> datetime:
    """After the first of a row of digests the next one waits twice as long, until there was none for a while."""
    at, count = None, 0
    for sent in sorted((sent for sent in log if sent.kind == "digest"), key=lambda sent: sent.at):
        count = count + 1 if at is not None and sent.at - at < _MEMORY else 1
        at = sent.at
    if at is None or first - at > _MEMORY:
        return first + timedelta(seconds=limits.digest)
    return max(at + timedelta(seconds=min(limits.digest * 2**count, limits.longest)), first)


def _ordered(items: Iterable[Waiting]) -> list[Waiting]:
    """The worst first; then each situation's first one before anybody's second, in the order they came."""
    ordered = sorted(items, key=lambda item: (-rank(item.decision.severity), item.since, item.decision.id))
    place: dict[str, int] = {}
    nth: dict[str, int] = {}
    for item in ordered:
        nth[item.decision.id] = place[item.situation] = place.get(item.situation, -1) + 1
    return sorted(ordered, key=lambda item: nth[item.decision.id] > 0)
