"""What the record lists costs what is listed, and not what years have left."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest

from pipeline.gateway.parameters import State
from pipeline.stages import listed
from pipeline.stages.record import Record

FILL = [
    """
INSERT INTO decisions (
    id, episode_id, anomaly_id, revision, service, error_type, verdict, engine, confidence_score, latency_ms,
    created_at, body, published
)
SELECT 'dec_' || n, 'ep_' || n, 'a', 1, 'service-' || n % 20, 'timeout', 'escalate', 'nearest', 0.5, 20,
    now() + n * interval '1 second', '{}', '{}'
FROM generate_series(1, 10000) AS n
""",
    """
INSERT INTO episodes (
    id, fingerprint, state, opened_by, occurrences, error_type, opened_at, last_seen_at, began_at, situation_id
)
SELECT 'ep_' || n, 'fp_' || n, 'quiet', 'a', 1, 'timeout', now(), now(), now(), 'sit_' || n / 3
FROM generate_series(1, 60000) AS n
""",
    "ANALYZE decisions, episodes",
]


async def plan(record: Record, statement: str, *values: object) -> dict[str, Any]:
    """What PostgreSQL does for it, and how often, beside what years have left. They are gone afterwards."""
    async with record.connection() as connection:
        years = connection.transaction()
        await years.start()
        for fill in FILL:
            await connection.execute(fill)
        told = await connection.fetchval(f"EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {statement}", *values)
        await years.rollback()
    (found,) = msgspec.json.decode(told, type=list[dict[str, Any]])
    return dict(found["Plan"])


def nodes(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield found
    for below in found.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize("before", [None, datetime(2100, 1, 1, tzinfo=UTC)])
async def test_the_decisions_about_a_rare_service_are_looked_up(record: Record, before: datetime | None) -> None:
    """In their order, and among none of another service."""
    found = list(nodes(await plan(record, listed._DECISIONS_ABOUT, 50, "rare", None, before, None)))
    assert [node["Node Type"] for node in found] == ["Limit", "Index Scan"]
    assert found[1]["Index Name"] == "decisions_service"


async def test_the_few_episodes_that_go_on_are_looked_up(record: Record) -> None:
    """And not looked for among those of years, in whichever plan the server keeps."""
    found = list(nodes(await plan(record, listed._EPISODES_IN["open"], 50)))
    assert "episodes_active" in {node.get("Index Name") for node in found}
    assert not any(node["Node Type"] == "Seq Scan" for node in found)
    assert {*listed._EPISODES_IN} == {*get_args(State)}


async def test_situations_are_told_only_where_they_are_listed(record: Record) -> None:
    """Of the thousands among which they are chosen no episode is written down, and no table is looked through."""
    found = list(nodes(await plan(record, listed._SITUATIONS, 5)))
    assert not any(node["Node Type"] == "Seq Scan" for node in found)
    told = [node for node in found if "jsonb_agg" in str(node.get("Output")) and "Aggregate" in node["Node Type"]]
    assert [(node["Actual Loops"], node["Actual Rows"]) for node in told] == [(5, 1)]


async def test_an_episode_of_no_situation_is_in_no_list(record: Record) -> None:
    """One from before there were situations."""
    async with record.connection() as connection:
        await connection.execute(FILL[1].replace("60000", "6"))
        await connection.execute("UPDATE episodes SET situation_id = NULL WHERE id = 'ep_6'")
    assert [situation["id"] for situation in await record.situations()] == ["sit_1", "sit_0"]
