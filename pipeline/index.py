"""Qdrant, derived from PostgreSQL: hybrid search over past incidents. The only module that speaks to qdrant_client.

Without QDRANT_URL it is Qdrant's in-process mode. That allows one process a folder, so each takes the first free
slot under PULSEGUARD_HOME and keeps its own derived copy there; the lock goes with the process, however it ends.
"""

import fcntl
import hashlib
import math
import os
import pickle
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec
import numpy as np
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException

from pipeline.embedding import Embedder, Sparse
from pipeline.errors import Misconfigured, Unavailable
from pipeline.settings import Settings
from pipeline.standing import UNSEEN_COSINE, clearance, just_near
from pipeline.words import Query, document_of, essence_of, words
from schemas import Action, Evidence, Incident, Signals

_CANDIDATES = 30
"""How many hits of each kind are fused. More cost time and find no more: deploy/RETRIEVAL.md."""
_WORDS_SHARE, _SHORT = 1.75, 6
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
"""How many incidents are kept in memory as the index holds them; 4 KB each."""
_TIMEOUT = 5
_FORM = "5"
"""Changes when points are made in another way: another collection, derived anew."""
_DAMAGE = (ValueError, KeyError, TypeError, RuntimeError, OSError, EOFError, pickle.UnpicklingError, sqlite3.Error)
"""What the in-process mode raises on a folder that is damaged: JSON, SQLite and pickles."""


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

    def __init__(self, client: AsyncQdrantClient, embedder: Embedder) -> None:
        self._client = client
        self._embedder = embedder
        model = hashlib.sha256(f"{_FORM}:{embedder.name}:{embedder.dimension}".encode()).hexdigest()[:8]
        self._collection = f"incidents-{model}"  # another model's vectors are another collection
        self._level: tuple[int, int] | None = None
        self._kept: dict[Any, _Known] = {}
        self._size = 1

    async def ping(self) -> None:
        """Answer, or raise `Unavailable`."""
        with _translated():
            await self._client.get_collections()

    async def prepare(self) -> None:
        """Create the collection where it is missing."""
        with _translated():
            if await self._client.collection_exists(self._collection):
                return
            try:
                await self._create()
            except ApiException:  # another replica may have been first: a conflict, and what we wanted
                if not await self._client.collection_exists(self._collection):
                    raise

    async def _create(self) -> None:
        dense = models.VectorParams(size=self._embedder.dimension, distance=models.Distance.COSINE)
        sparse = models.SparseVectorParams(modifier=models.Modifier.IDF)
        await self._client.create_collection(
            self._collection, vectors_config={"dense": dense}, sparse_vectors_config={"sparse": sparse}
        )

    async def search(
        self, queries: Sequence[Query], limit: int = 5, hidden: Collection[str] = (),
        only: Mapping[str, str] | None = None,
    ) -> list[Found]:  # fmt: skip
        """The nearest incidents of each query, by meaning and by words, the two fused by `_fused`.

        Incidents of these ``hidden`` ids are passed over, and so are those whose payload differs from ``only``.
        An evidence's ``score`` is the cosine similarity of the dense vectors, which means something by itself.

        One call for all queries together, and another for what the hits say where that is not known yet. Qdrant could
        fuse them itself; its in-process mode takes four times as long for that as for the search.
        """
        texts = [query.text for query in queries]
        dense = await self._embedder.embed(texts)
        sparse = await self._embedder.sparse_query(texts)
        seen = _filter(hidden, only or {})
        wanted = max(limit, _COMPARED)
        requests = [
            request
            for vector, terms in zip(dense, sparse, strict=True)
            for request in _requests(vector, terms, max(wanted, _CANDIDATES), seen)
        ]
        with _translated():
            hits = [found.points for found in await self._client.query_batch_points(self._collection, requests)]
        known = await self._known({hit.id for found in hits for hit in found})
        return [
            _found(
                query,
                vector,
                terms[0],
                _fused(query, len(terms[0]), self._size, by_meaning, by_words, known)[:wanted],
                by_meaning,
                limit,
            )
            for query, vector, terms, by_meaning, by_words in zip(
                queries, dense, sparse, hits[::2], hits[1::2], strict=True
            )
        ]

    async def _known(self, points: Collection[Any]) -> dict[Any, "_Known"]:
        """What the points say; one that was retired meanwhile is missing. Kept until the record changes."""
        missing = [point for point in points if point not in self._kept]
        if missing:
            if len(self._kept) > _KEPT:
                self._kept.clear()
                missing = list(points)
            with _translated():
                records: list[Any] = await self._client.retrieve(
                    self._collection, missing, with_payload=True, with_vectors=True
                )  # fmt: skip
            for record in records:
                self._kept[record.id] = _Known(
                    record.payload, np.asarray(record.vector["dense"]), frozenset(record.vector["sparse"].indices)
                )
        return {point: self._kept[point] for point in points if point in self._kept}

    async def sync(self, record: Source) -> int:
        """Bring the index level with the record; returns how many incidents changed. Cheap when none did."""
        state = await record.incident_state()
        if state == self._level:
            return 0
        await self.prepare()
        self._kept.clear()
        wanted = await record.incident_versions()
        self._size = max(len(wanted), 1)
        held = await self._versions()
        changed = [incident_id for incident_id, version in wanted.items() if held.get(incident_id) != version]
        gone = [incident_id for incident_id in held if incident_id not in wanted]
        for start in range(0, len(changed), 64):
            await self._write(await record.incidents(ids=changed[start : start + 64]), wanted)
        if gone:
            with _translated():
                await self._client.delete(self._collection, [_point_id(incident_id) for incident_id in gone])
        self._kept.clear()  # a search meanwhile may have found the old ones
        self._level = state
        return len(changed) + len(gone)

    async def rebuild(self, record: Source) -> int:
        """Drop everything and derive it anew."""
        with _translated():
            await self._client.delete_collection(self._collection)
        self._level = None
        return await self.sync(record)

    async def _versions(self) -> dict[str, int]:
        held: dict[str, int] = {}
        offset: Any = None
        while True:
            with _translated():
                points, offset = await self._client.scroll(
                    self._collection, limit=1000, offset=offset, with_payload=["incident_id", "version"]
                )
            held |= {str(p.payload["incident_id"]): int(p.payload["version"]) for p in points if p.payload}
            if offset is None:
                return held

    async def _write(self, incidents: Sequence[Incident], versions: dict[str, int]) -> None:
        dense = await self._embedder.embed([essence_of(incident) for incident in incidents])
        sparse = await self._embedder.sparse([document_of(incident) for incident in incidents])
        points = [
            models.PointStruct(
                id=_point_id(incident.id),
                vector={"dense": vector, "sparse": models.SparseVector(indices=indices, values=values)},
                payload=_payload(incident, versions[incident.id]),
            )
            for incident, vector, (indices, values) in zip(incidents, dense, sparse, strict=True)
        ]
        with _translated():
            await self._client.upsert(self._collection, points)


