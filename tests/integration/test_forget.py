"""What is forgotten, and what is not, on a real PostgreSQL: beside counting, after a crash, and delivered again."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from pipeline import kafka
from pipeline.errors import Rejected, Unavailable
from pipeline.migrations import migrate
from pipeline.sinks.outbox import Claim, News, Outbox
from pipeline.sinks.policy import Policy
from pipeline.stages import forget as stage
from pipeline.stages.forget import forget
from pipeline.stages.ingest import decision_id
from pipeline.stages.record import Grouping, Record, open_record
from pipeline.stages.situations import Topology
from schemas import Decision, Feedback, Provenance
from tests.integration.test_record import arrival, decision

AT_ONCE = timedelta(0)
"""Kept so long: whatever is closed is old."""
DAYS = timedelta(days=90)
APART = Grouping(gap=timedelta(0))
"""Each episode is a situation of its own."""
ROWS = """
SELECT (SELECT count(*) FROM episodes) AS episodes, (SELECT count(*) FROM anomalies) AS anomalies,
    (SELECT count(*) FROM revisions) AS revisions, (SELECT count(*) FROM decisions) AS decisions,
    (SELECT count(*) FROM provenance) AS provenance, (SELECT count(*) FROM notifications) AS notifications,
    (SELECT count(*) FROM messages) AS messages
