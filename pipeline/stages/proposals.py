"""Incidents that verdicts taught and that wait for a human's approval (LEARN_APPROVAL)."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pipeline.stages.count import encoded
from pipeline.stages.record import Record
from pipeline.stages.stored import stored
from schemas import Incident


class Proposals:
    """The table ``proposals``: one an id, the newest of its kind. Its calls raise `Unavailable`."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def put(self, incident: Incident) -> None:
        """Propose it, in the place of an earlier one of that id."""
        async with self._record.connection() as connection:
            await connection.execute(_PUT, incident.id, encoded(incident).decode())

    async def drop(self, incident_id: str) -> bool:
        """It is no knowledge; returns whether it was proposed."""
        async with self._record.connection() as connection:
            return await connection.fetchval(_DROP, incident_id, None) is not None

    async def waiting(self, limit: int = 500) -> list[Incident]:
        """What waits, the oldest first."""
        async with self._record.connection() as connection:
            rows = await connection.fetch(_WAITING, limit)
        return stored("proposal", rows, _read)

    async def approve(self, incident_id: str, teach: Callable[[Incident], Awaitable[Any]]) -> bool:
        """``teach`` it, then take it out; returns whether it was proposed. Doing it again teaches the same again.

        One that was proposed anew meanwhile goes on waiting.
        """
        async with self._record.connection() as connection:
            rows = await connection.fetch(_ONE, incident_id)
        for incident in stored("proposal", rows, _read):
            await teach(incident)
            async with self._record.connection() as connection:
                await connection.fetchval(_DROP, incident_id, rows[0]["body"])
            return True
        return False


def _read(row: Any) -> Incident:
    return msgspec.json.decode(row["body"], type=Incident)


_PUT = """
INSERT INTO proposals (incident_id, body) VALUES ($1, $2)
ON CONFLICT (incident_id) DO UPDATE SET body = excluded.body, proposed_at = now()
"""
_DROP = "DELETE FROM proposals WHERE incident_id = $1 AND ($2::jsonb IS NULL OR body = $2) RETURNING 1"
_WAITING = "SELECT incident_id AS id, body FROM proposals ORDER BY proposed_at, incident_id LIMIT $1"
_ONE = "SELECT incident_id AS id, body FROM proposals WHERE incident_id = $1"
