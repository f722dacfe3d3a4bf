"""The record on a real PostgreSQL: exact counts, one body for one id, and errors told apart."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest
import structlog

from pipeline import kafka
from pipeline.embedded.postgres import embedded_postgres
from pipeline.errors import Misconfigured, Rejected, Unavailable
from pipeline.migrations import migrate
from pipeline.postmortems.assisted import Reading
from pipeline.postmortems.readings import Readings
from pipeline.sinks import outbox, outbox_sql
from pipeline.sinks.outbox import LEASE, Claim, News, Outbox
from pipeline.sinks.plan import Told
from pipeline.sinks.policy import Limits, Policy, PolicyFile, Route
from pipeline.stages import enrich
from pipeline.stages import record as stages_record
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.proposals import Proposals
from pipeline.stages.record import Arrival, Background, Grouping, Record, open_record
from pipeline.stages.rights import READ, WRITTEN, check_rights
from pipeline.stages.situations import Topology, offers, root_of, situation_id
from schemas import Action, Anomaly, Decision, Feedback, Incident, TrackRecord, Usage
from tests.conftest import free_port
from tests.program import until

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def arrival(name: str, seconds: float = 0, fingerprint: str = "fp", offset: int = 0, **fields: object) -> Arrival:
    anomaly = Anomaly(error_type="timeout", **fields)  # type: ignore[arg-type]
    return Arrival(anomaly, name, fingerprint, "topic", 0, offset, NOW + timedelta(seconds=seconds))


def decision(name: str = "dec_1", **changes: object) -> Decision:
    plain = Decision(
        id=name, episode_id="ep_1", revision=1, anomaly_id="a", fingerprint="fp", service="api", error_type="timeout",
        severity=None, symptom="It times out.", matched_incident=None, verdict="escalate", recommended_action="Call.",
        action=Action("escalate_to_human", "api"), confidence_score=0.5, rationale="None is near.", evidence=[],
        occurrences=1, engine="nearest", model=None, prompt_version=None, usage=Usage(), fallback_reason=None,
        latency_ms=12.5, timings={}, created_at=NOW,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


async def test_a_storm_is_one_episode(record: Record) -> None:
    """Five hundred equal anomalies open one episode, and only the first asks for a decision."""
    openings = await record.record_arrivals([arrival(f"a{i}", i / 100) for i in range(500)], Grouping())
    assert [(opening.anomaly_id, opening.revision, opening.occurrences) for opening in openings] == [("a0", 1, 500)]
    assert await record.record_arrivals([arrival("b", 6)], Grouping()) == []
    assert [found.occurrences for found in await record.backgrounds([(openings[0].episode_id, "scale_out")])] == [501]


async def test_a_redelivered_anomaly_counts_once_and_opens_again(record: Record) -> None:
    """Redelivery, inside a batch or later, counts nothing, and still names the opening, published or not."""
    batch = [arrival("a"), arrival("b", 1), arrival("a", 2), arrival("b", 3)]
    first = await record.record_arrivals(batch, Grouping())
    assert [(opening.anomaly_id, opening.occurrences) for opening in first] == [("a", 2)]
    assert await record.record_arrivals(batch, Grouping()) == first
    assert (await record.stats())["anomalies"] == 2


async def test_an_opener_is_named_after_its_episode_closed(record: Record) -> None:
    """Quiet and resolved close an episode; its opener, redelivered, is an opening all the same."""
    batch = [arrival("a"), arrival("b", 2000), arrival("c", 2001, status="resolved"), arrival("d", 4000)]
    first = await record.record_arrivals(batch, Grouping())
    assert sorted(opening.anomaly_id for opening in first) == ["a", "b", "d"]
    assert [opening.anomaly_id for opening in await record.record_arrivals([batch[0]], Grouping())] == ["a"]
    states = {row["opened_by"]: (row["state"], row["occurrences"]) for row in await record.episodes()}
    assert states == {"a": ("quiet", 1), "b": ("resolved", 1), "d": ("open", 1)}
    assert [row["opened_by"] for row in await record.episodes(state="open")] == ["d"]


async def test_the_newest_episode_of_a_fingerprint_counts(record: Record) -> None:
    """Wherever the older ones lie in the table: one that was written to lately is no newer for that."""
    openings = [
        opening for name, at in (("a", 0), ("b", 2000))
        for opening in await record.record_arrivals([arrival(name, at)], Grouping())
    ]  # fmt: skip
    async with record.connection() as connection:
        await connection.execute("UPDATE episodes SET touched_at = now() WHERE id = $1", openings[0].episode_id)
    assert await record.record_arrivals([arrival("c", 2001)], Grouping()) == []
    counted = {row["id"]: (row["state"], row["occurrences"]) for row in await record.episodes()}
    assert counted == {openings[0].episode_id: ("quiet", 1), openings[1].episode_id: ("open", 2)}


async def test_a_resolved_episode_that_fires_again_soon_is_the_same(record: Record) -> None:
    """It goes on counting where it was, and asks for no new decision."""
    first = await record.record_arrivals([arrival("a"), arrival("b", 1, status="resolved")], Grouping())
    assert await record.record_arrivals([arrival("c", 60)], Grouping()) == []
    rows = await record.episodes()
    assert [(row["id"], row["state"], row["occurrences"]) for row in rows] == [(first[0].episode_id, "open", 2)]


async def test_a_worse_episode_asks_again_and_the_decision_is_its_measure(record: Record) -> None:
    """Ten times what the last decision spoke of is a new revision; while none is made there is nothing to be worse."""
    opening = (await record.record_arrivals([arrival("a")], Grouping()))[0]
    assert await record.record_arrivals([arrival(f"b{n}", n) for n in range(20)], Grouping()) == []
    made = decision(episode_id=opening.episode_id, occurrences=21)
    await record.save_decisions([(made, None)])
    await record.save_decisions([(msgspec.structs.replace(made, occurrences=1), None)])  # of who was second
    assert await record.record_arrivals([arrival(f"c{n}", n) for n in range(188)], Grouping()) == []
    batch = [arrival("d", 1)]
    again = await record.record_arrivals(batch, Grouping())
    assert [(found.anomaly_id, found.revision, found.occurrences) for found in again] == [("d", 2, 210)]
    assert await record.record_arrivals(batch, Grouping()) == again
    assert await record.record_arrivals([arrival("e", 1)], Grouping()) == []
    await record.save_decisions([(made, None)])  # late, and of the old revision: it measures nothing any more
    assert await record.record_arrivals([arrival("f", 1)], Grouping()) == []
    assert await record.record_arrivals([arrival("g", severity="critical")], Grouping()) != []
    assert [(row["revision"], row["state"]) for row in await record.episodes()] == [(3, "escalated")]
    assert (await record.stats())["open_episodes"] == 1


async def test_an_episode_is_revised_for_what_was_learned_once(record: Record, database_url: str) -> None:
    """By one of many, where the last revision is decided and the episode goes on; a lost one is told again."""
    for name in ("a", "b"):
        opening = (await record.record_arrivals([arrival(name, fingerprint=name)], Grouping()))[0]
        if name == "a":
            await record.save_decisions([(decision(episode_id=opening.episode_id, fingerprint="a"), None)])
    (one,) = await record.standing(10, 2)
    assert (one.fingerprint, one.revision, one.anomaly_id, one.anomaly.error_type) == (
        "a",
        1,
        "a",
        arrival("a").anomaly.error_type,
    )
    revised = await asyncio.gather(*(record.revise(one) for _ in range(5)))
    assert [found.revision for found in revised if found is not None] == [2]
    assert await record.standing(10, 2) == []
    assert await record.overdue(timedelta(hours=1)) == []
    for _ in range(2):  # an outage may come before it is asked for
        (lost,) = await record.overdue(timedelta(0))
        assert lost.revision == 2
    await record.asked(lost)
    assert await record.overdue(timedelta(0)) == []
    async with record.connection() as connection:  # as one that is decided while nobody looks
        await connection.execute("UPDATE revisions SET learned_at = now() - interval '1 s' WHERE revision = 2")
    again = await record.record_arrivals([arrival("a", fingerprint="a")], Grouping())
    assert sorted(found.revision for found in again) == [1, 2]
    made = decision("dec_2", episode_id=one.episode_id, fingerprint="a", revision=2)
    await record.save_decisions([(made, None)])
    assert await record.overdue(timedelta(0)) == []
    assert await record.standing(10, 2) == []  # as many as one episode may have
    (two,) = await record.standing(10, 3)
    async with record.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM revisions WHERE learned_at IS NOT NULL") == 0
    await record.record_arrivals([arrival("c", 1, fingerprint="a", status="resolved")], Grouping())
    assert await record.revise(two) is None


async def test_a_quiet_period_closes_an_episode(record: Record, database_url: str) -> None:
    """Nobody has to come for it; but what is still being counted, as in a backlog, is not closed under way."""
    await record.record_arrivals([arrival("a")], Grouping())
    assert await record.close_quiet_episodes(900) == 0
    async with record.connection() as connection:
        await connection.execute("UPDATE episodes SET touched_at = now() - interval '1 hour'")
        kept = await connection.fetchval("SELECT count(*) FROM situation_keys")
        await connection.execute("INSERT INTO situation_keys VALUES ('old', 'sit', '2020-01-01', '2020-01-01')")
    assert await record.close_quiet_episodes(900) == 1
    async with record.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM situation_keys") == kept > 0
    assert [row["state"] for row in await record.episodes()] == ["quiet"]
    await record.record_arrivals([arrival("b", 899)], Grouping())
    assert [(row["state"], row["occurrences"]) for row in await record.episodes()] == [("open", 2)]


async def test_what_is_counted_keeps_no_other_from_being_called_quiet(
    record: Record, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One episode is locked: the others are closed, a few at a time, so that no statement takes too long for that."""
    monkeypatch.setattr(stages_record, "CLOSED_AT_ONCE", 2)
    await record.record_arrivals([arrival(f"a{n}", fingerprint=f"fp{n}") for n in range(6)], Grouping())
    async with record.connection() as connection:
        await connection.execute("UPDATE episodes SET touched_at = now() - interval '1 hour'")
    counting = await asyncpg.connect(database_url)
    try:
        async with counting.transaction():
            await counting.execute("SELECT FROM episodes WHERE opened_by = 'a0' FOR UPDATE")
            assert await record.close_quiet_episodes(900) == 5
    finally:
        await counting.close()
    async with record.connection() as connection:
        assert await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM episodes WHERE state = 'quiet'") == 3