"""


async def rows(record: Record, query: str, *values: object) -> list[Any]:
    async with record.connection() as connection:
        return list(await connection.fetch(query, *values))


async def left(record: Record) -> dict[str, int]:
    """How many rows each table has, without those that have none."""
    return {name: count for name, count in dict((await rows(record, ROWS))[0]).items() if count}


async def episode(
    record: Record, name: str, repeats: int = 0, state: str = "resolved", grouping: Grouping = APART, **fields: object
) -> str:
    """Count an episode of the fingerprint ``name``, opened by NAME-0; returns its id. An open one is not closed."""
    batch = [arrival(f"{name}-{number}", number / 1000, name, **fields) for number in range(repeats + 1)]
    if state == "resolved":
        batch.append(arrival(f"{name}-end", repeats / 1000, name, status="resolved", **fields))
    (opening,) = await record.record_arrivals(batch, grouping)
    if state == "quiet":
        await rows(record, "UPDATE episodes SET state = 'quiet' WHERE id = $1", opening.episode_id)
    return opening.episode_id


async def decide(record: Record, name: str, episode_id: str, revision: int = 1) -> Decision:
    """Save the decision on an episode, with what it came of."""
    (row,) = await rows(record, "SELECT situation_id, occurrences FROM episodes WHERE id = $1", episode_id)
    made = decision(
        decision_id(episode_id, revision), episode_id=episode_id, fingerprint=name, revision=revision,
        anomaly_id=f"{name}-0", situation_id=row["situation_id"], occurrences=row["occurrences"],
    )  # fmt: skip
    came_of = msgspec.convert(
        {"decision_id": made.id, "fitted_on": "", "least": 0.5, "calls": []} | _WEIGHED, Provenance
    )
    await record.save_decisions([(made, came_of)])
    return made


_WEIGHED = {
    name: {"intercept": 0.0, "weights": {}, "said": 0.5} for name in ("relevant", "right")
}  # fmt: skip


async def waits(outbox: Outbox, made: Decision) -> None:
    message = kafka.Message("decisions", 0, 0, b"k", msgspec.json.encode(made), [], 0)
    await outbox.take([News(made, message)])


async def told(outbox: Outbox, *decisions: Decision) -> None:
    """Say each of them in a message of its own."""
    for made in decisions:
        await waits(outbox, made)
        claim = await outbox.claim("C1", limited=False)
        assert isinstance(claim, Claim)
        await outbox.finish(claim, "sent", place=f"C1/{made.id}")


async def aged(record: Record, days: float = 91) -> None:
    """Let it all be so long ago."""
    ago = timedelta(days=days)
    await rows(
        record, "UPDATE episodes SET last_seen_at = now() - $1::interval, touched_at = now() - $1::interval", ago
    )
    await rows(record, "UPDATE anomalies SET counted_at = now() - $1::interval", ago)
    await rows(record, "UPDATE decisions SET created_at = now() - $1::interval", ago)
    await rows(record, "UPDATE messages SET claimed_at = now() - $1::interval", ago)


@pytest.fixture
def outbox(record: Record) -> Outbox:
    return Outbox(record, Policy(), "C1")


async def test_all_of_an_old_episode_goes(record: Record, outbox: Outbox) -> None:
    """What it counted, asked for, decided and told, and what that came of; the sum is told by table."""
    made = await decide(record, "a", await episode(record, "a", 20))
    await told(outbox, made)
    before = await left(record)
    assert before == {
        "episodes": 1, "anomalies": 22, "revisions": 1, "decisions": 1, "provenance": 1, "notifications": 1,
        "messages": 1,
    }  # fmt: skip
    assert await forget(record, AT_ONCE) == before
    assert await left(record) == {}
    assert await forget(record, AT_ONCE) == {}


@pytest.mark.parametrize("state", ["resolved", "quiet"])
async def test_what_was_never_decided_goes(record: Record, state: str) -> None:
    """Its question is no longer in Kafka either."""
    await episode(record, "a", 3, state)
    await forget(record, AT_ONCE)
    assert await left(record) == {}


@pytest.mark.parametrize("state", ["open", "escalated"])
async def test_what_goes_on_stays(record: Record, state: str) -> None:
    """However long ago it was seen: all of its anomalies, and its decision."""
    name = await episode(record, "a", 5, "open")
    await decide(record, "a", name)
    await rows(record, "UPDATE episodes SET state = $1", state)
    await aged(record)
    before = await left(record)
    assert await forget(record, DAYS) == {}
    assert await left(record) == before


@pytest.mark.parametrize("column", ["last_seen_at", "touched_at"])
async def test_what_one_of_two_clocks_saw_lately_stays(record: Record, column: str) -> None:
    """A backlog's records are old and were counted just now; a producer's clock may be ahead."""
    await episode(record, "a", 5)
    await aged(record)
    await rows(record, f"UPDATE episodes SET {column} = now() - interval '89 days'")
    assert await forget(record, DAYS) == {}
    await rows(record, f"UPDATE episodes SET {column} = now() - interval '91 days'")
    assert (await forget(record, DAYS))["episodes"] == 1


async def test_what_was_decided_lately_stays(record: Record) -> None:
    """A question may wait for its answer, or come back from the dead letters, for as long as Kafka keeps it."""
    await decide(record, "a", await episode(record, "a", 5))
    await aged(record)
    await rows(record, "UPDATE decisions SET created_at = now() - interval '1 day'")
    assert await forget(record, DAYS) == {"anomalies": 6}
    assert await left(record) == {"episodes": 1, "anomalies": 1, "revisions": 1, "decisions": 1, "provenance": 1}
    await aged(record)
    assert (await forget(record, DAYS))["episodes"] == 1


async def test_what_was_judged_stays_and_teaches(record: Record) -> None:
    """The decision, what it came of, and who asked for it stay for calibration and learning; mere repeats go."""
    made = await decide(record, "a", await episode(record, "a", 7))
    await decide(record, "b", await episode(record, "b", 7))
    verdict = Feedback(id="f", decision_id=made.id, verdict="accept", author="ada", created_at=datetime.now(UTC))
    await record.save_feedback(verdict)
    await forget(record, AT_ONCE)
    assert await left(record) == {"episodes": 1, "anomalies": 1, "revisions": 1, "decisions": 1, "provenance": 1}
    assert [found.id for found, _ in await record.judged_decisions()] == [made.id]
    (lesson,) = await record.lessons()
    assert (lesson.anomaly.error_type, lesson.resolved) == ("timeout", True)
    again = await record.record_arrivals([arrival("a-0", 0, "a")], APART)
    assert [opening.episode_id for opening in again] == [made.episode_id]


async def test_who_asked_stays_with_what_stays(record: Record) -> None:
    """Also the opener whose batch held something worse, which is what was decided on."""
    batch = [
        arrival("a-0"),
        arrival("a-1", 1, severity="critical"),
        arrival("a-2", 2),
        arrival("a-3", 3, status="resolved"),
    ]
    (opening,) = await record.record_arrivals(batch, APART)
    made = await decide(record, "fp", opening.episode_id)
    await record.save_feedback(Feedback(id="f", decision_id=made.id, verdict="reject", created_at=datetime.now(UTC)))
    await forget(record, AT_ONCE)
    assert [row["id"] for row in await rows(record, "SELECT id FROM anomalies ORDER BY id")] == ["a-0", "a-1"]


@pytest.mark.parametrize("state", ["waiting", "claimed"])
async def test_what_somebody_is_still_to_be_told_stays(record: Record, outbox: Outbox, state: str) -> None:
    """Until it is told, or given up."""
    made = await decide(record, "a", await episode(record, "a", 7))
    await waits(outbox, made)
    claim = await outbox.claim("C1", limited=False) if state == "claimed" else None
    await aged(record)
    await forget(record, DAYS)
    assert {"episodes", "decisions", "notifications"} < (await left(record)).keys()
    claim = claim or await outbox.claim("C1", limited=False)
    assert isinstance(claim, Claim)
    await outbox.finish(claim, "refused", "no such channel")
    await aged(record)
    await forget(record, DAYS)
    assert await left(record) == {}


async def test_a_situation_that_goes_on_keeps_its_first_message(record: Record, outbox: Outbox) -> None:
    """What follows comes into its thread; what was told later is forgotten with its episode."""
    together = Grouping(topology=Topology())
    made = []
    for name in ("a", "b", "c"):
        state = "open" if name == "c" else "resolved"
        made.append(await decide(record, name, await episode(record, name, 3, state, together, service="s")))
    assert len({one.situation_id for one in made}) == 1
    await told(outbox, *made[:2])
    await aged(record)
    await forget(record, DAYS)
    kept = {row["id"] for row in await rows(record, "SELECT id FROM decisions")}
    assert kept == {made[0].id, made[2].id}
    await told(outbox, made[2])
    found = await rows(record, "SELECT kind, claimed_at FROM messages ORDER BY claimed_at")
    assert [row["kind"] for row in found] == ["head", "update"]
    await rows(record, "UPDATE episodes SET state = 'resolved'")
    await aged(record)
    await forget(record, DAYS)
    assert await left(record) == {}


async def test_a_resolved_of_nothing_goes_by_our_clock(record: Record) -> None:
    """It is of no episode. Its record may be older than it was counted."""
    await record.record_arrivals([arrival("end", status="resolved")], APART)
    assert await forget(record, DAYS) == {}
    await aged(record, 89)
    assert await forget(record, DAYS) == {}
    await aged(record)
    assert await forget(record, DAYS) == {"anomalies": 1}


async def test_an_upgrade_forgets_nothing_at_once(database_url: str) -> None:
    """What was there has all of its time from then on. What a worker holds just then is not waited for."""
    async with open_record(database_url) as record:
        await rows(record, "DROP DATABASE IF EXISTS earlier")
        await rows(record, "CREATE DATABASE earlier")
    url = database_url.rsplit("/", 1)[0] + "/earlier"
    await migrate(url, "0010")
    async with open_record(url) as record:
        for name, state in ("old", "resolved"), ("held", "quiet"), ("on", "open"):
            await rows(record, _EARLIER, name, state)
        async with record.connection() as worker, worker.transaction():
            await worker.execute("UPDATE episodes SET occurrences = 2 WHERE id = 'held'")
            await asyncio.wait_for(migrate(url), 20)
        found = await rows(record, "SELECT id, touched_at < now() - interval '1 day' AS long_ago FROM episodes")
        assert dict(found) == {"old": False, "held": True, "on": True}
        assert (await forget(record, DAYS)).keys() == {"episodes"}
        assert {row["id"] for row in await record.episodes()} == {"old", "on"}


_EARLIER = """
INSERT INTO episodes (
    id, fingerprint, state, opened_by, occurrences, error_type, opened_at, began_at, last_seen_at, touched_at
) SELECT $1, $1, $2, $1, 1, 'timeout', at, at, at, at FROM (SELECT now() - interval '100 days' AS at) AS ago
"""


async def test_what_comes_again_is_remembered_from_then_on(record: Record) -> None:
    """A sender repeats an alert under its id for as long as it fires, which may be longer than an episode is kept."""
    await episode(record, "a", 3)
    await record.record_arrivals([arrival("end", 0, "b", status="resolved")], APART)
    for _ in range(3):
        await aged(record, 60)
        await record.record_arrivals([arrival("a-2", 0, "a"), arrival("end", 0, "b", status="resolved")], APART)
        assert await forget(record, DAYS) == {}
    await aged(record)
    assert (await forget(record, DAYS))["anomalies"] == 6


async def test_what_comes_again_makes_no_episode_go_on(record: Record) -> None:
    """It is remembered, and neither counted nor reopened; one that goes on is not kept from its quiet by it."""
    await episode(record, "a", 3)
    await episode(record, "b", 3, "open")
    await aged(record, 2)
    await record.record_arrivals([arrival("a-2", 0, "a"), arrival("b-2", 0, "b")], APART)
    assert await record.close_quiet_episodes(86_400) == 1
    assert {row["occurrences"] for row in await record.episodes()} == {4}


async def test_an_id_that_comes_after_it_was_forgotten_is_new(record: Record) -> None:
    """Its episode and its decision have ids that nobody has seen, so no id has a second body."""
    batch = [arrival("a-0", 0, "a"), arrival("a-1", 1, "a", status="resolved")]
    (first,) = await record.record_arrivals(batch, APART)
    await forget(record, AT_ONCE)
    (second,) = await record.record_arrivals([arrival("a-0", 8_000_000, "a")], APART)
    assert second.episode_id != first.episode_id
    assert [(row["id"], row["occurrences"]) for row in await record.episodes()] == [(second.episode_id, 1)]


async def test_a_late_resolved_of_what_was_forgotten_ends_nothing(record: Record) -> None:
    """It is counted as one of no episode, once."""
    await episode(record, "a", 3)
    await forget(record, AT_ONCE)
    late = [arrival("late", 8_000_000, "a", status="resolved")]
    for _ in range(2):
        assert await record.record_arrivals(late, APART) == []
    assert await left(record) == {"anomalies": 1}


async def test_a_verdict_on_what_was_forgotten_is_rejected(record: Record) -> None:
    """As one on a decision that nobody made."""
    made = await decide(record, "a", await episode(record, "a"))
    await forget(record, AT_ONCE)
    with pytest.raises(Rejected, match="no decision"):
        await record.save_feedback(
            Feedback(id="f", decision_id=made.id, verdict="accept", created_at=datetime.now(UTC))
        )


async def test_verdicts_and_forgetting_race(record: Record) -> None:
    """Each verdict is refused, or its decision is kept; nothing else comes of it."""
    made = [await decide(record, f"f{n}", await episode(record, f"f{n}", 1)) for n in range(30)]

    async def judge(one: Decision) -> bool:
        try:
            await record.save_feedback(
                Feedback(id=one.id, decision_id=one.id, verdict="accept", created_at=datetime.now(UTC))
            )
        except Rejected:
            return False
        return True

    said, *_ = await asyncio.gather(asyncio.gather(*map(judge, made)), forget(record, AT_ONCE), forget(record, AT_ONCE))
    await forget(record, AT_ONCE)
    kept = {row["id"] for row in await rows(record, "SELECT id FROM decisions")}
    assert kept == {one.id for one, taken in zip(made, said, strict=True) if taken}


async def test_a_verdict_that_is_being_written_is_waited_for(record: Record) -> None:
    """It is neither lost nor in the way: its decision stays, and the sweep goes on."""
    made = [await decide(record, name, await episode(record, name)) for name in ("a", "b")]
    async with record.connection() as connection:
        async with connection.transaction():
            await connection.execute("INSERT INTO feedback VALUES ('f', $1, 'accept', '{}')", made[0].id)
            sweep = asyncio.create_task(forget(record, AT_ONCE))
            async with asyncio.timeout(10):
                while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
        assert (await sweep)["episodes"] == 1
    assert [found.id for found in await record.decisions()] == [made[0].id]


async def test_a_batch_is_small_and_the_end_comes_last(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two episodes with many repeats, over several batches: no transaction deletes more than one batch of them."""
    monkeypatch.setattr(stage, "BATCH", 50)
    seen: list[dict[str, int]] = []
    monkeypatch.setattr(stage, "_add", lambda _, found: seen.append({k: v for k, v in found.items() if v}))
    for name in ("a", "b"):
        await decide(record, name, await episode(record, name, 120))
    await forget(record, AT_ONCE)
    assert await left(record) == {}
    assert [found for found in seen if found] == [
        *[{"anomalies": 50}] * 4,
        {"provenance": 2, "decisions": 2, "anomalies": 44, "revisions": 2, "episodes": 2},
    ]


