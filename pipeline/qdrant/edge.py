"""Qdrant's engine within this process, over a folder. The only module that speaks to qdrant_edge.

It allows one process a folder, so each takes the first free slot and keeps its own derived copy there; the lock goes
with the process, however it ends. The engine's write-ahead log stays on: without it, points that a kill -9 left half
written were read as whole.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import qdrant_edge as qe

from pipeline.errors import Misconfigured, Unavailable
from pipeline.qdrant import DENSE, SPARSE, TITLE, Asked, Hits, Limits, Point, point_of

T = TypeVar("T")
_SLOTS = 64
_PAGE = 1000
_PANIC = "PanicException"


class Edge:
    """As `pipeline.qdrant.Points`. The engine's calls run in a thread of their own, one at a time."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self._config = qe.EdgeConfig(
            vectors={name: qe.EdgeVectorParams(size=dimension, distance=qe.Distance.Cosine) for name in (DENSE, TITLE)},
            sparse_vectors={SPARSE: qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf)},
            max_search_threads=1,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="qdrant")
        self._shard: qe.EdgeShard | None = None

    async def ping(self) -> None:
        """As `Points.ping`."""
        await self._run(lambda shard: shard.info())

    async def prepare(self) -> None:
        """As `Points.prepare`. A folder that is damaged is emptied: its content is derived."""
        await self._in_thread(self._open)

    def _open(self) -> None:
        if self._shard is not None:
            return
        if self._folder.exists():
            with suppress(Unavailable), _translated():
                self._shard = qe.EdgeShard.load(str(self._folder), self._config)
                return
            shutil.rmtree(self._folder)
        self._folder.mkdir(parents=True)
        with _translated():
            self._shard = qe.EdgeShard.create(str(self._folder), self._config)

    async def nearest(self, asked: Sequence[Asked], limit: int, limits: Limits) -> list[tuple[Hits, Hits]]:
        """As `Points.nearest`."""
        seen = _filter(limits)
        requests = [
            qe.QueryRequest(limit=limit, query=qe.Query.Nearest(query, using=using), filter=seen)
            for dense, (indices, values) in asked
            for using, query in ((DENSE, list(dense)), (SPARSE, qe.SparseVector(indices, values)))
        ]
        hits = await self._hits(requests)
        return list(zip(hits[::2], hits[1::2], strict=True))

    async def titled(self, titles: Sequence[Sequence[float]], limit: int) -> list[Hits]:
        """As `Points.titled`."""
        asked = [qe.Query.Nearest(list(title), using=TITLE) for title in titles]
        return await self._hits([qe.QueryRequest(limit=limit, query=query) for query in asked])

    async def _hits(self, requests: list[qe.QueryRequest]) -> list[Hits]:
        found = await self._run(lambda shard: shard.query_batch(qe.QueryBatchRequest(requests)))
        return [{int(point.id): point.score for point in points} for points in found]

    async def get(self, ids: Sequence[int]) -> list[Point]:
        """As `Points.get`."""
        records = await self._run(lambda shard: shard.retrieve(list(ids), with_payload=True, with_vector=True))
        return [point_of(record) for record in records]

    async def payloads(self, fields: Sequence[str]) -> list[Mapping[str, Any]]:
        """As `Points.payloads`."""
        found: list[Mapping[str, Any]] = []
        request: Any = qe.ScrollRequest(limit=_PAGE, with_payload=list(fields))
        while True:
            points, offset = await self._run(lambda shard: shard.scroll(request))  # noqa: B023 - awaited at once
            found += [point.payload for point in points if point.payload]
            if offset is None:
                return found
            request = qe.ScrollRequest(limit=_PAGE, offset=offset, with_payload=list(fields))

    async def put(self, points: Sequence[Point]) -> None:
        """As `Points.put`."""
        await self._update(
            qe.UpdateOperation.upsert_points(
                [
                    qe.Point(
                        point.id,
                        {
                            DENSE: list(point.dense),
                            TITLE: list(point.title),
                            SPARSE: qe.SparseVector(point.sparse[0], point.sparse[1]),
                        },
                        point.payload,
                    )
                    for point in points
                ]
            )
        )

    async def delete(self, ids: Sequence[int]) -> None:
        """As `Points.delete`."""
        await self._update(qe.UpdateOperation.delete_points(list(ids)))

    async def _update(self, operation: qe.UpdateOperation) -> None:
        def update(shard: qe.EdgeShard) -> None:
            shard.update(operation)
            shard.flush()

        await self._run(update)

    async def drop(self) -> None:
        """As `Points.drop`."""
        await self._in_thread(self._drop)

    def _drop(self) -> None:
        self._close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def close(self) -> None:
        """Let go of the folder."""
        await self._in_thread(self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            with _translated():
                shard.close()

    async def _run(self, work: Callable[[qe.EdgeShard], T]) -> T:
        def run() -> T:
            if self._shard is None:
                raise Unavailable("qdrant", "the collection is being derived anew")
            with _translated():
                return work(self._shard)

        return await self._in_thread(run)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@asynccontextmanager
async def open_edge(root: Path, collection: str, dimension: int) -> AsyncIterator[Edge]:
    """The collection in a slot under ``root``. Raises `Misconfigured` where none is free."""
    with _slot(root) as slot:
        for other in slot.iterdir():  # of another embedding model, or of an older version
            if other.is_dir() and other.name != collection:
                shutil.rmtree(other, ignore_errors=True)
        points = Edge(slot / collection, dimension)
        try:
            await points.prepare()
            yield points
        finally:
            await points.close()


@contextmanager
def _slot(root: Path) -> Iterator[Path]:
    for number in range(_SLOTS):
        folder = root / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            yield folder
        finally:
            os.close(lock)
        return
    raise Misconfigured("PULSEGUARD_HOME", f"{_SLOTS} processes use it already", "name a Qdrant server with QDRANT_URL")


def _filter(limits: Limits) -> qe.Filter | None:
    if not limits.hidden and not limits.equal:
        return None
    equal: list[Any] = [
        qe.FieldCondition(key=key, match=qe.MatchValue(value=value)) for key, value in limits.equal.items()
    ]
    hidden: list[Any] = [qe.HasIdCondition(set(limits.hidden))] if limits.hidden else []
    return qe.Filter(must=equal, must_not=hidden)


@contextmanager
def _translated() -> Iterator[None]:
    """The engine raises nothing narrower than Exception, and over a damaged file its Rust may panic: not even that."""
    try:
        yield
    except BaseException as exc:
        if isinstance(exc, Exception) or type(exc).__name__ == _PANIC:
            raise Unavailable("qdrant", f"in-process: {exc}") from exc
        raise