@pytest.mark.parametrize("zero", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "1970-01-01T00:00:00Z"])
async def test_a_time_that_nobody_set_is_not_when_a_fault_began(record: Record, zero: str) -> None:
    """Go's zero time and Unix's say nothing: others find the situation, it is listed, and each record is one more."""
    read = partial(enrich.read, max_bytes=262_144, topic_id="topic", fingerprints=Fingerprints())
    value = f'{{"error_type": "e", "service": "s", "fingerprint": "f", "occurred_at": "{zero}"}}'.encode()
    when = int(NOW.timestamp() * 1000)
    for offset in range(2):
        message = kafka.Message("anomalies", 0, offset, None, value, [], when)
        await record.record_arrivals([read(message)], Grouping())
    await record.record_arrivals([arrival("b", 60, "other", service="s")], Grouping())
    (situation,) = await record.situations()
    assert [row["occurrences"] for row in situation["episodes"]] == [2, 1]
    assert root_of(situation["episodes"], Topology()) == situation["episodes"][0]["id"]


async def test_a_situation_goes_on_over_batches(record: Record) -> None:
    """What begins keeps it young, in both directions of time; what begins too late begins another, which goes on."""
    found: list[str | None] = []
    for number, seconds in enumerate((0, 250, 500, -250, -500, 900, 1100)):
        batch = [arrival(f"a{number}", seconds, f"fp{number}", service="s", labels={"namespace": "shop"})]
        found += [opening.situation_id for opening in await record.record_arrivals(batch, Grouping())]
    assert [found.index(name) for name in found] == [0, 0, 0, 0, 0, 5, 5]


async def test_workers_at_once_put_one_namespace_into_one_situation(record: Record) -> None:
    """Eight writers open episodes of one namespace together; a batch that comes again changes nothing."""

    async def write(writer: int) -> set[str | None]:
        batch = [
            arrival(f"{writer}-{n}", writer, f"fp-{writer}-{n}", labels={"cluster": "c", "namespace": "shop"})
            for n in range(5)
        ]
        found = await record.record_arrivals(batch, Grouping())
        assert await record.record_arrivals(batch, Grouping()) == found
        return {opening.situation_id for opening in found}

    found = await asyncio.gather(*(write(writer) for writer in range(8)))
    assert len(set().union(*found)) == 1
    (situation,) = await record.situations()
    assert len(situation["episodes"]) == 40
    root = next(row for row in situation["episodes"] if row["id"] == root_of(situation["episodes"], Topology()))
    assert root["began_at"] == min(row["began_at"] for row in situation["episodes"])
    alone = [arrival(f"x{n}", 0, f"fpx{n}", labels={"namespace": "shop"}) for n in range(3)]
    apart = await record.record_arrivals(alone, Grouping(gap=timedelta(0)))
    assert len({opening.situation_id for opening in apart}) == 3


async def test_workers_at_once_open_one_episode_each_fingerprint(record: Record) -> None:
    """Eight writers with the same fingerprints in different orders neither deadlock nor lose or double a count."""

    async def write(writer: int) -> list[str]:
        prints = [f"fp{i}" for i in range(10)][:: 1 if writer % 2 else -1]
        own = [arrival(f"{writer}-{name}", writer, name) for name in prints]
        shared = [arrival(f"shared-{name}", 0, name) for name in prints]
        return [opening.anomaly_id for opening in await record.record_arrivals(own + shared, Grouping())]

    await asyncio.gather(*(write(writer) for writer in range(8)))
    rows = await record.episodes()
    assert len(rows) == 10
    assert {row["occurrences"] for row in rows} == {9}


async def test_an_id_under_two_fingerprints_counts_once(record: Record) -> None:
    """When two writers race with one id under different fingerprints, the later one is told to try again."""

    async def write(fingerprint: str) -> None:
        while True:
            try:
                await record.record_arrivals([arrival("same", 0, fingerprint)], Grouping())
            except Unavailable:
                continue
            return

    for _ in range(5):
        await asyncio.gather(*(write(f"fp{i}") for i in range(6)))
    rows = await record.episodes()
    assert sum(row["occurrences"] for row in rows) == (await record.stats())["anomalies"] == 1


