"""What was learned meanwhile, brought to the episodes that go on: better evidence is a new revision of the decision.

Where an incident that the last decision did not know is now the first, and sure enough to advise on; or where the one
that it rests on was retired. Not for what a human said about this very episode: that human knows.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from pipeline.confidence import Calibration, trust
from pipeline.errors import Rejected
from pipeline.index import Found, Index
from pipeline.kafka import Sender
from pipeline.settings import Settings
from pipeline.stages import ingest
from pipeline.stages.enrich import publish
from pipeline.stages.learn import incident_id
from pipeline.stages.record import Record, Standing
from pipeline.words import query_of
from schemas import Decision, EnrichedAnomaly

MOST = 200
"""Episodes that are looked up again when something was learned, the newest first."""
_AT_ONCE = 8
_LOST_AFTER = timedelta(seconds=60)
"""When a revision that was written down and has no decision is asked for again: its worker may have died between."""

log = structlog.get_logger()


class Reconsideration:
    """Asks anew when the index has changed. Several workers doing it disturb each other in nothing."""

    def __init__(
        self, *, record: Record, index: Index, sender: Sender, calibration: Calibration, settings: Settings
    ) -> None:  # fmt: skip
        self._record = record
        self._index = index
        self._sender = sender
        self._calibration = calibration
        self._settings = settings
        self._level: tuple[int, int] | None = None

    async def __call__(self) -> int:
        """Ask for what has to be decided again; returns how many that were. Once after a start, too."""
        lost = await self._record.overdue(_LOST_AFTER)
        for standing, now in zip(lost, await self._looked_up(lost), strict=True):
            await self._ask(standing, now)
            await self._record.asked(standing)
        level = self._index.level
        revised: list[tuple[Standing, Found]] = []
        if level != self._level:
            for standing, now in await self._better():
                next_one = await self._record.revise(standing)
                if next_one is not None:
                    revised.append((next_one, now))
        for standing, now in revised:
            await self._ask(standing, now)
        self._level = level
        return len(lost) + len(revised)

    async def _better(self) -> list[tuple[Standing, Found]]:
        """Episodes whose last decision would be another one for what is known now, and what is found for them."""
        standing = await self._record.standing(MOST, self._settings.episode_revisions)
        ids = [ingest.decision_id(one.episode_id, one.revision) for one in standing]
        bodies = await self._record.decision_bodies(ids) if ids else []
        known = await self._record.incident_versions()
        return [
            (one, now)
            for one, body, now in zip(standing, bodies, await self._looked_up(standing), strict=True)
            if body is not None and self._is_better(body, now, known)
        ]

    async def _looked_up(self, asked: list[Standing]) -> list[Found]:
        """What is found for each, a few at a time: new episodes wait behind no more than that."""
        queries = [query_of(one.anomaly) for one in asked]
        found: list[Found] = []
        for start in range(0, len(queries), _AT_ONCE):
            found += await self._index.search(queries[start : start + _AT_ONCE])
        return found

    def _is_better(self, body: bytes, now: Found, known: Collection[str]) -> bool:
        try:
            told = msgspec.json.decode(body, type=Decision)
        except msgspec.MsgspecError:
            return False  # of an earlier release, which allowed more: it stands
        found = [item.incident_id for item in now.evidence]
        rests_on = told.matched_incident
        if rests_on is not None and rests_on not in known and rests_on not in found:
            return True
        first = found[0] if found else None
        if first in {None, incident_id(told.episode_id), *(item.incident_id for item in told.evidence)}:
            return False
        return trust(now.signals, self._calibration).right >= self._settings.min_confidence

    async def _ask(self, one: Standing, now: Found) -> None:
        enriched = EnrichedAnomaly(
            anomaly=one.anomaly,
            anomaly_id=one.anomaly_id,
            fingerprint=one.fingerprint,
            episode_id=one.episode_id,
            revision=one.revision,
            situation_id=one.situation_id,
            evidence=now.evidence,
            signals=now.signals,
            received_at=datetime.now(UTC),  # the anomaly may be hours old: a decision's latency counts from what asked
            timings={},
        )
        try:
            await publish(self._sender, self._settings.topic_enriched, enriched)
        except Rejected as exc:  # what was learned is too large to tell: the others are asked for all the same
            log.warning("revision_refused", episode=one.episode_id, revision=one.revision, detail=exc.reason)
