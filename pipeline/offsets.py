"""Which offset of a partition may be committed while many of its records are in flight. Pure."""

from collections.abc import Iterable, Sequence


class Progress:
    """What was delivered and finished of one partition since it was assigned.

    The committable offset is that of the oldest unfinished record, or one past the last delivered when all are
    finished. Offsets that Kafka never delivers (compaction, transaction markers) are no gaps here.
    """

    __slots__ = ("_next", "_pending")

    def __init__(self) -> None:
        self._pending: dict[int, None] = {}  # in order of delivery, which is the order of offsets
        self._next: int | None = None

    def deliver(self, offsets: Sequence[int]) -> None:
        """Records were handed to a stage, in order. Those delivered again (below the last) are unfinished again."""
        if self._next is not None and offsets[0] < self._next:
            self._pending = dict.fromkeys(sorted({*self._pending, *offsets}))
        else:
            self._pending.update(dict.fromkeys(offsets))
        self._next = max(self._next or 0, offsets[-1] + 1)

    def finish(self, offsets: Iterable[int]) -> None:
        """Their effects are durable."""
        for offset in offsets:
            self._pending.pop(offset, None)

    @property
    def is_idle(self) -> bool:
        """Whether all that was delivered is finished."""
        return not self._pending

    @property
    def committable(self) -> int | None:
        """The offset to commit (the next one to read after a restart), or None while nothing was delivered."""
        return next(iter(self._pending), self._next)
