"""What model calls may cost on one day (UTC), over all workers and restarts."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

Spent = Callable[[datetime], Awaitable[float]]
"""The US dollars that all decisions since then have cost: the record's answer."""
_FRESH = timedelta(seconds=30)


async def nothing_spent(_: datetime) -> float:
    """For a program that keeps no record."""
    return 0.0


class Budget:
    """``limit`` US dollars a day; 0: without limit.

    What this worker spends counts at once, what others spend when the record is read again, every half minute. So the
    limit is passed by what is in flight, and by half a minute of the other workers.
    """

    def __init__(
        self, limit: float, spent: Spent = nothing_spent, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:  # fmt: skip
        self._limit = limit
        self._record = spent
        self._now = now
        self._read_at: datetime | None = None
        self._day = datetime.min.replace(tzinfo=UTC)
        self._spent = 0.0

    async def is_spent(self) -> bool:
        """Whether nothing is left today. Raises `Unavailable` where the record is away."""
        if not self._limit:
            return False
        self._turn()
        now = self._now()
        if self._read_at is None or now - self._read_at >= _FRESH:
            day = self._day
            recorded = await self._record(day)
            self._turn()
            if day == self._day:  # calls may have ended while it was read, and so may the day
                self._spent, self._read_at = max(self._spent, recorded), now
        return self._spent >= self._limit

    def add(self, cost_usd: float | None) -> None:
        """Count a call. One whose price is not known counts nothing."""
        self._turn()
        self._spent += cost_usd or 0.0

    def _turn(self) -> None:
        day = self._now().replace(hour=0, minute=0, second=0, microsecond=0)
        if day != self._day:
            self._day, self._spent, self._read_at = day, 0.0, None