async def test_cut_off_in_the_middle_it_goes_on(
    record: Record, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends its connections again and again: what should stay does, and the rest goes in the end."""
    monkeypatch.setattr(stage, "BATCH", 20)
    monkeypatch.setattr(stage, "_EPISODES", 3)
    stays = await decide(record, "open", await episode(record, "open", 50, "open"))
    for number in range(20):
        await decide(record, f"f{number}", await episode(record, f"f{number}", 60))
    add, batches, ends = stage._add, asyncio.Event(), 0

    def told(gone: Counter[str], found: dict[str, int]) -> None:
        add(gone, found)
        batches.set()

    monkeypatch.setattr(stage, "_add", told)
    for turn in range(200):
        async with open_record(f"{database_url}?application_name=sweep") as other:
            batches.clear()
            sweep = asyncio.create_task(forget(other, AT_ONCE))
            started = asyncio.create_task(batches.wait())
            await asyncio.wait([sweep, started], return_when=asyncio.FIRST_COMPLETED)
            started.cancel()
            await asyncio.sleep(0.003 * (turn % 7))
            await rows(record, _TERMINATE)
            try:
                await sweep
            except Unavailable:
                ends += 1
        (whole,) = await rows(record, _UNWHOLE)
        assert not any(dict(whole).values()), whole
        if (await left(record))["episodes"] == 1:
            break
    assert ends > 2
    await forget(record, AT_ONCE)
    assert await left(record) == {"episodes": 1, "anomalies": 51, "revisions": 1, "decisions": 1, "provenance": 1}
    assert [found.id for found in await record.decisions()] == [stays.id]


_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sweep'"
_UNWHOLE = """
SELECT
    (SELECT count(*) FROM episodes WHERE NOT EXISTS (SELECT FROM anomalies WHERE id = opened_by)) AS without_opener,
    (SELECT count(*) FROM episodes WHERE NOT EXISTS (SELECT FROM decisions WHERE episode_id = episodes.id)) AS undone,
    (SELECT count(*) FROM decisions WHERE NOT EXISTS (SELECT FROM episodes WHERE id = episode_id)) AS of_nothing,
    (SELECT count(*) FROM revisions WHERE NOT EXISTS (SELECT FROM anomalies WHERE id = anomaly_id)) AS of_nobody
"""


async def test_counting_and_forgetting_race(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers open, end and reopen the same episodes while three sweeps run: nothing fails, is lost or counts twice."""
    monkeypatch.setattr(stage, "BATCH", 10)
    monkeypatch.setattr(stage, "_EPISODES", 4)
    monkeypatch.setattr(stage, "_PAUSE", 0)
    gone: Counter[str] = Counter()
    done = asyncio.Event()

    async def count(writer: int) -> int:
        fired = 0
        for turn in range(40):
            names = [f"f{(writer + turn + number) % 9}" for number in range(5)]
            batch = [arrival(f"{writer}/{turn}/{name}", turn * 400, name) for name in names]
            batch += [arrival(f"{writer}/{turn}/{name}/end", turn * 400, name, status="resolved") for name in names[:3]]
            await _settled(record, batch)
            await _settled(record, batch[-2:])
            fired += len(names)
        return fired

    async def sweep() -> None:
        while not done.is_set():
            gone.update(await forget(record, AT_ONCE))
            await asyncio.sleep(0.001)

    await _script(record, _TRIGGER)
    sweeps = [asyncio.create_task(sweep()) for _ in range(3)]
    try:
        fired = sum(await asyncio.gather(*(count(writer) for writer in range(4))))
    finally:
        done.set()
        await asyncio.gather(*sweeps)
        (forgotten,) = await rows(
            record, "SELECT count(*) AS episodes, sum(occurrences)::bigint AS fired FROM forgotten"
        )
        await _script(record, "DROP TRIGGER remember ON episodes; DROP FUNCTION remember; DROP TABLE forgotten")
    assert forgotten["episodes"] == gone["episodes"] > 10
    assert forgotten["fired"] + sum(row["occurrences"] for row in await record.episodes()) == fired == 800


_TRIGGER = """
CREATE TABLE forgotten (occurrences bigint);
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO forgotten VALUES (OLD.occurrences); RETURN OLD; END';
CREATE TRIGGER remember BEFORE DELETE ON episodes FOR EACH ROW EXECUTE FUNCTION remember();
"""


async def _script(record: Record, script: str) -> None:
    async with record.connection() as connection:
        await connection.execute(script)


async def _settled(record: Record, batch: Sequence[Any]) -> None:
    """Count as a worker does: an outage, or a conflict, is tried again."""
    for _ in range(20):
        try:
            await record.record_arrivals(batch, APART)
        except Unavailable:
            continue
        return
    raise AssertionError("never counted")


async def test_what_is_being_counted_is_passed_over(record: Record) -> None:
    """A fingerprint that a worker has locked is neither waited for nor forgotten."""
    await episode(record, "a", 3)
    await episode(record, "b", 3)
    async with record.connection() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('a', 0))")
        assert (await asyncio.wait_for(forget(record, AT_ONCE), 5))["episodes"] == 1
    assert [row["fingerprint"] for row in await record.episodes()] == ["a"]


