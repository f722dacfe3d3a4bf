"""The live feed without its sockets: events, the ring that a returning client is served from, cursors, filters.

A cursor is opaque to clients: the next offset of each partition, and Kafka's ids of the topics, so that those
made anew are noticed. There is no order across partitions; a position is a map.
"""

import base64
import binascii
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

RING_EVENTS = 10_000
RING_BYTES = 32 * 2**20
SEVERITIES = ("info", "warning", "error", "critical")
Position = dict[str, int]
"""``topic/partition`` → next offset."""


class _Cursor(msgspec.Struct):
    epoch: str
    next: Position


@dataclass(frozen=True, slots=True)
class Event:
    """One event: what all clients see, already encoded, and what filters look at."""

    frame: str
    type: str
    service: str | None
    severity: str | None
    where: str
    offset: int


@dataclass(frozen=True, slots=True)
class Filter:
    """What a client asked for; None means everything."""

    types: frozenset[str] | None = None
    service: str | None = None
    min_severity: str | None = None

    def wants(self, event: Event) -> bool:
        """Whether the client gets the event. An event without a severity passes no severity filter."""
        if self.types is not None and event.type not in self.types:
            return False
        if self.service is not None and event.service != self.service:
            return False
        if self.min_severity is None:
            return True
        return event.severity in SEVERITIES[SEVERITIES.index(self.min_severity) :]


class Hello(msgspec.Struct, frozen=True):
    """What a client may ask for, in the query or as its first message."""

    since: str | None = None
    types: list[str] | None = None
    service: str | None = None
    min_severity: str | None = None
    batch: bool = False
    token: str | None = None

    def filter(self) -> Filter:
        """Its filter. Raises ValueError for a severity that does not exist."""
        if self.min_severity is not None and self.min_severity not in SEVERITIES:
            raise ValueError("min_severity")
        return Filter(frozenset(self.types) if self.types else None, self.service, self.min_severity)


def hello_of(query: Mapping[str, list[str]]) -> Hello:
    """A hello from a URL's query. The token has no place there."""
    one = {name: values[-1] for name, values in query.items()}
    types = [item for item in one.get("types", "").split(",") if item]
    return Hello(one.get("since"), types or None, one.get("service"), one.get("min_severity"), one.get("batch") == "1")


@dataclass(slots=True)
class Feed:
    """The newest events, and where they end. Each decision is shown once, however often Kafka delivers it."""

    epoch: str
    position: Position = field(default_factory=dict)
    _ring: deque[Event] = field(default_factory=deque)
    _bytes: int = 0
    _first: Position = field(default_factory=dict)
    _ids: dict[str, None] = field(default_factory=dict)

    def add(self, where: str, offset: int, event_type: str, data: Mapping[str, Any]) -> Event | None:
        """Take a record in; None when it was seen before."""
        if offset < self.position.get(where, 0):
            return None
        self._first.setdefault(where, offset)
        self.position[where] = offset + 1
        key = f"{event_type}:{data.get('id') or data.get('episode_id')}:{data.get('revision')}"
        if key in self._ids:
            return None
        self._ids[key] = None
        if len(self._ids) > 2 * RING_EVENTS:
            del self._ids[next(iter(self._ids))]
        body = {"type": event_type, "data": data, "cursor": self.cursor()}
        subject = data.get("anomaly", data)
        event = Event(
            msgspec.json.encode(body).decode(),
            event_type,
            subject.get("service"),
            subject.get("severity"),
            where,
            offset,
        )
        self._ring.append(event)
        self._bytes += len(event.frame)
        while len(self._ring) > RING_EVENTS or self._bytes > RING_BYTES:
            gone = self._ring.popleft()
            self._bytes -= len(gone.frame)
            self._first[gone.where] = gone.offset + 1
        return event

    def cursor(self) -> str:
        """Where the feed stands now."""
        raw = msgspec.json.encode(_Cursor(self.epoch, self.position))
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def since(self, cursor: str) -> list[Event] | None:
        """Everything after ``cursor``, or None when not all of it is here any more (never a part)."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            known = msgspec.json.decode(raw, type=_Cursor)
        except (binascii.Error, msgspec.MsgspecError, ValueError):
            return None
        if known.epoch != self.epoch:
            return None
        for where, end in self.position.items():
            start = known.next.get(where, 0)
            if start > end or (start < end and start < self._first.get(where, end)):
                return None
        return [event for event in self._ring if event.offset >= known.next.get(event.where, 0)]


def envelope(events: Iterable[Event], cursor: str) -> str:
    """Many events as one message, their frames as they are."""
    return f'{{"type":"batch","events":[{",".join(event.frame for event in events)}],"cursor":"{cursor}"}}'