async def test_an_empty_batch_is_nothing(record: Record) -> None:
    """No arrivals, no openings."""
    assert await record.record_arrivals([], Grouping()) == []


@pytest.mark.parametrize(
    "bad",
    [
        lambda: arrival("a\x00b"),
        lambda: arrival("a", message="nul \x00 inside"),
        lambda: arrival("a", labels={"k\x00": "v"}),
        lambda: arrival("a", message="lone \ud800 surrogate"),
        lambda: arrival("lone \ud800"),
        lambda: arrival("a", offset=2**63),
    ],
)
async def test_bad_data_is_rejected(record: Record, bad: Callable[[], Arrival]) -> None:
    """What PostgreSQL or its client cannot store is bad input, not an outage, and the whole batch leaves no trace."""
    with pytest.raises(Rejected):
        await record.record_arrivals([arrival("good", fingerprint="other"), bad()], Grouping())
    assert (await record.stats())["anomalies"] == 0
    assert await record.episodes() == []


async def test_one_id_has_one_body(record: Record) -> None:
    """The first writer of a decision wins, and every reader gets its very bytes."""
    assert await record.decision_body("dec_1") is None
    told = [decision(rationale=text, timings={"b": 1.0, "a": 2.0}) for text in ("first", "second")]
    first, again = await record.save_decisions([(made, None) for made in told])
    (late,) = await record.save_decisions([(decision(rationale="third"), None)])
    assert first == again == late == await record.decision_body("dec_1")
    assert msgspec.json.decode(first, type=Decision).rationale == "first"


async def test_writers_of_the_same_decisions_meet(record: Record) -> None:
    """Many at once, each with its own words and order: one body each id, no deadlock, and the sum is told apart."""
    names = [f"dec_{number}" for number in range(6)]
    saved = await asyncio.gather(
        *(
            record.save_decisions([(decision(name, rationale=str(writer)), None) for name in names[writer:] + names])
            for writer in range(6)
        )
    )
    for number, name in enumerate(names):
        assert {bodies[len(names) - writer + number] for writer, bodies in enumerate(saved)} == {
            await record.decision_body(name)
        }
    assert await record.decision_bodies(["dec_0", "nobody", "dec_0"]) == [saved[0][0], None, saved[0][0]]


@pytest.mark.parametrize("rationale", ["nul \x00", "lone \ud800"])
async def test_a_decision_that_cannot_be_stored_is_rejected(record: Record, rationale: str) -> None:
    """A model's text with a NUL or a lone surrogate is bad data."""
    with pytest.raises(Rejected):
        await record.save_decisions([(decision(rationale=rationale), None)])


async def test_decisions_are_listed_newest_first(record: Record) -> None:
    """Filters and limits hold, and `before` pages on."""
    for i in range(4):
        service = "api" if i % 2 else "web"
        made = decision(f"dec_{i}", service=service, created_at=NOW + timedelta(seconds=i))
        await record.save_decisions([(made, None)])
    assert [found.id for found in await record.decisions(limit=3)] == ["dec_3", "dec_2", "dec_1"]
    assert [found.id for found in await record.decisions(service="web")] == ["dec_2", "dec_0"]
    assert [found.id for found in await record.decisions(before=NOW + timedelta(seconds=2))] == ["dec_1", "dec_0"]
    assert await record.decisions(verdict="recommend") == []
    stats = await record.stats()
    assert (stats["decisions"], stats["by_engine"], stats["by_verdict"]) == (4, {"nearest": 4}, {"escalate": 4})
    assert (stats["median_latency_ms"], stats["p99_latency_ms"]) == (12.5, 12.5)


