"""Headers whose names are no text: read, and all others by aiokafka alone."""

import importlib.metadata
import struct
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record import memory_records
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchBuilderPy
from aiokafka.structs import TopicPartition

from pipeline import headers
from pipeline.headers import Fetched, Unpacked

PARTITION = TopicPartition("anomalies", 0)
COMMITTED = 1
"""Only what was not taken back: what `read_committed` is to the fetcher."""


class NoText(str):
    """A header's name as a producer in another language may write it."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfename"


def batch(first: int, *names: str, compression: int = 0, producer: int = -1) -> bytes:
    """A record for each header, as a producer's batch that begins at an offset."""
    builder: Any = _DefaultRecordBatchBuilderPy(2, compression, producer >= 0, producer, 0, -1, 1_000_000)
    for number, name in enumerate(names):
        builder.append(number, 1_000 + number, b"k", b"v", [(name, b"1"), ("none", None)])
    built = bytearray(builder.build())
    struct.pack_into(">q", built, 0, first)
    return bytes(built)


def unpacked(data: bytes, aborted: list[tuple[int, int]] | None = None, start: int = 0) -> Unpacked:
    return Unpacked(PARTITION, Fetched(data), aborted or [], start, None, None, True, COMMITTED)


@pytest.mark.parametrize("compression", [0, 1, 3, 4])
def test_a_header_whose_name_is_no_text_stops_nothing(compression: int):
    """The records before it and after it are what they were, each once; its own name is made readable."""
    data = batch(0, "plain", "fine", "é", compression=compression)
    data += batch(3, "plain", NoText(), "é", compression=compression) + batch(6, NoText(), compression=compression)
    found = unpacked(data)
    read = [(record.offset, record.key, record.value, record.headers) for record in found]
    names = ["plain", "fine", "é", "plain", "\ufffd\ufffdname", "é", "\ufffd\ufffdname"]
    assert read == [(n, b"k", b"v", ((name, b"1"), ("none", None))) for n, name in enumerate(names)]
    assert found.next_fetch_offset == 7


def test_a_fetch_of_nothing_else_is_read_in_linear_time(monkeypatch: pytest.MonkeyPatch):
    """Whoever writes ten thousand of them does not hold the worker up: each batch is passed over once."""
    passed: list[int] = []

    class Counted(memory_records._MemoryRecordsPy):  # type: ignore[misc]
        def _cache_next(self, *args: Any) -> None:
            passed.append(1)
            super()._cache_next(*args)

    monkeypatch.setattr(memory_records, "_MemoryRecordsPy", Counted)
    data = b"".join(batch(offset, NoText()) for offset in range(500))
    assert len(list(unpacked(data))) == 500
    assert len(passed) == 500


def test_a_fetch_from_within_such_a_batch_goes_on_where_it_was():
    """Kafka gives whole batches: what lies before the position is passed over, though it cannot be read either."""
    assert [record.offset for record in unpacked(batch(0, NoText(), "a", NoText(), "b"), start=2)] == [2, 3]


def test_what_a_transaction_took_back_is_passed_over_whatever_it_is_called():
    data = batch(0, "a", NoText(), producer=7) + batch(2, NoText(), "b", producer=8)
    assert [record.offset for record in unpacked(data, [(7, 0)])] == [2, 3]


def test_a_batch_that_can_be_read_is_aiokafkas_own():
    """Nothing of ours stands between its compiled code and who reads the records."""
    assert type(Fetched(batch(0, "a")).next_batch()) is DefaultRecordBatch


def test_it_takes_the_place_of_what_the_fetcher_uses(monkeypatch: pytest.MonkeyPatch):
    """By the names that the fetcher looks them up by."""
    monkeypatch.setattr(fetcher, "MemoryRecords", fetcher.MemoryRecords)
    monkeypatch.setattr(fetcher, "PartitionRecords", fetcher.PartitionRecords)
    headers.install()
    code = fetcher.Fetcher._proc_fetch_request.__code__
    assert {"MemoryRecords", "PartitionRecords"} <= {*code.co_names}
    assert (fetcher.MemoryRecords, fetcher.PartitionRecords) == (Fetched, Unpacked)


@pytest.mark.parametrize(("found", "taken"), [("0.14.0", True), ("0.14.9", True), ("0.15.0", False), ("1.14.0", False)])
def test_another_aiokafka_is_refused(found: str, taken: bool, monkeypatch: pytest.MonkeyPatch):
    """The one that is installed is the one it was written for."""
    headers.check_version()
    monkeypatch.setattr(importlib.metadata, "version", lambda _: found)
    if taken:
        headers.check_version()
    else:
        with pytest.raises(RuntimeError, match=f"aiokafka {found} is installed"):
            headers.check_version()
