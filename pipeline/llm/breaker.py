"""A circuit breaker: a model that keeps failing is left alone for a while."""

import time
from collections.abc import Callable


class Breaker:
    """Opens after ``failures`` in a row (0: never) for ``seconds``; then one call at a time may try."""

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._in_a_row = 0
        self._closed_from = 0.0

    def allows(self) -> bool:
        """Whether a call may be made. The one that tries an open circuit holds the others off for as long again."""
        if not self._failures or self._in_a_row < self._failures:
            return True
        if self._clock() < self._closed_from:
            return False
        self._closed_from = self._clock() + self._seconds
        return True

    def succeeded(self) -> None:
        """Close it: the server is there."""
        self._in_a_row = 0

    def failed(self) -> None:
        """Count one more in a row."""
        self._in_a_row += 1
        self._closed_from = self._clock() + self._seconds
