"""Qdrant: points with a dense and a sparse vector, found by either, and a dense one of their titles beside them.

Two forms of one engine: `server` speaks to the one at QDRANT_URL, `edge` is the one within this process.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.settings import Settings

DENSE, TITLE, SPARSE = "dense", "title", "sparse"
Sparse = tuple[list[int], list[float]]
"""Token ids and their weights."""
Asked = tuple[Sequence[float], Sparse]
"""What to look for: by its dense vector, and by its sparse one."""
Hits = Mapping[int, float]
"""Ids of points and scores, best first: cosine similarity, or the sum of weights by inverse document frequency."""


@dataclass(frozen=True, slots=True)
class Point:
    """What is kept under an id of 64 bits. ``dense`` and ``title`` are of unit length."""

    id: int
    dense: Sequence[float]
    title: Sequence[float]
    sparse: Sparse
    payload: dict[str, Any]


def point_of(record: Any) -> Point:
    """The point in a record of either form, which has its vectors and its payload."""
    vectors = record.vector
    sparse = vectors[SPARSE]
    return Point(int(record.id), vectors[DENSE], vectors[TITLE], (sparse.indices, sparse.values), record.payload)


@dataclass(frozen=True, slots=True)
class Limits:
    """Which points may be found: those whose payload has these values, and not these ids."""

    equal: Mapping[str, str] = field(default_factory=dict)
    hidden: Collection[int] = ()


class Points(Protocol):
    """One collection. Every call raises `Unavailable` in an outage."""

    async def ping(self) -> None:
        """Answer."""

    async def prepare(self) -> None:
        """Create the collection where it is missing."""

    async def nearest(self, asked: Sequence[Asked], limit: int, limits: Limits) -> list[tuple[Hits, Hits]]:
        """For each: the best by the dense vector, and by the sparse one, at most ``limit`` each."""

    async def titled(self, titles: Sequence[Sequence[float]], limit: int) -> list[Hits]:
        """For each: the best by their titles' vectors."""

    async def get(self, ids: Sequence[int]) -> list[Point]:
        """Those of the ids that there are."""

    async def payloads(self, fields: Sequence[str]) -> list[Mapping[str, Any]]:
        """These fields of every point."""

    async def put(self, points: Sequence[Point]) -> None:
        """Add the points, in place of those of the same ids."""

    async def delete(self, ids: Sequence[int]) -> None:
        """Remove them."""

    async def drop(self) -> None:
        """Remove the collection."""


@asynccontextmanager
async def open_points(settings: Settings, collection: str, dimension: int) -> AsyncIterator[Points]:
    """The collection, ready for use. Raises `Misconfigured` when QDRANT_URL does not answer."""
    if settings.qdrant_url is not None:
        from pipeline.qdrant.server import open_server  # noqa: PLC0415 - slow to import, and one of both is enough

        async with open_server(settings.qdrant_url, settings.qdrant_api_key, collection, dimension) as points:
            yield points
    else:
        from pipeline.qdrant.edge import open_edge  # noqa: PLC0415 - likewise

        async with open_edge(settings.home / "qdrant", collection, dimension) as edge:
            yield edge
