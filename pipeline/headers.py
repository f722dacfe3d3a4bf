"""Records whose headers have names that are no UTF-8, which aiokafka cannot read.

Kafka holds a header's name for bytes, and producers in other languages may write any. aiokafka decodes it while it
takes a batch apart, deep in compiled code: it raises, the consumer fetches the same again, and the partition stands
still for ever. There is no setting for it and no public place to catch it, so two of its private parts are replaced:
the one that holds what was fetched (`Fetched`), and the one that takes it apart (`Unpacked`). A batch that cannot be
read is read once more, slowly, with the name made readable; all others are read by aiokafka's own code, with nothing
between.

Written for aiokafka 0.14 (consumer/fetcher.py, record/memory_records.py, record/default_records.py): `check_version`.
"""

import importlib.metadata
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record import default_records, memory_records

WRITTEN_FOR = "0.14"


def install() -> None:
    """Have every consumer of aiokafka in this process read such headers. Doing it again changes nothing."""
    fetcher.MemoryRecords = Fetched
    fetcher.PartitionRecords = Unpacked


def check_version() -> None:
    """Refuse an aiokafka that this was not written against: its private names may have moved."""
    found = importlib.metadata.version("aiokafka")
    if found.split(".")[:2] != WRITTEN_FOR.split("."):
        raise RuntimeError(f"aiokafka {found} is installed; the reading of headers was written for {WRITTEN_FOR}")


class Fetched:
    """What a fetch brought of a partition, batch by batch as producers sent it; the last one can be had `again`."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._records: Any = memory_records.MemoryRecords(data)
        self._slices: Any = None
        self._taken = self._passed = 0
        self._last: Any = None
        self._again = False
        self.size_in_bytes = self._records.size_in_bytes

    def has_next(self) -> bool:
        """Whether there is another batch."""
        return self._again or self._records.has_next()

    def next_batch(self) -> Any:
        """The next one."""
        if self._again:
            self._again = False
            return _Readable(self._last, self._slice())
        self._taken += 1
        self._last = self._records.next_batch()
        return self._last

    def again(self) -> None:
        """Have the last one come once more, readable."""
        self._again = True

    def _slice(self) -> Any:
        """The bytes of the last one; found by going on from where it was asked for before, and only then."""
        if self._slices is None:
            self._slices = memory_records._MemoryRecordsPy(self._data)  # noqa: SLF001
        for _ in range(self._passed, self._taken - 1):
            self._slices._cache_next()  # noqa: SLF001
        self._passed = self._taken - 1
        return self._slices._next_slice  # noqa: SLF001


class Unpacked(fetcher.PartitionRecords):  # type: ignore[misc]
    """A partition's records one by one. What was handed out of a batch before it failed is not handed out again."""

    _records_iterator: Any

    def __next__(self) -> Any:
        try:
            return next(self._records_iterator)
        except StopIteration:
            self._records_iterator = None  # as aiokafka does: it refers to us
            raise
        except UnicodeDecodeError:
            self._records.again()
            self._records_iterator = self._unpack_records()  # passes over what is before `next_fetch_offset`
            return next(self._records_iterator)


class _Readable:
    """A batch that aiokafka failed to take apart: what it says of itself, with readable records."""

    def __init__(self, batch: Any, raw: Any) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def validate_crc(self) -> bool:
        """True: it was checked, where that is wanted, before the batch was unpacked."""
        return True

    def __iter__(self) -> Iterator[Any]:
        batch: Any = default_records._DefaultRecordBatchPy(self._raw)  # noqa: SLF001
        iter(batch)  # unpacks it
        batch._buffer = _Lenient(batch._buffer)  # noqa: SLF001
        return iter(batch)


class _Lenient(bytearray):
    """Bytes of which every part can be read as text."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Lenient(found) if isinstance(place, slice) else found

    def decode(self, *_: Any) -> str:
        return super().decode(errors="replace")
