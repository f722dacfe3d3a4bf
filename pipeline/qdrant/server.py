"""A Qdrant server. The only module that speaks to qdrant_client."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException

from pipeline.errors import Misconfigured, Unavailable
from pipeline.qdrant import DENSE, SPARSE, TITLE, Asked, Hits, Limits, Point, point_of

_TIMEOUT = 5
_PAGE = 1000


class Server:
    """As `pipeline.qdrant.Points`."""

    def __init__(self, client: AsyncQdrantClient, collection: str, dimension: int) -> None:
        self._client = client
        self._collection = collection
        self._dimension = dimension

    async def ping(self) -> None:
        """As `Points.ping`."""
        with _translated():
            await self._client.get_collections()

    async def prepare(self) -> None:
        """As `Points.prepare`."""
        with _translated():
            if await self._client.collection_exists(self._collection):
                return
            try:
                await self._create()
            except ApiException:  # another replica may have been first: a conflict, and what we wanted
                if not await self._client.collection_exists(self._collection):
                    raise

    async def _create(self) -> None:
        dense = models.VectorParams(size=self._dimension, distance=models.Distance.COSINE)
        sparse = models.SparseVectorParams(modifier=models.Modifier.IDF)
        await self._client.create_collection(
            self._collection, vectors_config={DENSE: dense, TITLE: dense}, sparse_vectors_config={SPARSE: sparse}
        )

    async def nearest(self, asked: Sequence[Asked], limit: int, limits: Limits) -> list[tuple[Hits, Hits]]:
        """As `Points.nearest`; one call for all."""
        seen = _filter(limits)
        requests = [
            models.QueryRequest(query=query, using=using, limit=limit, filter=seen, with_payload=False)
            for dense, (indices, values) in asked
            for using, query in (
                (DENSE, list(dense)), (SPARSE, models.SparseVector(indices=indices, values=values))
            )
        ]  # fmt: skip
        hits = await self._hits(requests)
        return list(zip(hits[::2], hits[1::2], strict=True))

    async def titled(self, titles: Sequence[Sequence[float]], limit: int) -> list[Hits]:
        """As `Points.titled`; one call for all."""
        return await self._hits(
            [models.QueryRequest(query=list(t), using=TITLE, limit=limit, with_payload=False) for t in titles]
        )

    async def _hits(self, requests: list[models.QueryRequest]) -> list[Hits]:
        with _translated():
            found = await self._client.query_batch_points(self._collection, requests)
        return [{int(point.id): point.score for point in answer.points} for answer in found]

    async def get(self, ids: Sequence[int]) -> list[Point]:
        """As `Points.get`."""
        with _translated():
            records = await self._client.retrieve(self._collection, list(ids), with_payload=True, with_vectors=True)
        return [point_of(record) for record in records]

    async def payloads(self, fields: Sequence[str]) -> list[Mapping[str, Any]]:
        """As `Points.payloads`."""
        found: list[Mapping[str, Any]] = []
        offset: Any = None
        while True:
            with _translated():
                points, offset = await self._client.scroll(
                    self._collection, limit=_PAGE, offset=offset, with_payload=list(fields)
                )
            found += [point.payload for point in points if point.payload]
            if offset is None:
                return found

    async def put(self, points: Sequence[Point]) -> None:
        """As `Points.put`."""
        structs = [
            models.PointStruct(
                id=point.id,
                vector={
                    DENSE: list(point.dense),
                    TITLE: list(point.title),
                    SPARSE: models.SparseVector(indices=point.sparse[0], values=point.sparse[1]),
                },
                payload=point.payload,
            )
            for point in points
        ]
        with _translated():
            await self._client.upsert(self._collection, structs)

    async def delete(self, ids: Sequence[int]) -> None:
        """As `Points.delete`."""
        with _translated():
            await self._client.delete(self._collection, list(ids))

    async def drop(self) -> None:
        """As `Points.drop`."""
        with _translated():
            await self._client.delete_collection(self._collection)


@asynccontextmanager
async def open_server(url: str, api_key: str | None, collection: str, dimension: int) -> AsyncIterator[Server]:
    """The collection at ``url``. Raises `Misconfigured` when it does not answer."""
    try:
        client = AsyncQdrantClient(url, api_key=api_key, timeout=_TIMEOUT, check_compatibility=False)
    except ValueError as exc:
        raise Misconfigured("QDRANT_URL", "is no URL", "http://HOST:PORT, or https://HOST") from exc
    points = Server(client, collection, dimension)
    try:
        await points.prepare()
    except Unavailable as exc:
        raise Misconfigured("QDRANT_URL", exc.detail, f"is Qdrant running at {url}?") from exc
    try:
        yield points
    finally:
        await client.close()


def _filter(limits: Limits) -> models.Filter | None:
    if not limits.hidden and not limits.equal:
        return None
    equal: list[Any] = [
        models.FieldCondition(key=key, match=models.MatchValue(value=value)) for key, value in limits.equal.items()
    ]
    hidden: list[Any] = [models.HasIdCondition(has_id=list(limits.hidden))] if limits.hidden else []
    return models.Filter(must=equal, must_not=hidden)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ApiException, httpx.HTTPError, OSError) as exc:
        raise Unavailable("qdrant", f"{type(exc).__name__}: {exc}") from exc