@asynccontextmanager
async def open_index(settings: Settings, embedder: Embedder) -> AsyncIterator[Index]:
    """The index of this process. Raises `Misconfigured` when QDRANT_URL does not answer."""
    if settings.qdrant_url is not None:
        client = AsyncQdrantClient(
            settings.qdrant_url, api_key=settings.qdrant_api_key, timeout=_TIMEOUT, check_compatibility=False
        )
        index = Index(client, embedder)
        try:
            await index.prepare()
        except Unavailable as exc:
            raise Misconfigured("QDRANT_URL", exc.detail, f"is Qdrant running at {settings.qdrant_url}?") from exc
        try:
            yield index
        finally:
            await client.close()
        return
    with _slot(settings.home / "qdrant") as folder:
        client = _local_client(folder)
        index = Index(client, embedder)
        try:
            await index.prepare()
            yield index
        finally:
            await client.close()


def _local_client(folder: Path) -> AsyncQdrantClient:
    try:
        return AsyncQdrantClient(path=str(folder / "data"))
    except _DAMAGE:  # half-written, but derived: begin anew
        shutil.rmtree(folder / "data", ignore_errors=True)
        return AsyncQdrantClient(path=str(folder / "data"))


@contextmanager
def _slot(root: Path) -> Iterator[Path]:
    for number in range(64):
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
    raise Misconfigured("PULSEGUARD_HOME", "64 processes use it already", "name a Qdrant server with QDRANT_URL")


def _point_id(incident_id: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"pulseguard:incident:{incident_id}"))


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
    dense: Any
    terms: frozenset[int]


