"""A token bucket: how much may be used in a minute."""

import time
from collections.abc import Callable


class Bucket:
    """Holds what one minute allows (0: without limit) and refills evenly. Reservations are served in their order."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = per_minute
        self._level = per_minute
        self._clock = clock
        self._filled = clock()

    def reserve(self, amount: float, patience: float) -> float | None:
        """Take ``amount``, usable after the seconds returned; None, and nothing taken, where ``patience`` is less."""
        if not self._limit:
            return 0.0
        now = self._clock()
        self._level = min(self._limit, self._level + (now - self._filled) * self._limit / 60)
        self._filled = now
        wait = max(amount - self._level, 0.0) * 60 / self._limit
        if wait > patience:
            return None
        self._level -= amount
        return wait

    def give_back(self, amount: float) -> None:
        """What was reserved and not used; less than nothing where more was used."""
        self._level = min(self._limit, self._level + amount)
