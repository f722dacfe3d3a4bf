"""What a process says of itself that nothing passing by tells it: how far it is behind, what waits, whether it lives.

A Faust consumer may cease to fetch without an error (faust-streaming 523, 532, 629). Its own figures do not show that,
so the end of each partition is asked of the broker. An outage is no such fault: what is under way then waits, and a
restart would mend nothing.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from time import monotonic

from pipeline import kafka, metrics
from pipeline.errors import Unavailable
from pipeline.handover import Place
from pipeline.index import Index
from pipeline.stages.episodes import ACTIVE
from pipeline.stages.record import Record

WATCH_SECONDS = 10.0
STALLED_SECONDS = 120.0
"""For how long records may wait while nothing is done; more than a rebalance takes."""
SILENT_SECONDS = 60.0
"""For how long a process may not come round to its watch: it does every few seconds, and a call takes 10 s at most."""

Where = tuple[str, int]
Places = Callable[[], Mapping[Where, Place]]
"""Says of each partition that is held where it stands."""


class Health:
    """Whether the process does its work; asked from another thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._came_round: float | None = None
        self._found: str | None = None

    def came_round(self, found: str | None = None) -> None:
        """The watch was here, and ``found`` this amiss."""
        self._found = found
        self._came_round = self._clock()

    def fault(self) -> str | None:
        """What is amiss, or None. Before the first round all is well: what hangs at start has limits of its own."""
        if self._came_round is None:
            return None
        silent = self._clock() - self._came_round
        return f"nothing has moved for {silent:.0f} s" if silent > SILENT_SECONDS else self._found


class Stall:
    """Since when records have waited in partitions from which nothing is fetched."""

    def __init__(self) -> None:
        self._since: dict[Where, tuple[int | None, float]] = {}
        self._alone: float | None = None

    def look(self, places: Mapping[Where, Place], ends: Mapping[Where, int], now: float) -> str | None:
        """What has stalled. ``ends`` are the offsets after the last records."""
        self._alone = None
        waiting = {where: place.done for where, place in places.items() if place.idle and _left(place, ends[where])}
        self._since = {
            where: known if (known := self._since.get(where, (done, now)))[0] == done else (done, now)
            for where, done in waiting.items()
        }
        late = [where for where, (_, since) in self._since.items() if now - since > STALLED_SECONDS]
        return f"nothing is fetched from {_named(late)}, though records wait" if late else None

    def look_outside(self, now: float, *, joined: bool) -> str | None:
        """Likewise, while no partition is held; ``joined``: others hold them all."""
        self._since = {}
        self._alone = None if joined else self._alone or now
        late = self._alone is not None and now - self._alone > STALLED_SECONDS
        return f"no partition was given to anybody for {STALLED_SECONDS:.0f} s" if late else None

    def forget(self) -> None:
        """The broker does not answer: who is idle then cannot be told from who is kept waiting."""
        self._since = {}
        self._alone = None


class WorkerWatch:
    """The worker's lag, and whether it has stalled."""

    def __init__(
        self, health: Health, behind: kafka.Behind, group: str, stages: Mapping[str, str],
        places: Places,
    ) -> None:  # fmt: skip
        """``stages``: topic → stage."""
        self._health = health
        self._behind = behind
        self._group = group
        self._stages = stages
        self._places = places
        self._stall = Stall()
        self._shown: set[Where] = set()

    async def __call__(self) -> None:
        """Look, once. Raises `Unavailable`."""
        found: str | None = None
        try:
            found = await self._look()
        except Unavailable:
            self._stall.forget()
            raise
        finally:
            self._health.came_round(found)

    async def _look(self) -> str | None:
        held = self._places().keys()
        ends = await self._behind.ends(held)
        places = {where: place for where, place in self._places().items() if where in ends}
        self._show(places, ends)
        if places:
            return self._stall.look(places, ends, monotonic())
        return self._stall.look_outside(monotonic(), joined=await self._behind.is_joined(self._group))

    def _show(self, places: Mapping[Where, Place], ends: Mapping[Where, int]) -> None:
        known = {where: max(ends[where] - place.done, 0) for where, place in places.items() if place.done is not None}
        for topic, partition in self._shown - places.keys():
            metrics.lag.remove(self._stages[topic], topic, str(partition))
        self._shown = (self._shown & places.keys()) | known.keys()
        for (topic, partition), records in known.items():
            metrics.lag.labels(self._stages[topic], topic, str(partition)).set(records)


def _left(place: Place, end: int) -> bool:
    return end > (place.done or 0)


def _named(places: Collection[Where]) -> str:
    return ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(places))


async def follow(record: Record, index: Index) -> None:
    """Bring the index level with the record, and say so. Raises `Unavailable`."""
    await index.sync(record)
    metrics.index_incidents.set(index.level[0] if index.level else 0)
    metrics.index_level.set_to_current_time()


async def sum_up(record: Record, *, model: bool) -> None:
    """What all workers together have open, and with a ``model`` what it has cost today. Raises `Unavailable`."""
    async with record.connection() as connection:
        metrics.episodes_open.set(await connection.fetchval(_OPEN, ACTIVE))
    if model:
        day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        metrics.model_spent.set(await record.cost_since(day))


async def sum_up_slack(record: Record, behind: kafka.Behind, group: str, topic: str) -> None:
    """What Slack is still to be told, in the record and on the topic. Raises `Unavailable`."""
    async with record.connection() as connection:
        waiting, oldest = await connection.fetchrow(_WAITING)
    metrics.slack_waiting.set(waiting)
    metrics.slack_oldest.set(oldest)
    for (name, partition), records in (await behind.lag(group, topic)).items():
        metrics.lag.labels("slack", name, str(partition)).set(records)


_OPEN = "SELECT count(*) FROM episodes WHERE state = ANY($1)"
_WAITING = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(since)), 0)::float8 FROM notifications
WHERE state IN ('waiting', 'claimed')
"""