def _requests(
    vector: list[float], terms: Sparse, candidates: int, seen: models.Filter | None
) -> tuple[models.QueryRequest, models.QueryRequest]:  # fmt: skip
    """The nearest by meaning, and by words: ids and scores."""
    by_words = models.SparseVector(indices=terms[0], values=terms[1])
    return (
        models.QueryRequest(query=vector, using="dense", limit=candidates, filter=seen, with_payload=False),
        models.QueryRequest(query=by_words, using="sparse", limit=candidates, filter=seen, with_payload=False),
    )


def _filter(hidden: Collection[str], only: Mapping[str, str]) -> models.Filter | None:
    ids: list[Any] = [_point_id(name) for name in hidden]
    equal: list[Any] = [
        models.FieldCondition(
            key=field, match=models.MatchValue(value=words(value) if field == "error_type" else value)
        )
        for field, value in only.items()
    ]
    if not ids and not equal:
        return None
    return models.Filter(must=equal, must_not=[models.HasIdCondition(has_id=ids)] if ids else None)


def _fused(
    query: Query, words_asked: int, size: int, by_meaning: Sequence[Any], by_words: Sequence[Any],
    known: Mapping[Any, _Known],
) -> list[tuple[_Known, float]]:  # fmt: skip
    """Incidents and scores, best first: ``cosine + 1.75 * bm25 / most``, more for equal fields, less for a failure.

    BM25 has no upper bound and rises with the record's ``size``. ``most`` is about what an incident gets that holds
    each word of the query, all of them rare: over it, BM25 is comparable between queries and records.
    Scores and not ranks: those say nothing of how sure the order is (deploy/RETRIEVAL.md).
    """
    most = (words_asked + _SHORT) * math.log(1 + size)
    cosines = {hit.id: hit.score for hit in by_meaning}
    shares = {hit.id: hit.score / most for hit in by_words}
    scores = {
        point: cosines.get(point, UNSEEN_COSINE)
        + _WORDS_SHARE * shares.get(point, 0.0)
        + _SAME_ERROR * bool(query.kind and payload["error_type"] == query.kind)
        + _SAME_SERVICE * bool(query.service and payload["service"] == query.service)
        - _FAILED * (payload["outcome"] == "failed")
        for point in {**cosines, **shares}
        if point in known and (payload := known[point].payload)
    }
    ordered = sorted(scores.items(), key=lambda scored: (-scored[1], str(scored[0])))
    return [(known[point], score) for point, score in ordered]


def _found(
    query: Query, vector: list[float], terms: list[int], hits: Sequence[tuple[_Known, float]],
    by_meaning: Sequence[Any], limit: int,
) -> Found:  # fmt: skip
    if not hits:
        return Found([], Signals())
    asked = np.asarray(vector)
    cosines = [float(known.dense @ asked) for known, _ in hits]  # of unit vectors
    first, score = hits[0]
    rivals = _rivals(hits)
    signals = Signals(
        similarity=round(cosines[0], 4),
        margin=round(score - rivals[0], 4),
        coverage=round(sum(term in first.terms for term in terms) / len(terms), 4) if terms else 0.0,
        exact=float(bool(query.kind) and query.kind == first.payload["error_type"]),
        agreement=float(cosines[0] >= max(cosines)),
        clearance=round(clearance(score, rivals), 4),
        lead=round(cosines[0] - just_near([hit.score for hit in by_meaning]), 4),
    )
    return Found([_evidence(known, cosine) for (known, _), cosine in zip(hits, cosines, strict=True)][:limit], signals)


def _rivals(hits: Sequence[tuple[_Known, float]]) -> list[float]:
    """The scores of those that tell something else, at least one: a recurrence of the first is no doubt of it."""
    first = hits[0][0].dense
    others = [score for known, score in hits[1:] if float(known.dense @ first) < _TWIN]
    return others or [hits[-1][1] if len(hits) >= _COMPARED else 0.0]


def _evidence(known: _Known, cosine: float) -> Evidence:
    payload = known.payload
    return Evidence(
        incident_id=payload["incident_id"],
        title=payload["title"],
        score=round(min(max(cosine, -1.0), 1.0), 4),
        action=msgspec.convert(payload["action"], Action | None),
        outcome=payload["outcome"],
        summary=payload["summary"],
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ApiException, httpx.HTTPError, OSError) as exc:
        raise Unavailable("qdrant", f"{type(exc).__name__}: {exc}") from exc