async def test_pages_of_decisions_leave_none_out_and_show_none_twice(record: Record) -> None:
    """Also where a page ends among some of one time, which a burst decided together has."""
    times = [NOW + timedelta(seconds=i // 3) for i in range(8)]
    made = [(decision(f"dec_{i}", revision=i, created_at=at), None) for i, at in enumerate(times)]
    await record.save_decisions(made)
    seen: list[Decision] = []
    for _ in range(5):
        last = seen[-1] if seen else None
        seen += await record.decisions(limit=2, before=last and last.created_at, before_id=last and last.id)
    assert [found.id for found in seen] == [f"dec_{i}" for i in (6, 7, 3, 4, 5, 0, 1, 2)]


async def test_stats_say_whether_the_confidence_held(record: Record) -> None:
    """Of recommendations with a verdict, the last one on each; escalations and what nobody judged do not count."""
    restart, scale = Action("restart_service", "db"), Action("scale_out", "db")
    said: list[list[tuple[str, Action | None, bool | None]]] = [
        [("accept", None, None)],
        [("accept", None, False)],
        [("accept", None, None), ("reject", None, None)],
        [("correct", restart, True)],
        [("correct", scale, True)],
        [],
    ]
    for number, verdicts in enumerate(said):
        made = decision(f"dec_{number}", verdict="recommend", action=restart, confidence_score=0.5 + number / 10)
        await record.save_decisions([(made, None)])
        for place, (verdict, action, worked) in enumerate(verdicts):
            at = NOW + timedelta(seconds=place)
            one = Feedback(
                id=f"{number}-{9 - place}", decision_id=made.id, verdict=verdict, action=action, worked=worked,
                created_at=at,
            )  # fmt: skip
            await record.save_feedback(one)
    await record.save_decisions([(decision("dec_asked"), None)])
    await record.save_feedback(Feedback(id="asked", decision_id="dec_asked", verdict="accept"))
    stats = await record.stats()
    assert (stats["judged"], stats["judged_right"]) == (5, 2)
    assert stats["judged_confidence"] == pytest.approx(0.7)


async def test_stats_of_nothing(record: Record) -> None:
    """An empty record has zeros, and no latency."""
    stats = await record.stats()
    assert {name: value for name, value in stats.items() if value not in (0, {})} == {
        "judged_confidence": None, "median_latency_ms": None, "p99_latency_ms": None
    }  # fmt: skip


async def test_an_incident_version_rises_only_with_a_change(record: Record) -> None:
    """Writing the same incident again changes neither its version nor the state of the whole."""
    one, two = Incident(id="i1", title="One", labels={"b": "1", "a": "2"}), Incident(id="i2", title="Two")
    assert await record.upsert_incidents([one, two]) == 2
    versions, state = await record.incident_versions(), await record.incident_state()
    assert await record.upsert_incidents([one, two, one]) == 0
    assert (await record.incident_versions(), await record.incident_state()) == (versions, state)
    assert await record.upsert_incidents([msgspec.structs.replace(one, title="Uno"), two]) == 1
    changed = await record.incident_versions()
    assert changed["i1"] > versions["i1"]
    assert changed["i2"] == versions["i2"]
    assert await record.incident_state() != state
    assert [found.title for found in await record.incidents(ids=["i1", "none"])] == ["Uno"]
    assert len(await record.incidents(limit=1)) == 1
    assert len(await record.incidents()) == 2
    assert await record.upsert_incidents([]) == 0


NO, YES, FAILED = {"verdict": "reject"}, {"verdict": "accept"}, {"verdict": "reject", "worked": False}
WORKED = {"verdict": "accept", "worked": True}


@pytest.mark.parametrize(
    ("why", "given", "ends"),
    [
        ("accepted", [(0, 1, YES)], ["0 taught"]),
        ("accepted, and taken back before it is resolved", [(0, 1, YES), (1, 1, NO)], []),
        ("accepted once more", [(0, 1, YES), (1, 1, NO), (2, 1, YES)], ["2 taught", "1 overtaken"]),
        ("accepted, and said to have failed", [(0, 1, YES), (1, 1, FAILED)], ["1 taught"]),
        ("another decision is rejected", [(0, 1, YES), (1, 2, NO)], ["0 taught"]),
        ("it worked, whoever rejects it", [(0, 1, WORKED), (1, 1, NO)], ["0 taught", "1 nothing"]),
        ("heard the other way round", [(1, 1, NO), (0, 1, YES)], []),
        ("accepted after it was rejected, and heard before", [(1, 1, YES), (0, 1, NO)], ["1 taught", "0 overtaken"]),
        ("taken back after it was taught", [(0, 1, YES), None, (1, 1, NO)], ["0 taught", "1 takes back"]),
        ("the same, and then accepted", [(0, 1, YES), None, (1, 1, NO), None, (2, 1, YES)],
         ["0 taught", "1 takes back", "2 taught"]),
        ("one that is older is heard last", [(5, 2, WORKED), None, (0, 1, FAILED)], ["5 taught", "0 overtaken"]),
        ("one that is newer is heard last", [(0, 2, WORKED), None, (5, 1, FAILED)], ["0 taught", "5 taught"]),
        ("what is taken back was overtaken before", [(0, 1, YES), None, (1, 2, WORKED), None, (2, 1, NO)],
         ["0 taught", "1 taught", "2 nothing"]),
        ("heard twice", [(0, 1, WORKED), None, (0, 1, WORKED)], ["0 taught"]),
        ("both heard at once, the newer first", [(5, 2, WORKED), (0, 1, FAILED)], ["0 taught", "5 taught"]),
        ("what was overtaken by what is taken back", [(0, 2, WORKED), None, (1, 1, YES), None, (2, 1, NO)],
         ["0 taught", "1 taught", "2 takes back", "0 taught"]),
        ("the same, and it is heard last", [(1, 1, YES), None, (2, 1, NO), None, (0, 2, WORKED)],
         ["1 taught", "2 takes back", "0 taught"]),
    ],
)  # fmt: skip
async def test_the_last_word_on_an_episode_is_learned(
    record: Record, why: str, given: list[tuple[int, int, dict[str, Any]] | None], ends: list[str]
) -> None:
    """Verdicts as they are heard: minute, decision, verdict; at None, and in the end, what is due is learned."""
    (opening,) = await record.record_arrivals([arrival("a"), arrival("b", 1, status="resolved")], Grouping())
    await record.save_decisions(
        [(decision(f"dec_{n}", anomaly_id="a", episode_id=opening.episode_id, revision=n), None) for n in (1, 2)]
    )
    learned: list[str] = []
    for one in [*given, None, None, None]:
        if one is not None:
            minute, number, verdict = one
            at = NOW + timedelta(minutes=minute)
            await record.save_feedback(Feedback(id=f"{minute}", decision_id=f"dec_{number}", created_at=at, **verdict))
            continue
        for lesson in await record.lessons():
            bare = lesson.feedback.verdict != "accept" and lesson.feedback.worked is None
            teaches = "takes back" if lesson.takes_back else "nothing" if bare else "taught"
            learned.append(f"{lesson.feedback.id} {'overtaken' if lesson.overtaken else teaches}")
            if lesson.takes_back:
                await record.unlearn(lesson.decision.episode_id)
            await record.learned(lesson.feedback.id)
    assert learned == ends, why


async def test_verdicts_are_judged_in_the_order_in_which_they_were_given(record: Record) -> None:
    """Wherever the clocks stood and however late they were heard; without a time of their own they count as heard."""
    (opening,) = await record.record_arrivals([arrival("a")], Grouping())
    await record.save_decisions([(decision("dec_1", anomaly_id="a", episode_id=opening.episode_id), None)])
    east, west = timezone(timedelta(hours=14)), timezone(-timedelta(hours=11))
    old = datetime(2020, 1, 1, tzinfo=UTC)
    for name, verdict, at in (("none", "correct", None), ("late", "reject", (old + timedelta(1)).astimezone(west)),
                              ("early", "accept", old.astimezone(east))):  # fmt: skip
        await record.save_feedback(Feedback(id=name, decision_id="dec_1", verdict=verdict, created_at=at))  # type: ignore[arg-type]
    assert [said.verdict for _, said in await record.judged_decisions()] == ["accept", "reject", "correct"]


async def test_a_verdict_from_far_off_utc_stops_neither_lessons_nor_counts(record: Record) -> None:
    """RFC 3339 has offsets up to 23:59, PostgreSQL none beyond 16 hours; what is no time in UTC is rejected."""
    (opening,) = await record.record_arrivals([arrival("a")], Grouping())
    await record.save_decisions([(decision("dec_1", anomaly_id="a", episode_id=opening.episode_id), None)])
    far = timezone(timedelta(hours=23, minutes=59))
    one = Feedback(id="x", decision_id="dec_1", verdict="accept", worked=True)
    await record.save_feedback(msgspec.structs.replace(one, created_at=NOW.astimezone(far)))
    with pytest.raises(Rejected, match="created_at is out of range"):
        await record.save_feedback(msgspec.structs.replace(one, id="y", created_at=datetime(1, 1, 1, tzinfo=far)))
    assert [lesson.feedback.created_at for lesson in await record.lessons()] == [NOW]
    assert (await record.stats())["feedback"] == 1


async def test_the_newest_reading_of_a_text_counts(record: Record) -> None:
    """A model that is asked again about the very same page takes back what it said; other pages have theirs."""
    readings = Readings(record)
    for text, service in ("a page", "orders"), ("another", "doors"), ("a page", "payments"):
        await readings.keep(text, Reading(post_mortem=True, service=service))
    known = await readings.known(["another", "a page", "none"])
    assert {text: reading.service for text, reading in known.items()} == {"a page": "payments", "another": "doors"}


async def test_a_row_that_cannot_be_read_any_more_is_left_out(record: Record, database_url: str) -> None:
    """One of an earlier release, which knew no limits: it is logged by its id, and stops neither lists nor lessons."""
    await record.record_arrivals([arrival("a")], Grouping())
    opened = await record.episodes()
    await record.save_decisions([(decision(name, anomaly_id="a", episode_id=opened[0]["id"], revision=place), None)
                                 for place, name in enumerate(("dec_1", "dec_2"), 1)])  # fmt: skip
    await record.upsert_incidents([Incident(id=name, title=name) for name in ("inc-1", "inc-2")])
    for place in (1, 2):
        await record.save_feedback(
            Feedback(id=f"fb_{place}", decision_id=f"dec_{place}", verdict="accept", worked=True)
        )
    long = msgspec.json.encode(Action("restart", "x" * 300)).decode()
    async with record.connection() as connection:
        await connection.execute("UPDATE incidents SET body = jsonb_set(body, '{action}', $1) WHERE id = 'inc-1'", long)
        await connection.execute(
            "UPDATE decisions SET published = convert_to(jsonb_set(body, '{action}', $1)::text, 'UTF8') "
            "WHERE id = 'dec_1'", long,
        )  # fmt: skip
    with structlog.testing.capture_logs() as logs:
        assert [incident.id for incident in await record.incidents()] == ["inc-2"]
        assert [found.id for found in await record.decisions()] == ["dec_2"]
        assert [found.decision.id for found in await record.explanations(limit=5)] == ["dec_2"]
        assert [found.id for found, _ in await record.judged_decisions()] == ["dec_2"]
        assert [lesson.feedback.id for lesson in await record.lessons()] == ["fb_2"]
    assert {(line["event"], line["kind"], line["id"]) for line in logs} == {
        ("row_unreadable", "incident", "inc-1"), ("row_unreadable", "decision", "dec_1"),
        ("row_unreadable", "feedback", "fb_1"),
    }  # fmt: skip
    assert not any("xxx" in str(line) for line in logs)
    with structlog.testing.capture_logs() as logs:
        assert [lesson.feedback.id for lesson in await record.lessons()] == ["fb_2"]
    assert logs == []  # nothing will ever be learned of it: it is in nobody's way


async def test_a_verdict_that_cannot_be_read_any_more_takes_no_other_with_it(record: Record) -> None:
    """Of those on one episode, the others are learned."""
    (opening,) = await record.record_arrivals([arrival("a")], Grouping())
    await record.save_decisions([(decision("dec_1", anomaly_id="a", episode_id=opening.episode_id), None)])
    for name in ("old", "new"):
        await record.save_feedback(Feedback(id=name, decision_id="dec_1", verdict="accept", worked=True))
    long = msgspec.json.encode(Action("restart", "x" * 300)).decode()
    async with record.connection() as connection:
        await connection.execute("UPDATE feedback SET body = jsonb_set(body, '{action}', $1) WHERE id = 'old'", long)
    assert [lesson.feedback.id for lesson in await record.lessons()] == ["new"]


async def test_an_episode_whose_anomaly_cannot_be_read_any_more_is_not_decided_again(record: Record) -> None:
    """Nor does it stop the worker, or come again and again: one of an earlier release, which knew no limits."""
    openings = await record.record_arrivals([arrival("a"), arrival("b", fingerprint="fp2")], Grouping())
    await record.save_decisions(
        [(decision(f"dec_{one.anomaly_id}", episode_id=one.episode_id), None) for one in openings]
    )
    for one in await record.standing(10, 10):
        await record.revise(one)
    async with record.connection() as connection:
        await connection.execute(
            "UPDATE anomalies SET body = jsonb_build_object('error_type', repeat('x', 300)) WHERE id = 'a'"
        )
    with structlog.testing.capture_logs() as logs:
        assert [one.anomaly_id for one in await record.overdue(timedelta(0))] == ["b"]
        assert [one.anomaly_id for one in await record.overdue(timedelta(0))] == ["b"]
        async with record.connection() as connection:
            await connection.execute("UPDATE episodes SET decided = 1")
        assert [one.anomaly_id for one in await record.standing(10, 10)] == ["b"]
    unreadable = next(one.episode_id for one in openings if one.anomaly_id == "a")
    assert [(line["event"], line["id"]) for line in logs] == [("row_unreadable", unreadable)] * 2


async def test_a_message_that_cannot_be_read_any_more_is_muted(record: Record) -> None:
    """One that waits since an earlier release is named in the record, and the next ones are told."""
    box = Outbox(record, Policy())
    old, new = decision("dec_1", action=Action("restart", "x" * 300)), decision("dec_2")
    await box.take([News(said, message_of(said)) for said in (old, new)])
    await _the_next_is_told_and_the_old_muted(box, record)


async def test_a_call_that_cannot_be_read_any_more_ends_no_poster(record: Record) -> None:
    """One that an earlier release claimed and died with is given up, and the next ones are told."""
    box = Outbox(record, Policy())
    await box.take([News(decision("dec_1"), message_of(decision("dec_1")))])
    assert isinstance(await box.claim("log", limited=False), Claim)
    old = msgspec.json.encode(decision("dec_1", action=Action("restart", "x" * 300)))
    async with record.connection() as connection:
        await connection.execute("UPDATE notifications SET body = $1", old)
        await connection.execute("UPDATE messages SET leased_at = now() - interval '1 minute'")
    await box.take([News(decision("dec_2"), message_of(decision("dec_2")))])
    assert await box.claim("log", limited=False) == 0
    await _the_next_is_told_and_the_old_muted(box, record)


async def _the_next_is_told_and_the_old_muted(box: Outbox, record: Record) -> None:
    claim = await box.claim("log", limited=False)
    assert isinstance(claim, Claim)
    assert [told.id for told in claim.about] == ["dec_2"]
    async with record.connection() as connection:
        row = await connection.fetchrow("SELECT state, detail FROM notifications WHERE decision_id = 'dec_1'")
    assert (row["state"], row["detail"]) == ("muted", "unreadable: of an earlier release")


def message_of(said: Decision) -> kafka.Message:
    return kafka.Message("decisions", 0, 0, None, msgspec.json.encode(said), [], 0)


async def test_feedback_is_written_once(record: Record) -> None:
    """Feedback repeats freely by its id; on a decision that nobody made it is rejected."""
    feedback = Feedback(id="f1", decision_id="dec_1", verdict="accept")
    with pytest.raises(Rejected, match="dec_1"):
        await record.save_feedback(feedback)
    await record.save_decisions([(decision(), None)])
    await record.save_feedback(feedback)
    await record.save_feedback(feedback)
    assert (await record.stats())["feedback"] == 1


async def test_the_track_record_of_an_action(record: Record) -> None:
    """Of all past incidents that took it: how often it worked, failed, and the median minutes where it worked."""
    act = Action("rollback", "web")
    told = [("resolved", 10.0), ("mitigated", 30.0), ("resolved", None), ("failed", 500.0), ("unknown", None)]
    await record.upsert_incidents(
        [
            Incident(id=f"i{n}", title="t", action=act, outcome=outcome, recovery_minutes=minutes)  # type: ignore[arg-type]
            for n, (outcome, minutes) in enumerate(told)
        ]
        + [Incident(id="other", title="t", action=Action("scale_out", "web"), outcome="resolved")]
    )
    asked = [("ep_1", action) for action in ("rollback", "nobody_did_that", "scale_out", "rollback")]
    rollback = Background(0, TrackRecord(times=5, worked=3, failed=1, recovery_minutes=20.0))
    scale_out = Background(0, TrackRecord(times=1, worked=1, failed=0))
    assert await record.backgrounds(asked) == [rollback, Background(0, None), scale_out, rollback]


async def test_a_message_is_claimed_once(record: Record) -> None:
    """Of six posters one gets the call, the others wait for its end; what is told stays told, in that channel."""
    boxes = [Outbox(record, Policy(), "C1") for _ in range(6)]
    news = News(decision(), kafka.Message("decisions", 0, 7, b"k", msgspec.json.encode(decision()), [], 0))
    assert await boxes[0].take([news]) == {"C1"}
    claims = await asyncio.gather(*(box.claim("C1") for box in boxes))
    (claim,) = [claim for claim in claims if isinstance(claim, Claim)]
    assert all(0 < wait <= LEASE for wait in claims if isinstance(wait, float))
    owner = boxes[claims.index(claim)]
    assert await owner.renew(claim)
    assert [letter.offset for letter in await owner.letters(claim)] == [7]
    await owner.finish(claim, "refused", "no such channel")
    assert await owner.take([news]) == {"C1"}
    assert isinstance(await owner.claim("C1"), float)
    await owner.take([replace(news, again=True)])
    again = await owner.claim("C1", limited=False)
    assert isinstance(again, Claim)
    await owner.finish(again, "sent", place="C1/1.2")
    await owner.take([replace(news, again=True)])
    assert isinstance(await owner.claim("C1", limited=False), float)
    assert (await record.stats())["notifications"] == 1


async def test_a_head_is_looked_after_at_one_cost_in_any_table(record: Record) -> None:
    """Its first episode is among its situation's, and not looked for from the oldest of years."""
    async with record.connection() as connection:
        await connection.execute(_MANY_EPISODES)
        await connection.execute("ANALYZE episodes")
        plan = await connection.fetch(f"EXPLAIN {outbox_sql.HEADS}", "C1")
    lines = "\n".join(row[0] for row in plan)
    assert "episodes_situation" in lines
    assert "episodes_ordinal" not in lines


_MANY_EPISODES = """
INSERT INTO episodes (
    id, fingerprint, state, opened_by, occurrences, error_type, opened_at, last_seen_at, began_at, situation_id
)
SELECT 'ep_' || n, 'fp_' || n, 'quiet', 'a', 1, 'timeout', now(), now(), now(), 'sit_' || n / 300
FROM generate_series(1, 30000) AS n
"""


async def test_a_decision_stays_in_the_channel_that_it_was_taken_for(record: Record) -> None:
    """Delivered again after its episode got worse it is told of once; where it was refused, a human may move it."""
    rising = Policy(PolicyFile(routes=(Route(match=("severity=critical",), channel="#urgent"),)))
    box = Outbox(record, rising, "#ops", routed=True)
    (opening,) = await record.record_arrivals([arrival("a", severity="warning")], Grouping())
    made = decision(episode_id=opening.episode_id)
    news = News(made, kafka.Message("decisions", 0, 7, b"k", msgspec.json.encode(made), [], 0))
    await box.take([news])
    await record.record_arrivals([arrival("b", 1, severity="critical")], Grouping())
    await box.take([news])
    assert await box.channels() == ["#ops"]
    claim = await box.claim("#ops")
    assert isinstance(claim, Claim)
    await box.finish(claim, "refused", "no such channel")
    await box.take([news])
    assert await box.channels() == []
    await box.take([replace(news, again=True)])
    await box.take([news, replace(news, again=True)])
    assert await box.channels() == ["#urgent"]
    await Outbox(record, Policy(), "#elsewhere", routed=True).take([replace(news, again=True)])
    assert await box.channels() == ["#urgent"]


async def test_what_was_told_of_a_situation(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its head in a channel is its first message that came through, however ids and rows lie; the worst comes first.

    An edit says what its own message said, is nothing that was told, and puts off no reminder; nor does what was told
    in another channel, or refused.
    """
    ids = iter("zyxwbca")
    monkeypatch.setattr(outbox, "uuid4", lambda: SimpleNamespace(hex=next(ids)))
    (opening,) = await record.record_arrivals([arrival("a", severity="error")], Grouping())
    situation = str(opening.situation_id)
    plain = decision(episode_id=opening.episode_id, situation_id=situation, severity="error")

    async def claimed(box: Outbox, channel: str) -> Claim:
        claim = await box.claim(channel, limited=False)
        assert isinstance(claim, Claim)
        return claim

    async def tell(box: Outbox, channel: str, place: str | None, *names: str) -> Claim:
        said = [msgspec.structs.replace(plain, id=name, revision=int(name[-1])) for name in names]
        said = [msgspec.structs.replace(one, severity="critical") if one.id == "dec_2" else one for one in said]
        await record.save_decisions([(one, None) for one in said])
        await box.take(
            [News(one, kafka.Message("decisions", 0, 7, b"k", msgspec.json.encode(one), [], 0)) for one in said]
        )
        claim = await claimed(box, channel)
        assert [one.id for one in claim.about] == sorted(names, key=lambda name: (name != "dec_2", name))
        await box.finish(claim, "sent" if place else "refused", place=place)
        return claim

    box = Outbox(record, Policy(), "C1")
    assert (await tell(box, "C1", None, "dec_0")).kind == "head"
    assert (await tell(box, "C1", "C1/1", "dec_1", "dec_2", "dec_5")).kind == "head"
    update = await tell(box, "C1", "C1/2", "dec_3")
    assert (update.kind, update.place, update.head and update.head.id) == ("update", "C1/1", "dec_2")
    async with record.connection() as connection:
        last = await connection.fetchval("SELECT max(claimed_at) FROM messages")
    assert (await tell(Outbox(record, Policy(), "C2"), "C2", "C2/1", "dec_4")).kind == "head"
    edit = await claimed(box, "C1")
    assert (edit.kind, edit.place, edit.head and edit.head.id) == ("edit", "C1/1", "dec_2")
    await box.finish(edit, "sent", place="C1/1")
    async with record.connection() as connection:
        known = await outbox._told(connection, "C1", {situation, "o"}, last)
        assert known == {situation: Told("x", "C1/1", 1, 3, last)}
        before = last - timedelta(hours=1)  # the clock was put back
        (put_back,) = (await outbox._told(connection, "C1", {situation}, before)).values()
        assert put_back.last < before - timedelta(seconds=Limits().longest)
        shown = await connection.fetch("SELECT id, shown FROM messages WHERE kind = 'head' AND state = 'sent'")
        (head,) = await box._heads(connection, "C1")
    assert {row["id"]: row["shown"] for row in shown} == {"x": edit.shown, "c": "error, 1"}
    assert edit.shown == "error, 2"
    assert (head.message_id, head.place, head.shown, head.now) == ("x", "C1/1", edit.shown, edit.shown)
    assert head.repeat_at == last + timedelta(seconds=Route().repeat)


async def test_a_clock_that_is_put_back_silences_no_channel(record: Record) -> None:
    """What was sent, what waits, what was told and who holds a claim: none of it is of a time that is yet to come."""
    policy = Policy(PolicyFile(limits=Limits(burst=1), routes=(Route(group_wait=5.0),)))
    box = Outbox(record, policy, "C1")
    first = decision("dec_1", situation_id="s1")
    await box.take([News(first, message_of(first))])
    await _an_hour(record, "-")  # it waited long enough
    head = await box.claim("C1")
    assert isinstance(head, Claim)
    await box.finish(head, "sent", place="C1/1")
    for name, situation in (("dec_2", "s1"), ("dec_3", "s2")):
        said = decision(name, situation_id=situation)
        await box.take([News(said, message_of(said))])
    await _an_hour(record, "+")
    for _ in range(2):
        claim = await box.claim("C1")
        assert isinstance(claim, Claim)
        await _an_hour(record, "+")  # its owner dies, too
        again = await Outbox(record, policy, "C1").claim("C1")
        assert isinstance(again, Claim)
        assert (again.id, again.again) == (claim.id, True)
        await box.finish(claim, "sent", place="C1/2")
        await _an_hour(record, "+")


async def _an_hour(record: Record, sign: str) -> None:
    async with record.connection() as connection:
        await connection.execute(f"UPDATE notifications SET since = since {sign} interval '1 hour'")
        for column in ("claimed_at", "leased_at"):
            await connection.execute(f"UPDATE messages SET {column} = {column} {sign} interval '1 hour'")


async def test_what_waits_in_two_places_keeps_nobody_from_starting(record: Record) -> None:
    """As earlier releases could leave it: what waits for a place that is gone moves to the one that is named now."""
    old, new = Outbox(record, Policy(), "log"), Outbox(record, Policy(), "#ops", routed=True)
    said = [decision(name) for name in ("dec_1", "dec_2")]
    await old.take([News(one, kafka.Message("decisions", 0, 7, b"k", msgspec.json.encode(one), [], 0)) for one in said])
    async with record.connection() as connection:
        await connection.execute(
            "INSERT INTO notifications (decision_id, channel, state) VALUES ('dec_2', '#ops', 'sent')"
        )
    await new.redirect()
    async with record.connection() as connection:
        rows = await connection.fetch("SELECT decision_id, channel FROM notifications WHERE state = 'waiting'")
    assert {tuple(row) for row in rows} == {("dec_1", "#ops"), ("dec_2", "log")}


async def test_a_call_that_ends_while_it_is_taken_over_is_left_alone(record: Record, database_url: str) -> None:
    """After an outage the owner marks what it posted, and another finds the lease over, at the same time."""
    owner, other = (Outbox(record, Policy(), "C1") for _ in range(2))
    await owner.take([News(decision(), kafka.Message("decisions", 0, 7, b"k", msgspec.json.encode(decision()), [], 0))])
    claim = await owner.claim("C1")
    assert isinstance(claim, Claim)
    marking = await asyncpg.connect(database_url)
    try:
        await marking.execute("UPDATE messages SET leased_at = now() - interval '1 minute'")
        async with marking.transaction():
            await marking.execute("UPDATE messages SET state = 'sent'")
            await marking.execute("UPDATE notifications SET state = 'sent', body = NULL")
            taking = asyncio.create_task(other.claim("C1"))
            await until(partial(_waits, record), 10, "one that waits for the lock")
        assert isinstance(await taking, float)
    finally:
        await marking.close()


async def _waits(record: Record) -> bool:
    async with record.connection() as connection:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def test_a_database_that_is_away_is_named(database_url: str) -> None:
    """Opening on a wrong password or a closed port says DATABASE_URL, and never the password."""
    for wrong in (database_url.replace("pulseguard:", "pulseguard:secret"), "postgresql://x:secret@127.0.0.1:1/x"):
        for opening in (_open, migrate):
            with pytest.raises(Misconfigured) as caught:
                await opening(wrong)
            assert caught.value.variable == "DATABASE_URL"
            assert "secret" not in str(caught.value)


async def _open(url: str) -> None:
    async with open_record(url):
        pass


async def test_an_outage_is_unavailable_and_passes(home: Path) -> None:
    """While the server is away every call says so, each within its limit; when it is back the same record goes on."""
    port = free_port()
    async with AsyncExitStack() as stack:
        async with embedded_postgres(home, port) as url:
            await migrate(url)
            record = await stack.enter_async_context(open_record(url))
            await record.record_arrivals([arrival("a")], Grouping())
        for _ in range(2):  # the first meets a dead connection, the second a closed port
            with pytest.raises(Unavailable, match="postgres"):
                await record.record_arrivals([arrival("b")], Grouping())
            with pytest.raises(Unavailable, match="postgres"):
                await record.ping()
        await stack.enter_async_context(embedded_postgres(home, port))
        await record.record_arrivals([arrival("a"), arrival("b")], Grouping())
        assert (await record.stats())["anomalies"] == 2


async def test_a_connection_that_is_cut_in_a_statement_is_unavailable(record: Record, database_url: str) -> None:
    """A server process ended by an operator in mid-statement is an outage, and the next call has a new connection."""
    async with open_record(database_url) as other:
        with pytest.raises(Unavailable):
            async with other.connection() as connection:
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        await other.ping()


async def test_rights_that_were_taken_are_waited_for(record: Record, database_url: str) -> None:
    """Who may not write, or whose password was changed, has no bug: that would make dead letters of good anomalies."""
    async with record.connection() as connection:
        await connection.execute("CREATE ROLE guest LOGIN PASSWORD 'one'")
        try:
            password = urlsplit(database_url).password
            async with open_record(database_url.replace(f"pulseguard:{password}", "guest:one")) as guest:
                with pytest.raises(Unavailable, match="permission"):
                    await guest.record_arrivals([arrival("a")], Grouping())
                await connection.execute("ALTER ROLE guest PASSWORD 'two'")
                with pytest.raises(Unavailable):
                    async with guest.connection() as cut:
                        await cut.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                with pytest.raises(Unavailable, match="password"):
                    await guest.record_arrivals([arrival("a")], Grouping())
        finally:
            await connection.execute("DROP ROLE guest")


async def test_rights_that_are_missing_at_start_are_told(record: Record, database_url: str) -> None:
    """By the variable, and not waited for: nobody has taken them. Who only reads needs no more than that."""
    guest_url = database_url.replace(f"pulseguard:{urlsplit(database_url).password}", "guest:one")
    async with record.connection() as connection:
        await connection.execute("CREATE ROLE guest LOGIN PASSWORD 'one'")
        try:
            with pytest.raises(Misconfigured, match=r"^DATABASE_URL: .*permission denied for table pulseguard_schema"):
                await migrate(guest_url)
            await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
            await migrate(guest_url)
            async with open_record(guest_url) as guest:
                await check_rights(guest, {"gateway", "relay"})
                for role, tables in WRITTEN.items():
                    for table in tables:
                        with pytest.raises(Misconfigured, match=f"^DATABASE_URL: this user may not insert .*'{table}'"):
                            await check_rights(guest, {role, "gateway"})
                        await connection.execute(f"GRANT INSERT, UPDATE, DELETE ON {table} TO guest")
                    await check_rights(guest, {role})
                await connection.execute("REVOKE SELECT ON silences FROM guest")
                await check_rights(guest, {"relay"})
                with pytest.raises(Misconfigured, match="may not select in table 'silences'"):
                    await check_rights(guest, {"gateway"})
        finally:
            await connection.execute("DROP OWNED BY guest")
            await connection.execute("DROP ROLE guest")
        tables = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                                        "AND relkind = 'r' AND relname <> 'pulseguard_schema' ORDER BY 1")  # fmt: skip
    assert [row["relname"] for row in tables] == sorted(READ)


async def test_a_connection_to_a_replica_is_given_up(record: Record, database_url: str) -> None:
    """One made during a fail-over, when the name still led to the old primary, is not asked for ever."""
    async with open_record(database_url) as other:
        await _all_read_only(record, "on")
        with pytest.raises(Unavailable):  # leaves the pool with no connection that is older
            async with other.connection() as connection:
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        try:
            with pytest.raises(Unavailable, match="ReadOnly"):
                await other.record_arrivals([arrival("a")], Grouping())
        finally:
            await _all_read_only(record, "off")
        await other.record_arrivals([arrival("a")], Grouping())


async def _all_read_only(record: Record, said: str) -> None:
    """Of connections that are made from now on."""
    async with record.connection() as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {said}")


async def test_a_migration_under_a_running_worker_is_no_bug(record: Record, database_url: str) -> None:
    """What is remembered of a table that has another column now is forgotten, and the batch is tried again."""
    for name in ("a", "b"):
        await record.record_arrivals([arrival(name, fingerprint=name)], Grouping())
    newer = await asyncpg.connect(database_url, timeout=10)
    try:
        await newer.execute("ALTER TABLE situation_keys ADD COLUMN later text")
        with pytest.raises(Unavailable):
            await record.record_arrivals([arrival("c", fingerprint="c")], Grouping())
        await record.record_arrivals([arrival("c", fingerprint="c")], Grouping())
    finally:
        await newer.execute("ALTER TABLE situation_keys DROP COLUMN later")
        await newer.close()
    assert (await record.stats())["anomalies"] == 3


@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("ALTER TABLE situation_keys RENAME TO keys", "ALTER TABLE keys RENAME TO situation_keys"),
        ("ALTER TABLE anomalies RENAME id TO name", "ALTER TABLE anomalies RENAME name TO id"),
        ("ALTER TABLE progress ALTER next_offset TYPE point USING NULL, ALTER next_offset DROP NOT NULL",
         "ALTER TABLE progress ALTER next_offset TYPE bigint USING 0, ALTER next_offset SET NOT NULL"),
        ("ALTER TABLE progress DROP CONSTRAINT progress_pkey",
         "ALTER TABLE progress ADD PRIMARY KEY (topic_id, kafka_partition)"),
    ],
    ids=["table", "column", "type", "key"],
)  # fmt: skip
async def test_tables_of_another_release_are_waited_for(
    record: Record, database_url: str, change: str, back: str
) -> None:
    """Under a worker that runs: it makes no dead letters of good anomalies, and says what is wrong."""
    other = await asyncpg.connect(database_url, timeout=10)
    try:
        await other.execute(change)
        try:
            with pytest.raises(Unavailable, match="the tables are not this release's"):
                await record.record_arrivals([arrival("a")], Grouping())
        finally:
            await other.execute(back)
    finally:
        await other.close()
    await record.record_arrivals([arrival("a")], Grouping())


async def test_migrating_at_once_is_safe(database_url: str) -> None:
    """Several processes, and several tasks of one, may migrate the same fresh database together.

    An older release that meets it later says so.
    """
    async with open_record(database_url) as record, record.connection() as connection:
        await connection.execute("DROP DATABASE IF EXISTS fresh")
        await connection.execute("CREATE DATABASE fresh")
    url = database_url.rsplit("/", 1)[0] + "/fresh?sslmode=disable"
    code = "import asyncio, os; from pipeline.migrations import migrate; asyncio.run(migrate(os.environ['URL']))"
    children = [
        subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"URL": url})
        for _ in range(2)
    ]  # fmt: skip
    await asyncio.gather(migrate(url), migrate(url))
    assert [await asyncio.to_thread(child.wait, 60) for child in children] == [0, 0]
    async with open_record(url) as record:
        assert (await record.stats())["anomalies"] == 0
        async with record.connection() as connection:
            await connection.execute("UPDATE pulseguard_schema SET version_num = '9999'")
    with pytest.raises(Misconfigured, match="a newer release has used this database"):
        await migrate(url)


async def test_what_goes_on_comes_before_what_was_decided_last(record: Record) -> None:
    """Also before any number of newer situations that are over; among equals a new decision brings one to the top."""
    apart = Grouping(gap=timedelta(0))
    batch = [arrival(name, number, name) for number, name in enumerate(("first", "second", "over"))]
    ids = {opening.anomaly_id: opening.episode_id for opening in await record.record_arrivals(batch, apart)}
    await record.record_arrivals([arrival("end", 3, "over", status="resolved")], apart)
    for name in ("second", "over"):
        await record.save_decisions([(decision(f"dec_{name}", episode_id=ids[name], created_at=NOW), None)])

    async def listed(limit: int = 50) -> list[str]:
        return [situation["episodes"][0]["id"] for situation in await record.situations(limit=limit)]

    assert await listed() == [ids["second"], ids["first"], ids["over"]]
    again = decision("dec_again", episode_id=ids["first"], revision=2, created_at=NOW + timedelta(seconds=9))
    await record.save_decisions([(again, None)])
    assert await listed(2) == [ids["first"], ids["second"]]
    later = [arrival(f"l{number}", 60, f"l{number}") for number in range(5100)]
    await record.record_arrivals(later, apart)
    await record.record_arrivals([arrival(f"e{n}", 61, f"l{n}", status="resolved") for n in range(5100)], apart)
    assert await listed(2) == [ids["first"], ids["second"]]
    (over,) = await record.situations(only=situation_id(ids["over"]))
    assert [episode["id"] for episode in over["episodes"]] == [ids["over"]]
    assert await record.situations(only="sit_none") == []
    assert [found.id for found in await record.decisions(episodes=[ids["first"]])] == ["dec_again"]
    assert await record.decisions(episodes=[]) == []


async def test_what_is_proposed_anew_while_it_is_approved_goes_on_waiting(record: Record) -> None:
    """Who approved had not seen it; what is approved as it stands, or dismissed, is there no more."""
    proposals = Proposals(record)
    one = Incident(id="inc-1", title="One", mitigation="restarted")
    await proposals.put(one)
    taught: list[str] = []

    async def teach(incident: Incident) -> None:
        taught.append(incident.title)
        if len(taught) == 1:
            await proposals.put(msgspec.structs.replace(one, title="Other"))

    assert await proposals.approve("inc-1", teach)
    assert [waiting.title for waiting in await proposals.waiting()] == ["Other"]
    assert await proposals.approve("inc-1", teach)
    assert not await proposals.approve("inc-1", teach)
    await proposals.put(one)
    assert (await proposals.drop("inc-1"), await proposals.drop("inc-1")) == (True, False)
    assert (taught, await proposals.waiting()) == (["One", "Other"], [])


async def test_times_that_nobody_set_are_put_right(database_url: str) -> None:
    """What an older release wrote of them, as PostgreSQL keeps it, spoils no situation and no verdict afterwards."""
    async with open_record(database_url) as record, record.connection() as connection:
        await connection.execute("DROP DATABASE IF EXISTS older")
        await connection.execute("CREATE DATABASE older")
    url = database_url.rsplit("/", 1)[0] + "/older?sslmode=disable"
    await migrate(url, "0007")
    key, *_ = offers(Anomaly(error_type="timeout", service="s"))
    async with open_record(url) as record:
        async with record.connection() as connection:
            await connection.execute(
                "INSERT INTO episodes (id, fingerprint, state, opened_by, occurrences, error_type, opened_at, began_at,"
                " last_seen_at, situation_id) VALUES ('ep', 'fp', 'open', 'a', 1, 'timeout', $1, '-infinity', $1, 's')",
                NOW,
            )
            await connection.execute("INSERT INTO situation_keys VALUES ($1, 's', '-infinity', $2)", key, NOW)
            await connection.execute("ALTER TABLE feedback DROP CONSTRAINT feedback_decision_id_fkey")
            for zone in ("+05:30", "+16:00", "-23:59", "Z"):
                await connection.execute(
                    "INSERT INTO feedback (id, decision_id, verdict, body) VALUES ($1, 'dec', 'accept',"
                    " jsonb_build_object('created_at', '2026-11-01T12:00:00' || $1))", zone,
                )  # fmt: skip
        await migrate(url)
        assert (await record.stats())["feedback"] == 4
        async with record.connection() as connection:
            told = await connection.fetch("SELECT id FROM feedback WHERE body ? 'created_at' ORDER BY id")
        assert [row["id"] for row in told] == ["+05:30", "Z"]
        await record.record_arrivals([arrival("b", 60, "other", service="s")], Grouping())
        found = await record.situations()
    assert [root_of(situation["episodes"], Topology()) for situation in found[1:]] == ["ep"]
