"""Qdrant, derived from PostgreSQL: hybrid search over past incidents. The only module that speaks to qdrant_client.

Without QDRANT_URL it is Qdrant's in-process mode. That allows one process a folder, so each takes the first free
slot under PULSEGUARD_HOME and keeps its own derived copy there; the lock goes with the process, however it ends.
"""

import fcntl
import hashlib
import os
import pickle
import re
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException

from pipeline.embedding import Embedder
from pipeline.errors import Misconfigured, Unavailable
from pipeline.settings import Settings
from schemas import Action, Anomaly, Evidence, Incident

_CANDIDATES = 20
"""How many hits of each kind are fused."""
_MAX_TEXT = 2000
_TIMEOUT = 5
_VOLATILE = re.compile(r"^(instance|pod|host|hostname|node|ip|container|container_id|uid|id|endpoint)$")
_WORDS = re.compile(r"[_\-./]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_EXACT_BONUS = 0.15
_DAMAGE = (ValueError, KeyError, TypeError, RuntimeError, OSError, EOFError, pickle.UnpicklingError, sqlite3.Error)
"""What the in-process mode raises on a folder that is damaged: JSON, SQLite and pickles."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for. ``error_type`` and ``service`` lift incidents that say exactly the same."""

    text: str
    service: str | None
    error_type: str | None


class Source(Protocol):
    """The part of the record that the index derives from."""

    async def incidents(self, *, ids: Sequence[str] | None = None, limit: int | None = None) -> list[Incident]:
        """The incidents by id."""

    async def incident_versions(self) -> dict[str, int]:
        """Each incident's version."""

    async def incident_state(self) -> tuple[int, int]:
        """A pair that changes whenever any incident does."""


def words(name: str) -> str:
    """``database_timeout``, ``KubePodCrashLooping`` and ``disk-full`` as words."""
    return " ".join(_WORDS.sub(" ", name).split()).lower()


def query_of(anomaly: Anomaly) -> Query:
    """The words of an anomaly that tell what it is, most telling first.

    Not the service's name: `search-index` has a full disk like any other. An equal service lifts by its field.
    """
    metric = anomaly.metric.name if anomaly.metric and anomaly.metric.name else ""
    labels = " ".join(words(value) for name, value in anomaly.labels.items() if not _VOLATILE.match(name))
    spike = "" if anomaly.spike_percentage is None else f"{anomaly.spike_percentage:g} % above normal"
    parts = [words(anomaly.error_type), spike, anomaly.message or "", words(metric), labels]
    return Query(". ".join(part for part in parts if part)[:_MAX_TEXT], anomaly.service, anomaly.error_type)


def document_of(incident: Incident) -> str:
    """The words of an incident by which it is found."""
    parts = [incident.title, words(incident.error_type or ""), incident.symptoms]
    return ". ".join(part for part in [*parts, incident.root_cause] if part)[:_MAX_TEXT]


class Index:
    """Search, and keeping level with the record."""

    def __init__(self, client: AsyncQdrantClient, embedder: Embedder) -> None:
        self._client = client
        self._embedder = embedder
        model = hashlib.sha256(f"{embedder.name}:{embedder.dimension}".encode()).hexdigest()[:8]
        self._collection = f"incidents-{model}"  # another model's vectors are another collection
        self._level: tuple[int, int] | None = None

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

    async def search(self, queries: Sequence[Query], limit: int = 5) -> list[list[Evidence]]:
        """The nearest incidents of each query, best first: dense and sparse ranks fused, exact fields lifted.

        ``score`` is the cosine similarity of the dense vectors, which means something by itself; a fused rank does not.
        """
        texts = [query.text for query in queries]
        dense = await self._embedder.embed(texts)
        sparse = await self._embedder.sparse_query(texts)
        requests = []
        for vector, (indices, values) in zip(dense, sparse, strict=True):
            terms = models.SparseVector(indices=indices, values=values)
            requests.append(models.QueryRequest(query=vector, using="dense", limit=_CANDIDATES, with_payload=True))
            requests.append(models.QueryRequest(query=terms, using="sparse", limit=_CANDIDATES, with_payload=True))
        with _translated():
            answers = await self._client.query_batch_points(self._collection, requests=requests)
        pairs = [(answers[n].points, answers[n + 1].points) for n in range(0, len(answers), 2)]
        scores = await self._similarities(dense, pairs)
        return [
            _ranked(query, by_meaning, by_words, score)[:limit]
            for query, (by_meaning, by_words), score in zip(queries, pairs, scores, strict=True)
        ]

    async def sync(self, record: Source) -> int:
        """Bring the index level with the record; returns how many incidents changed. Cheap when none did."""
        state = await record.incident_state()
        if state == self._level:
            return 0
        await self.prepare()
        wanted = await record.incident_versions()
        held = await self._versions()
        changed = [incident_id for incident_id, version in wanted.items() if held.get(incident_id) != version]
        gone = [incident_id for incident_id in held if incident_id not in wanted]
        for start in range(0, len(changed), 64):
            await self._write(await record.incidents(ids=changed[start : start + 64]), wanted)
        if gone:
            with _translated():
                await self._client.delete(self._collection, [_point_id(incident_id) for incident_id in gone])
        self._level = state
        return len(changed) + len(gone)

    async def rebuild(self, record: Source) -> int:
        """Drop everything and derive it anew."""
        with _translated():
            await self._client.delete_collection(self._collection)
        self._level = None
        return await self.sync(record)

    async def _similarities(self, dense: list[list[float]], pairs: list[Any]) -> list[dict[str, float]]:
        """The cosine similarity of every candidate, also of those that only words found."""
        missing = []
        for vector, (by_meaning, by_words) in zip(dense, pairs, strict=True):
            found = {point.id for point in by_meaning}
            ids = [point.id for point in by_words if point.id not in found]
            only = models.Filter(must=[models.HasIdCondition(has_id=ids)])
            missing.append(models.QueryRequest(query=vector, using="dense", limit=max(len(ids), 1), filter=only))
        with _translated():
            answers = await self._client.query_batch_points(self._collection, requests=missing)
        return [
            {str(point.id): float(point.score) for point in [*by_meaning, *answer.points]}
            for (by_meaning, _), answer in zip(pairs, answers, strict=True)
        ]

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
        texts = [document_of(incident) for incident in incidents]
        dense = await self._embedder.embed(texts)
        sparse = await self._embedder.sparse(texts)
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
        "error_type": incident.error_type,
        "fault_class": incident.fault_class,
        "action": msgspec.to_builtins(incident.action),
        "outcome": incident.outcome,
        "summary": summary[:600],
    }