async def test_one_worker_at_a_time(record: Record) -> None:
    """The others do nothing, and wait for nothing."""
    await episode(record, "a", 3)
    async with record.connection() as connection, connection.transaction():
        await connection.execute(stage._ALONE)
        assert await asyncio.wait_for(forget(record, AT_ONCE), 5) == {}
    assert (await forget(record, AT_ONCE))["episodes"] == 1


async def test_a_sweep_holds_up_no_pruning(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds its lock has no snapshot: the rows that counting leaves dead go while it lasts."""
    monkeypatch.setattr(stage, "_PAUSE", 20)
    await episode(record, "a", 3)
    sweep = asyncio.create_task(forget(record, AT_ONCE))
    held: list[Any] = []
    async with asyncio.timeout(10):
        while not held:
            held = await rows(record, _HELD)
            await asyncio.sleep(0.001)
    assert [(row["backend_xmin"], row["backend_xid"]) for row in held] == [(None, None)]
    assert (await sweep)["episodes"] == 1


_HELD = """
SELECT backend_xmin, backend_xid FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE locktype = 'advisory' AND pg_stat_activity.state = 'idle in transaction' AND objsubid = 1
    AND (classid::bigint << 32) + objid::bigint = hashtextextended('pulseguard.forget', 0)
"""


STATEMENTS = {
    stage._OLD: "episodes_newest", stage._STILL_OLD: "episodes_pkey", stage._REPEATS: "anomalies_episode",
    stage._LOCK_DECISIONS: "decisions_episode", stage._STAY: "feedback_decision",
    stage._LOOSE["anomalies"]: "anomalies_alone", stage._LOOSE["messages"]: "messages_oldest",
    **dict(zip(stage._WHOLE.values(), (
        "notifications_pkey", "provenance_pkey", "decisions_episode", "anomalies_episode", "revisions_pkey",
        "episodes_pkey"), strict=True)),
}  # fmt: skip
VALUES: dict[str, tuple[object, ...]] = {
    stage._OLD: (datetime.now(UTC), ["open"], datetime(1, 1, 1, tzinfo=UTC), "", 100),
    stage._STILL_OLD: (["ep"], datetime.now(UTC), ["open"]),
    stage._REPEATS: (["ep"], 1000),
    stage._STAY: (["ep"], datetime.now(UTC), ["open"]),
    **{statement: (datetime.now(UTC), 1000) for statement in stage._LOOSE.values()},
}


@pytest.mark.parametrize("statement", STATEMENTS, ids=STATEMENTS.values())
async def test_no_table_is_looked_through(record: Record, statement: str) -> None:
    """Every statement finds what it wants by an index."""
    async with record.connection() as connection, connection.transaction():
        await connection.execute(stage._BY_INDEX)
        found = await connection.fetch(f"EXPLAIN {statement}", *VALUES.get(statement, (["ep"],)))
    plan = "\n".join(row[0] for row in found)
    assert STATEMENTS[statement] in plan, plan
    assert "Seq Scan" not in plan, plan
