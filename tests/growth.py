"""How the time of some work grows with its size: a ratio within one run, where a limit in seconds would be a wager."""

from collections.abc import Callable
from time import process_time


def seconds(work: Callable[[], object], tries: int = 3) -> float:
    """Of processor time, the least of some tries."""
    found = []
    for _ in range(tries):
        started = process_time()
        work()
        found.append(process_time() - started)
    return min(found)


def grows_linearly(work: Callable[[int], object], size: int) -> bool:
    """Whether eight times the ``size`` takes about eight times as long: under 24, where quadratic work takes 64.

    What takes under a millisecond counts as one: it is the clock's and the machine's.
    """
    return seconds(lambda: work(8 * size)) < 24 * max(seconds(lambda: work(size)), 1e-3)
