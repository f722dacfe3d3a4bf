"""What a verdict teaches."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pipeline.errors import Rejected
from pipeline.kafka import Message
from pipeline.settings import Settings
from pipeline.stages.learn import incident_of, learn_feedback, learn_incidents, teach
from pipeline.stages.record import Lesson
from schemas import Action, Anomaly, Feedback, Incident
from tests.unit.test_blocks import decision

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OTHER = Action("rollback", "web")


@pytest.mark.parametrize(
    ("why", "said", "resolved", "learned"),
    [
        ("it worked", {"verdict": "accept", "worked": True}, False, ("restart_service", "resolved")),
        ("it failed", {"verdict": "reject", "worked": False}, False, ("restart_service", "failed")),
        ("accepted, and the episode is resolved", {"verdict": "accept"}, True, ("restart_service", "resolved")),
        ("accepted, and nothing known yet", {"verdict": "accept"}, False, None),
        ("rejected, though resolved: by what?", {"verdict": "reject"}, True, None),
        ("something else helped", {"verdict": "correct", "action": OTHER, "worked": True}, False,
         ("rollback", "resolved")),
        ("something else did not", {"verdict": "correct", "action": OTHER, "worked": False}, True,
         ("rollback", "failed")),
        ("something else was done", {"verdict": "correct", "action": OTHER}, True, ("rollback", "unknown")),
        ("it was wrong, and no more", {"verdict": "correct", "worked": True}, True, None),
        ("a human was called", {"verdict": "correct", "action": Action("escalate_to_human", "web"), "worked": True},
         True, None),
    ],
)  # fmt: skip
def test_a_verdict(why: str, said: dict[str, object], resolved: bool, learned: tuple[str, str] | None):
    """An incident only where something was done and something is known of it; never one that says call a human."""
    feedback = Feedback(id="fb", decision_id="dec_1", **said)  # type: ignore[arg-type]
    anomaly = Anomaly(error_type="timeout", service="web", message="no answer", labels={"cluster": "c"})
    made = incident_of(Lesson(feedback, decision("slow"), anomaly, NOW, resolved))
    assert (made and made.action and (made.action.name, made.outcome)) == learned, why
    if made is not None:
        assert made.id == "inc-ep_1"
        assert (made.error_type, made.service, made.symptoms) == ("timeout", "web", "slow. no answer")
        assert made.mitigation == ("slow" if made.action == decision("slow").action else "")


class Played:
    """The record and the sender at once: verdicts that nothing was learned from, and a Kafka with a limit."""

    def __init__(self, *comments: str) -> None:
        made = decision("slow")
        self.waiting = [
            Lesson(Feedback(id=f"fb-{n}", decision_id="dec_1", verdict="accept", worked=True, comment=comment),
                   msgspec.structs.replace(made, episode_id=f"ep-{n}"), Anomaly(error_type="e"), NOW, resolved=True)
            for n, comment in enumerate(comments)
        ]  # fmt: skip
        self.sent: list[bytes | None] = []
        self.retired: list[bytes | None] = []
        self.proposed: list[str] = []
        self.unlearned: list[str] = []
        self.dropped: list[str] = []
        self.known: list[tuple[str, str | None]] = []
        self.saved: list[str] = []
        self.synced = 0

    async def upsert_incidents(self, incidents: Sequence[Incident]) -> None:
        self.known += [(incident.id, incident.title) for incident in incidents]

    async def retire_incidents(self, ids: Sequence[str]) -> None:
        self.known += [(name, None) for name in ids]

    async def sync(self, record: object) -> None:
        assert record is self
        self.synced += len(self.known)

    async def save_feedback(self, feedback: Feedback) -> None:
        if feedback.decision_id != "dec_1":
            raise Rejected("nobody made that decision")
        self.saved.append(feedback.id)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Played"]:
        yield self

    async def execute(self, _: str, incident_id: str, __: str) -> None:
        self.proposed.append(incident_id)

    async def fetchval(self, _: str, incident_id: str, __: str | None) -> None:
        self.dropped.append(incident_id)

    async def lessons(self) -> list[Lesson]:
        return self.waiting

    async def unlearn(self, episode_id: str) -> None:
        self.unlearned.append(episode_id)

    async def learned(self, feedback_id: str) -> None:
        self.waiting = [lesson for lesson in self.waiting if lesson.feedback.id != feedback_id]

    async def send(self, _: str, key: bytes | None, value: bytes | None) -> None:
        if len(value or b"") > 1_000_000:
            raise Rejected("Kafka refuses the record: too large")
        self.retired += [key] if value is None else []
        self.sent.append(key)


async def test_a_lesson_that_kafka_refuses_is_in_nobodys_way() -> None:
    """It is given up; those after it are taught, and it does not come back."""
    played: Any = Played("x" * 1_000_000, "restarted")
    assert await teach(played, played, Settings()) == 1
    assert (played.sent, played.waiting) == ([b"inc-ep-1"], [])


async def test_what_is_taken_back_is_retired() -> None:
    """And what a later verdict has overtaken is taught no more."""
    played: Any = Played("one", "two", "three")
    first, second, third = played.waiting
    bare = msgspec.structs.replace(second.feedback, verdict="reject", worked=None)
    played.waiting = [replace(first, overtaken=True), replace(second, feedback=bare, takes_back=True), third]
    assert await teach(played, played, Settings()) == 1
    assert (played.sent, played.retired, played.waiting) == ([b"inc-ep-1", b"inc-ep-2"], [b"inc-ep-1"], [])
    assert played.unlearned == ["ep-1"]


async def test_what_needs_approval_is_proposed() -> None:
    """And not published; what is taken back is proposed no more, and retired where it was approved already."""
    played: Any = Played("one", "two")
    first, second = played.waiting
    bare = msgspec.structs.replace(second.feedback, verdict="reject", worked=None)
    played.waiting = [first, replace(second, feedback=bare, takes_back=True)]
    assert await teach(played, played, Settings(learn_approval=True)) == 0
    assert (played.proposed, played.dropped, played.retired) == (["inc-ep-0"], ["inc-ep-1"], [b"inc-ep-1"])
    assert played.waiting == []


def test_an_advice_to_call_a_human_teaches_nothing():
    asked = msgspec.structs.replace(decision("slow"), action=Action("escalate_to_human", "web"))
    feedback = Feedback(id="fb", decision_id="dec_1", verdict="accept", worked=True)
    assert incident_of(Lesson(feedback, asked, Anomaly(error_type="e"), NOW, resolved=True)) is None


async def test_who_does_not_want_lessons_gets_none() -> None:
    """They wait: who wants them later has them."""
    played: Any = Played("one")
    assert await teach(played, played, Settings(learn_from_feedback=False)) == 0
    assert (played.sent, len(played.waiting)) == ([], 1)


def record(value: bytes | None, key: bytes | None = None) -> Message:
    return Message("incidents", 0, 0, key, value, [], 0)


async def test_the_last_word_on_an_incident_holds() -> None:
    """Whether it says something else, retires it or brings it back; what cannot be read costs no other."""
    said = [
        record(b'{"id": "a", "title": "one"}'), record(b"{", b"b"), record(b'{"id": "a", "title": "two"}'),
        record(b'{"id": "c", "title": "gone"}'), record(None, b"c"), record(None, b"d"),
        record(b'{"id": "d", "title": "back"}'), record(None),
    ]  # fmt: skip
    played: Any = Played()
    rejections = await learn_incidents(said, record=played, index=played)
    assert [(message, reason[:12]) for message, reason in rejections] == [
        (said[1], "not incident"), (said[7], "not incident"),
    ]  # fmt: skip
    assert sorted(played.known) == [("a", "two"), ("c", None), ("d", "back")]
    assert played.synced == 3  # searchable at once


async def test_of_nothing_nothing_is_learned() -> None:
    played: Any = Played()
    assert len(await learn_incidents([record(b"[]")], record=played, index=played)) == 1
    assert (played.known, played.synced) == ([], 0)


async def test_a_verdict_that_cannot_be_kept_costs_no_other() -> None:
    """What is none and what is on no decision is rejected; the others are kept, and what waits is taught."""
    said = [
        record(b'{"id": "f1", "decision_id": "dec_1", "verdict": "accept"}'), record(b'{"id": "f2"}'),
        record(b'{"id": "f3", "decision_id": "dec_none", "verdict": "accept"}'),
        record(b'{"id": "f4", "decision_id": "dec_1", "verdict": "reject"}'),
    ]  # fmt: skip
    played: Any = Played("restarted")
    rejections = await learn_feedback(said, record=played, sender=played, settings=Settings())
    assert [(message, reason[:12]) for message, reason in rejections] == [
        (said[1], "not feedback"), (said[2], "nobody made "),
    ]  # fmt: skip
    assert (played.saved, played.sent) == (["f1", "f4"], [b"inc-ep-0"])
