"""What a model answered about pages, by their texts: it holds where it fails, or is not asked, about the same text."""

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.postmortems.assisted import Reading
from pipeline.stages.fingerprints import digest
from pipeline.stages.record import Record
from pipeline.stages.stored import stored


class Readings:
    """The table ``readings``: the newest of a text. Its calls raise `Unavailable`."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def keep(self, text: str, reading: Reading) -> None:
        """Keep it, in the place of an earlier one of that text."""
        async with self._record.connection() as connection:
            await connection.execute(_KEEP, digest(text), msgspec.json.encode(reading).decode())

    async def known(self, texts: Sequence[str]) -> dict[str, Reading]:
        """Those that there are, by the text."""
        async with self._record.connection() as connection:
            rows = await connection.fetch(_KNOWN, [digest(text) for text in texts])
        found = dict(stored("reading", rows, _read))
        return {text: found[digest(text)] for text in texts if digest(text) in found}


def _read(row: Any) -> tuple[str, Reading]:
    return row["id"], msgspec.json.decode(row["body"], type=Reading)


_KEEP = """
INSERT INTO readings (page, body) VALUES ($1, $2)
ON CONFLICT (page) DO UPDATE SET body = excluded.body, read_at = now()
"""
_KNOWN = "SELECT page AS id, body FROM readings WHERE page = ANY($1)"
