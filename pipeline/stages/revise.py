"""Episodes that go on, and another revision for one of them, inside a transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec

from pipeline.stages.count import LOCK_FINGERPRINTS
from pipeline.stages.episodes import ACTIVE
from pipeline.stages.stored import stored
from schemas import Anomaly


@dataclass(frozen=True, slots=True)
class Standing:
    """An episode that goes on, its newest revision, and the anomaly that this speaks of."""

    episode_id: str
    revision: int
    fingerprint: str
    situation_id: str | None
    anomaly_id: str
    anomaly: Anomaly


async def standing(connection: Any, most: int, revisions: int) -> list[Standing]:
    """Episodes whose newest revision is decided and that may have another one, the newest first."""
    rows = await connection.fetch(f"{_STANDING} {_DECIDED}", list(ACTIVE), most, revisions)
    return stored("episode", rows, _standing)


async def overdue(connection: Any, after: timedelta) -> list[Standing]:
    """Those that were to be decided again for what was learned, so long ago that they may never have been asked for.

    Each is told until it is `asked`. Of those that nobody waits for any more, or that cannot be read, the mark goes
    here.
    """
    rows = await connection.fetch(f"{_OLD} {_STANDING} {_UNDECIDED}", list(ACTIVE), after)
    found = stored("episode", rows, _standing)
    readable = {one.episode_id for one in found}
    for row in rows:
        if row["id"] not in readable:
            await connection.execute(_ASKED, row["id"], row["revision"])
    return found


async def asked(connection: Any, found: Standing) -> None:
    """It was asked for again, once: what cannot be decided is not asked for ever."""
    await connection.execute(_ASKED, found.episode_id, found.revision)


async def revise(connection: Any, found: Standing) -> Standing | None:
    """The same with another revision, or None where somebody else was first."""
    await connection.execute(LOCK_FINGERPRINTS, [found.fingerprint])
    revision = await connection.fetchval(_REVISE, found.episode_id, found.revision, found.anomaly_id, list(ACTIVE))
    return None if revision is None else replace(found, revision=revision)


def _standing(row: Mapping[str, Any]) -> Standing:
    return Standing(
        row["id"], row["revision"], row["fingerprint"], row["situation_id"], row["anomaly_id"],
        msgspec.json.decode(row["body"], type=Anomaly),
    )  # fmt: skip


_STANDING = """
SELECT episodes.id, episodes.revision, episodes.fingerprint, episodes.situation_id, revisions.anomaly_id, anomalies.body
FROM episodes
JOIN revisions ON revisions.episode_id = episodes.id AND revisions.revision = episodes.revision
JOIN anomalies ON anomalies.id = revisions.anomaly_id
"""
_DECIDED = """
WHERE episodes.state = ANY($1) AND episodes.decided IS NOT NULL AND episodes.revision < $3
ORDER BY episodes.ordinal DESC LIMIT $2
"""
_OLD = """
WITH old AS (
    UPDATE revisions SET learned_at = NULL FROM episodes
    WHERE learned_at < now() - $2::interval AND episodes.id = episode_id
        AND NOT (episodes.revision = revisions.revision AND state = ANY($1) AND decided IS NULL)
)
"""
_UNDECIDED = """
WHERE revisions.learned_at < now() - $2::interval AND episodes.state = ANY($1) AND episodes.decided IS NULL
"""
_ASKED = "UPDATE revisions SET learned_at = NULL WHERE episode_id = $1 AND revision = $2"
_REVISE = """
WITH revised AS (
    UPDATE episodes SET revision = revision + 1, revised_spike = spike, decided = NULL
    WHERE id = $1 AND revision = $2 AND decided IS NOT NULL AND state = ANY($4) RETURNING id, revision
)
INSERT INTO revisions (episode_id, revision, anomaly_id, learned_at)
SELECT id, revision, $3, now() FROM revised RETURNING revision
"""
