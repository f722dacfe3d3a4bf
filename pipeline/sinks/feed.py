"""The live feed without its sockets: events, the ring that a returning client is served from, cursors, filters.

A cursor is opaque to clients: the next offset of each partition, and Kafka's ids of the topics, so that those
made anew are noticed. There is no order across partitions; a position is a map. It is packed, for every event carries
it, and a URL has to hold it.
"""

import base64
import binascii
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

import msgspec

from pipeline.errors import Rejected
from schemas import SEVERITIES

RING_EVENTS = 10_000
RING_BYTES = 32 * 2**20
TYPES = ("decision", "anomaly", "system")
Where = tuple[str, int]
"""Topic and partition."""


class _Cursor(msgspec.Struct):
    e: str
    """The epoch: Kafka's ids of the topics."""
    o: dict[str, dict[int, int]]
    """Topic → partition → next offset."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: what all clients see, already encoded, and what filters look at."""

    frame: str
    cursor: str
    type: str
    service: str | None
    severity: str | None
    where: Where
    offset: int
    number: int
    """Its place in the feed, without gaps; it means nothing beyond this process."""


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
        """Its filter. Raises `Rejected` for one that nothing could ever pass."""
        if self.min_severity is not None and self.min_severity not in SEVERITIES:
            raise Rejected(f"min_severity: {self.min_severity[:20]!r} is none of {', '.join(SEVERITIES)}")
        unknown = next((name for name in self.types or () if name not in TYPES), None)
        if unknown is not None:
            raise Rejected(f"types: {unknown[:20]!r} is none of {', '.join(TYPES)}")
        return Filter(frozenset(self.types) if self.types else None, self.service, self.min_severity)

    def over(self, query: Self) -> Self:
        """The hello of a first message, with what only the query says."""
        return msgspec.structs.replace(
            query, **{name: value for name, value in msgspec.structs.asdict(self).items() if value}
        )


def hello_of(query: Mapping[str, list[str]]) -> Hello:
    """A hello from a URL's query. The token has no place there. Raises `Rejected`."""
    one = {name: values[-1] for name, values in query.items()}
    types = [item for value in query.get("types", ()) for item in value.split(",") if item]
    batch = one.get("batch", "0")
    if batch not in {"0", "1"}:
        raise Rejected(f"batch: {batch[:20]!r} is neither 0 nor 1")
    return Hello(one.get("since"), types or None, one.get("service"), one.get("min_severity"), batch == "1")


@dataclass(slots=True)
class Feed:
    """The newest events, and where they end. Each id is shown once, however often Kafka delivers it."""

    epoch: str
    last: int = 0
    """The number of the newest event."""
    _next: dict[str, dict[int, int]] = field(default_factory=dict)
    _first: dict[Where, int] = field(default_factory=dict)
    _ring: deque[Event] = field(default_factory=deque)
    _bytes: int = 0
    _ids: dict[tuple[str, str, Any], None] = field(default_factory=dict)

    def add(self, where: Where, offset: int, event_type: str, data: Mapping[str, Any]) -> Event | None:
        """Take a record in; None when it was seen before."""
        if not self.skip(where, offset) or self._is_repeated(event_type, data):
            return None
        cursor = self.cursor()
        frame = msgspec.json.encode({"type": event_type, "data": data, "cursor": cursor}).decode()
        anomaly = data.get("anomaly")
        subject = anomaly if isinstance(anomaly, Mapping) else data
        self.last += 1
        event = Event(
            frame, cursor, event_type, subject.get("service"), subject.get("severity"), where, offset, self.last
        )  # fmt: skip
        self._ring.append(event)
        self._bytes += len(event.frame)
        while len(self._ring) > RING_EVENTS or self._bytes > RING_BYTES:
            gone = self._ring.popleft()
            self._bytes -= len(gone.frame)
            self._first[gone.where] = gone.offset + 1
        return event

    def skip(self, where: Where, offset: int) -> bool:
        """Move past a record, shown or not; False when the feed is past it already."""
        topic, partition = where
        ends = self._next.setdefault(topic, {})
        if offset < ends.get(partition, 0):
            return False
        self._first.setdefault(where, offset)
        ends[partition] = offset + 1
        return True

    def _is_repeated(self, event_type: str, data: Mapping[str, Any]) -> bool:
        name = data.get("id") or data.get("episode_id")
        if not isinstance(name, str):
            return False
        key = (event_type, name, str(data.get("revision")))
        if key in self._ids:
            return True
        self._ids[key] = None
        if len(self._ids) > 2 * RING_EVENTS:
            del self._ids[next(iter(self._ids))]
        return False

    def cursor(self) -> str:
        """Where the feed stands now."""
        raw = msgspec.msgpack.encode(_Cursor(self.epoch, self._next))
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def since(self, cursor: str) -> list[Event] | None:
        """Everything after ``cursor``, or None when not all of it is here any more (never a part)."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            known = msgspec.msgpack.decode(raw, type=_Cursor)
        except (binascii.Error, msgspec.MsgspecError, ValueError, RecursionError):
            return None
        starts = {(topic, number): start for topic, numbers in known.o.items() for number, start in numbers.items()}
        ends = {(topic, number): end for topic, numbers in self._next.items() for number, end in numbers.items()}
        # A partition that we have seen nothing of may have held what the client missed.
        if known.e != self.epoch or not starts.keys() <= ends.keys():
            return None
        for where, end in ends.items():
            start = starts.get(where, 0)
            if start > end or start < min(end, self._first[where]):
                return None
        return [event for event in self._ring if event.offset >= starts.get(event.where, 0)]

    def after(self, number: int) -> list[Event] | None:
        """The events after the one with ``number``, or None when some of them are gone already."""
        count = self.last - number
        if count > len(self._ring):
            return None
        return list(islice(self._ring, len(self._ring) - count, None))


def envelope(events: Sequence[Event]) -> str:
    """Many events as one message, their frames as they are, with the cursor after the last of them."""
    frames = ",".join(event.frame for event in events)
    return f'{{"type":"batch","events":[{frames}],"cursor":"{events[-1].cursor}"}}'
