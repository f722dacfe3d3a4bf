"""What a search answers, and what the index holds, while the record changes. Played: the points, and their vectors."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pipeline.embedding import Terms
from pipeline.index import Index
from pipeline.qdrant import Asked, Hits, Limits, Point, Sparse
from pipeline.words import Query
from schemas import Incident


class PlayedEmbedder:
    """To it all texts mean the same."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    async def sparse(self, texts: Sequence[str]) -> list[Sparse]:
        return [([1], [1.0]) for _ in texts]

    async def sparse_query(self, texts: Sequence[str]) -> list[Terms]:
        return [Terms([1], ([1], [1.0])) for _ in texts]


class PlayedPoints:
    """Finds all that it holds. ``before`` says what happens while a call is under way, once."""

    def __init__(self) -> None:
        self.held: dict[int, Point] = {}
        self.before: dict[str, Any] = {}

    async def _meanwhile(self, call: str) -> None:
        happens = self.before.pop(call, None)
        if happens is not None:
            await happens()

    async def prepare(self) -> None:
        """It is there."""

    async def nearest(self, asked: Sequence[Asked], limit: int, limits: Limits) -> list[tuple[Hits, Hits]]:
        seen = [point for point in self.held if point not in limits.hidden]
        return [(dict.fromkeys(seen, 1.0), {}) for _ in asked]

    async def titled(self, titles: Sequence[Sequence[float]], limit: int) -> list[Hits]:
        return [dict.fromkeys(self.held, 0.5) for _ in titles]

    async def get(self, ids: Sequence[int]) -> list[Point]:
        found = [self.held[point] for point in ids if point in self.held]
        await self._meanwhile("get")
        return found

    async def payloads(self, fields: Sequence[str]) -> list[Mapping[str, Any]]:
        await self._meanwhile("payloads")
        return [point.payload for point in self.held.values()]

    async def put(self, points: Sequence[Point]) -> None:
        await self._meanwhile("put")
        self.held |= {point.id: point for point in points}

    async def delete(self, ids: Sequence[int]) -> None:
        for point in ids:
            self.held.pop(point, None)


class PlayedRecord:
    """Incidents by id, each with its version."""

    def __init__(self, *names: str) -> None:
        self.titles: dict[str, tuple[int, str]] = {}
        for name in names:
            self.put(name)

    def put(self, name: str, title: str = "as it was") -> None:
        self.titles[name] = (self.titles.get(name, (0, ""))[0] + 1, title)

    async def incidents(self, *, ids: Sequence[str] | None = None, limit: int | None = None) -> list[Incident]:
        return [Incident(id=name, title=self.titles[name][1]) for name in ids or () if name in self.titles]

    async def incident_versions(self) -> dict[str, int]:
        return {name: version for name, (version, _) in self.titles.items()}

    async def incident_state(self) -> tuple[int, int]:
        return len(self.titles), sum(version for version, _ in self.titles.values())


async def opened(*names: str) -> tuple[Index, PlayedPoints, PlayedRecord]:
    points, record = PlayedPoints(), PlayedRecord(*names)
    index = Index(points, PlayedEmbedder())  # type: ignore[arg-type]
    await index.sync(record)
    return index, points, record


async def found(index: Index, hidden: Collection[str] = ()) -> dict[str, str]:
    (one,) = await index.search([Query("what was seen")], 10, hidden)
    return {item.incident_id: item.title for item in one.evidence}


async def test_a_search_finds_what_it_knew_while_something_is_learned():
    """Two of three incidents are known from before; while the third is asked for a fourth one is learned."""
    index, points, record = await opened("a", "b", "c")
    assert set(await found(index, hidden=["c"])) == {"a", "b"}

    async def learn() -> None:
        record.put("d")
        await index.sync(record)

    points.before["get"] = learn
    assert set(await found(index)) == {"a", "b", "c"}
    assert set(await found(index)) == {"a", "b", "c", "d"}


async def test_what_changes_under_a_search_is_not_kept_as_it_was():
    """The answer that was under way is the old one; the next one is not."""
    index, points, record = await opened("a")

    async def change() -> None:
        record.put("a", "as it is")
        await index.sync(record)

    points.before["get"] = change
    assert await found(index) == {"a": "as it was"}
    assert await found(index) == {"a": "as it is"}


async def test_what_another_process_learns_meanwhile_is_not_taken_for_retired():
    """It writes both, record and points, while this one looks at the one and then at the other."""
    index, points, record = await opened("a")
    record.put("b")

    async def learn_elsewhere() -> None:
        record.put("c")
        _, others, _ = await opened("c")
        points.held |= others.held

    points.before["payloads"] = learn_elsewhere
    await index.sync(record)
    assert set(await found(index)) == {"a", "b", "c"}


async def test_what_is_retired_while_it_is_indexed_is_not_advised():
    """Its incident is about to be written as it is retired; the one that hears of that has another one to write."""
    index, points, record = await opened()
    record.put("a")
    first = asyncio.create_task(index.sync(record))
    second: list[asyncio.Task[int]] = []

    async def retire() -> None:
        del record.titles["a"]
        record.put("b")
        record.put("c")
        points.before["put"] = lambda: asyncio.wait([first])
        second.append(asyncio.create_task(index.sync(record)))
        for _ in range(50):
            await asyncio.sleep(0)

    points.before["put"] = retire
    await first
    await second[0]
    await index.sync(record)
    assert set(await found(index)) == {"b", "c"}
