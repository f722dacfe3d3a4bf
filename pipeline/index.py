"""The index over past incidents: derived from PostgreSQL, kept in Qdrant, searched by meaning and by words."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np

from pipeline.embedding import Embedder
from pipeline.qdrant import Hits, Limits, Point, Points, open_points
from pipeline.settings import Settings
from pipeline.standing import clearance, distinctness, just_near
from pipeline.words import Query, document_of, essence_of, title_of, words
from schemas import Action, Evidence, Incident, Signals

_CANDIDATES = 30
"""How many hits of each kind are fused. More cost time and find no more: deploy/RETRIEVAL.md."""
_WORDS_SHARE, _SHORT = 1.5, 6
"""The weight of BM25, and the words added to a query's own when it is made a share: one word in common says little."""
_FAILED = 0.05
_TWIN = 0.97
"""The cosine from which two incidents tell the same. Different ones of our sets reach 0.966."""
_COMPARED = 10
"""How many of the nearest are looked through for those that tell something else than the first."""
_SAME_ERROR, _SAME_SERVICE = 1.0, 0.1
FILTERS = ("service", "error_type", "fault_class", "outcome")
"""The payload's fields that a search may be limited by."""
_KEPT = 10_000
"""How many incidents are kept in memory as the index holds them; about 8 KB each."""
_FORM = "9"
"""Changes when points are made in another way: another collection, derived anew."""
_AT_ONCE = 64
"""Incidents that are embedded and written together."""


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest incidents, best first, and how the first one stands out."""

    evidence: list[Evidence]
    signals: Signals


class Source(Protocol):
    """The part of the record that the index derives from."""

    async def incidents(self, *, ids: Sequence[str] | None = None, limit: int | None = None) -> list[Incident]:
        """The incidents by id."""

    async def incident_versions(self) -> dict[str, int]:
        """Each incident's version."""

    async def incident_state(self) -> tuple[int, int]:
        """A pair that changes whenever any incident does."""