def _ranked(query: Query, by_meaning: list[Any], by_words: list[Any], scores: dict[str, float]) -> list[Evidence]:
    """Order by cosine, plus a share for the rank among words and for fields that are equal."""
    points = {str(point.id): point for point in [*by_meaning, *by_words]}
    word_share = {str(point.id): 0.1 / (1 + rank) for rank, point in enumerate(by_words)}

    def weight(key: str) -> float:
        payload = points[key].payload
        same_error = bool(query.error_type and payload["error_type"]) and (
            words(query.error_type or "") == words(payload["error_type"])
        )
        same_service = bool(query.service) and query.service == payload["service"]
        bonus = _EXACT_BONUS * same_error + _EXACT_BONUS / 3 * same_service
        return scores.get(key, 0.0) + word_share.get(key, 0.0) + bonus

    return [
        Evidence(
            incident_id=points[key].payload["incident_id"],
            title=points[key].payload["title"],
            score=round(min(max(scores.get(key, 0.0), -1.0), 1.0), 4),
            action=msgspec.convert(points[key].payload["action"], Action | None),
            outcome=points[key].payload["outcome"],
            summary=points[key].payload["summary"],
        )
        for key in sorted(points, key=weight, reverse=True)
    ]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ApiException, httpx.HTTPError, OSError) as exc:
        raise Unavailable("qdrant", f"{type(exc).__name__}: {exc}") from exc