class Index:
    """Search, and keeping level with the record."""

    def __init__(self, points: Points, embedder: Embedder) -> None:
        self._points = points
        self._embedder = embedder
        self._level: tuple[int, int] | None = None
        self._kept = _Kept()
        self._size = 0
        self._syncing = asyncio.Lock()

    @property
    def level(self) -> tuple[int, int] | None:
        """The state of the record that the index is level with; it changes whenever any incident does."""
        return self._level

    async def ping(self) -> None:
        """Answer, or raise `Unavailable`."""
        await self._points.ping()

    async def search(
        self, queries: Sequence[Query], limit: int = 5, hidden: Collection[str] = (),
        only: Mapping[str, str] | None = None,
    ) -> list[Found]:  # fmt: skip
        """The nearest incidents of each query, by meaning and by words, the two fused by `_fused`.

        Incidents of these ``hidden`` ids are passed over, and so are those whose payload differs from ``only``.
        An evidence's ``score`` is the cosine similarity of the dense vectors, which means something by itself: of all
        that an incident looks like or of its title alone, whichever is nearer.

        One call for all queries together, and another for what the hits say where that is not known yet.
        """
        texts = [query.text for query in queries]
        dense = await self._embedder.embed(texts)
        sparse = await self._embedder.sparse_query(texts)
        wanted = max(limit, _COMPARED)
        asked = [(vector, terms.vector) for vector, terms in zip(dense, sparse, strict=True)]
        hits = await self._points.nearest(asked, max(wanted, _CANDIDATES), _limits(hidden, only or {}))
        if len(self._kept.known) > _KEPT:
            self._kept = _Kept()
        kept = self._kept  # what is found while the record changes goes into the old one
        known = await self._known({point for by_meaning, by_words in hits for point in (*by_meaning, *by_words)}, kept)
        fused = [
            _fused(query, vector, len(terms.words), max(self._size, 1), by_meaning, by_words, known)[:wanted]
            for query, vector, terms, (by_meaning, by_words) in zip(queries, dense, sparse, hits, strict=True)
        ]
        beside = await self._near_titles({best[0].point: best[0].known for best in fused if best}, kept)
        passed = {_point_id(name) for name in hidden}
        return [
            _found(query, terms.words, best, by_meaning, _others(best, beside, passed), self._size, limit)
            for query, terms, best, (by_meaning, _) in zip(queries, sparse, fused, hits, strict=True)
        ]

    async def _known(self, ids: Collection[int], kept: "_Kept") -> dict[int, "_Known"]:
        """What the points say; one that was retired meanwhile is missing."""
        missing = [point for point in ids if point not in kept.known]
        if missing:
            kept.known.update((point.id, _known(point)) for point in await self._points.get(missing))
        return {point: kept.known[point] for point in ids if point in kept.known}

    async def _near_titles(self, firsts: Mapping[int, "_Known"], kept: "_Kept") -> dict[int, Hits]:
        """The titles nearest to each one's."""
        missing = [point for point in firsts if point not in kept.beside]
        if missing:
            found = await self._points.titled([firsts[point].title.tolist() for point in missing], _COMPARED)
            kept.beside.update(zip(missing, found, strict=True))
        return {point: kept.beside[point] for point in firsts}

    async def sync(self, record: Source) -> int:
        """Bring the index level with the record; returns how many incidents changed. Cheap when none did.

        One at a time: what an older look at the record wrote or removed last would stay so.
        """
        async with self._syncing:
            return await self._sync(record)

    async def _sync(self, record: Source) -> int:
        state = await record.incident_state()
        if state == self._level:
            return 0
        await self._points.prepare()
        self._kept = _Kept()
        # Before the record: what another process learns between the two is not taken for retired.
        found = await self._points.payloads(["incident_id", "version"])
        wanted = await record.incident_versions()
        self._size = len(wanted)
        held = {str(payload["incident_id"]): int(payload["version"]) for payload in found}
        changed = [incident_id for incident_id, version in wanted.items() if held.get(incident_id) != version]
        gone = [incident_id for incident_id in held if incident_id not in wanted]
        written = 0
        for start in range(0, len(changed), _AT_ONCE):
            incidents = await record.incidents(ids=changed[start : start + _AT_ONCE])  # those that can be read
            await self._write(incidents, wanted)
            written += len(incidents)
        if gone:
            await self._points.delete([_point_id(incident_id) for incident_id in gone])
        self._kept = _Kept()  # a search meanwhile may have found the old ones
        self._level = state
        return written + len(gone)

    async def add(self, incidents: Sequence[Incident]) -> None:
        """Write what is not in it yet, and look at nothing that is: for an index that nobody else writes."""
        async with self._syncing:
            await self._points.prepare()
            for start in range(0, len(incidents), _AT_ONCE):
                some = incidents[start : start + _AT_ONCE]
                await self._write(some, dict.fromkeys((incident.id for incident in some), 1))
            self._size += len(incidents)
            self._kept = _Kept(self._kept.known)
            self._level = None

    async def rebuild(self, record: Source) -> int:
        """Drop everything and derive it anew."""
        async with self._syncing:
            await self._points.drop()
            self._level = None
            return await self._sync(record)

    async def _write(self, incidents: Sequence[Incident], versions: dict[str, int]) -> None:
        dense = await self._embedder.embed([essence_of(incident) for incident in incidents])
        titles = await self._embedder.embed([title_of(incident) for incident in incidents])
        sparse = await self._embedder.sparse([document_of(incident) for incident in incidents])
        await self._points.put(
            [
                Point(_point_id(incident.id), vector, title, terms, _payload(incident, versions[incident.id]))
                for incident, vector, title, terms in zip(incidents, dense, titles, sparse, strict=True)
            ]
        )


@asynccontextmanager
async def open_index(settings: Settings, embedder: Embedder) -> AsyncIterator[Index]:
    """The index of this process. Raises `Misconfigured` when QDRANT_URL does not answer."""
    model = hashlib.sha256(f"{_FORM}:{embedder.name}:{embedder.dimension}".encode()).hexdigest()[:8]
    collection = f"incidents-{model}"  # another model's vectors are another collection
    async with open_points(settings, collection, embedder.dimension) as points:
        yield Index(points, embedder)


def _point_id(incident_id: str) -> int:
    return int.from_bytes(hashlib.sha256(incident_id.encode()).digest()[:8])


def _payload(incident: Incident, version: int) -> dict[str, Any]:
    summary = " ".join(part for part in (incident.root_cause, incident.mitigation) if part)
    return {
        "incident_id": incident.id,
        "version": version,
        "title": incident.title,
        "service": incident.service,
        "error_type": words(incident.error_type or ""),
        "fault_class": incident.fault_class,
        "action": msgspec.to_builtins(incident.action),
        "outcome": incident.outcome,
        "summary": summary[:600],
    }


@dataclass(frozen=True, slots=True)
class _Known:
    """An incident as the index holds it."""

    payload: dict[str, Any]
    vectors: Any
    """Of all that it looks like, and of its title: two rows of unit length."""
    terms: frozenset[int]
    evidence: Evidence

    @property
    def dense(self) -> Any:
        return self.vectors[0]

    @property
    def title(self) -> Any:
        return self.vectors[1]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was asked of the index until the record changes: what points say, and the titles nearest to a point's."""

    known: dict[int, _Known] = field(default_factory=dict)
    beside: dict[int, Hits] = field(default_factory=dict)


def _known(point: Point) -> _Known:
    payload = point.payload
    evidence = Evidence(
        incident_id=payload["incident_id"],
        title=payload["title"],
        score=0.0,
        action=msgspec.convert(payload["action"], Action | None),
        outcome=payload["outcome"],
        summary=payload["summary"],
    )
    return _Known(payload, np.asarray([point.dense, point.title], np.float32), frozenset(point.sparse[0]), evidence)


def _limits(hidden: Collection[str], only: Mapping[str, str]) -> Limits:
    equal = {field: words(value) if field == "error_type" else value for field, value in only.items()}
    return Limits(equal, [_point_id(name) for name in hidden])


@dataclass(frozen=True, slots=True)
class _Hit:
    """An incident as an answer to a query: its cosines, ``whole`` and by ``title``, and the ``score`` for the order."""

    point: int
    known: _Known
    whole: float
    title: float
    score: float

    @property
    def cosine(self) -> float:
        """How near it is, by the nearer of its vectors."""
        return max(self.whole, self.title)


def _fused(
    query: Query, vector: list[float], words_asked: int, size: int, by_meaning: Hits, by_words: Hits,
    known: Mapping[int, _Known],
) -> list[_Hit]:  # fmt: skip
    """The hits of both searches, best first: ``cosine + 1.5 * bm25 / most``, more for equal fields, less for failures.

    BM25 has no upper bound and rises with the record's ``size``. ``most`` is about what an incident gets that holds
    each word of the query, all of them rare: over it, BM25 is comparable between queries and records.
    Scores and not ranks: those say nothing of how sure the order is (deploy/RETRIEVAL.md).
    """
    found = {point: known[point] for point in {**by_meaning, **by_words} if point in known}
    if not found:
        return []
    # Of both vectors, also of what was found by its words alone.
    cosines = np.stack([one.vectors for one in found.values()]) @ np.asarray(vector, np.float32)
    most = (words_asked + _SHORT) * math.log(1 + size)
    kind, service = query.kind, query.service
    hits: dict[int, _Hit] = {}
    for (point, one), (whole, title) in zip(found.items(), cosines.tolist(), strict=True):
        score = (
            max(whole, title)
            + _WORDS_SHARE * by_words.get(point, 0.0) / most
            + _SAME_ERROR * bool(kind and one.payload["error_type"] == kind)
            + _SAME_SERVICE * bool(service and one.payload["service"] == service)
            - _FAILED * (one.payload["outcome"] == "failed")
        )
        hits[point] = _Hit(point, one, whole, title, score)
    return [hits[point] for point in sorted(hits, key=lambda point: (-hits[point].score, point))]


def _found(
    query: Query,
    terms: list[int],
    hits: Sequence[_Hit],
    by_meaning: Hits,
    beside: Sequence[float],
    size: int,
    limit: int,
) -> Found:
    """``beside``: the cosines of the first one's title with other ones; ``size``: the record's."""
    if not hits:
        return Found([], Signals())
    first = hits[0]
    rivals = _rivals(hits)
    kind = query.kind
    signals = Signals(
        similarity=round(first.whole, 4),
        margin=round(first.score - rivals[0], 4),
        coverage=round(sum(term in first.known.terms for term in terms) / len(terms), 4) if terms else 0.0,
        exact=float(bool(kind) and kind == first.known.payload["error_type"]),
        agreement=float(first.cosine >= max(hit.cosine for hit in hits)),
        clearance=round(clearance(first.score, rivals), 4),
        lead=round(first.cosine - just_near(list(by_meaning.values())), 4),
        distinct=round(distinctness(first.title, beside), 4),
        searched=size,
    )
    evidence = [
        msgspec.structs.replace(hit.known.evidence, score=round(min(max(hit.cosine, -1.0), 1.0), 4))
        for hit in hits[:limit]
    ]
    return Found(evidence, signals)


def _others(hits: Sequence[_Hit], beside: Mapping[int, Hits], hidden: Collection[int]) -> list[float]:
    """The cosines of the first one's title with what is called otherwise: an incident that came back is no other."""
    return [
        cosine
        for first in hits[:1]
        for point, cosine in beside[first.point].items()
        if point != first.point and cosine < _TWIN and point not in hidden
    ]


def _rivals(hits: Sequence[_Hit]) -> list[float]:
    """The scores of those that tell something else, at least one: a recurrence of the first is no doubt of it."""
    first = hits[0].known.dense
    others = [hit.score for hit in hits[1:] if float(hit.known.dense @ first) < _TWIN]
    return others or [hits[-1].score if len(hits) >= _COMPARED else 0.0]
