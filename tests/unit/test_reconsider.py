"""When what was learned is worth another decision, and that it is asked for once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pipeline.confidence import Calibration, Logistic
from pipeline.errors import Rejected, Unavailable
from pipeline.index import Found
from pipeline.settings import Settings
from pipeline.stages.reconsider import Reconsideration
from pipeline.stages.record import Standing
from pipeline.words import Query
from schemas import Anomaly, EnrichedAnomaly, Evidence, Signals
from tests.integration.test_record import decision


def standing(episode: str = "ep_1") -> Standing:
    return Standing(episode, 1, "print", "sit_1", f"anm-{episode}", Anomaly(error_type="disk_full"))


class Played:
    """The record, the index and the sender at once. ``told``: of each decision its match and the evidence it knew."""

    def __init__(self) -> None:
        self.level = (1, 1)
        self.episodes = [standing()]
        self.told: tuple[str | None, list[str]] = (None, ["old"])
        self.known = {"old": 1, "new": 1}
        self.now, self.lead = ["new", "old"], 1.0
        self.first_elsewhere = False
        self.lost: list[Standing] = []
        self.sent: list[EnrichedAnomaly] = []
        self.away = False
        self.too_large: bytes | None = None

    async def overdue(self, after: timedelta) -> list[Standing]:
        return self.lost

    async def asked(self, found: Standing) -> None:
        self.lost = [one for one in self.lost if one != found]

    async def standing(self, most: int, revisions: int) -> list[Standing]:
        return self.episodes[:most]

    async def decision_bodies(self, ids: Sequence[str]) -> list[bytes | None]:
        matched, evidence = self.told
        made = decision(
            episode_id="ep_1", matched_incident=matched, evidence=[Evidence(name, name, 0.5) for name in evidence]
        )
        return [msgspec.json.encode(made) for _ in ids]

    async def incident_versions(self) -> dict[str, int]:
        return self.known

    async def revise(self, found: Standing) -> Standing | None:
        return None if self.first_elsewhere else replace(found, revision=found.revision + 1)

    async def search(self, queries: Sequence[Query]) -> list[Found]:
        return [Found([Evidence(name, name, 0.5) for name in self.now], Signals(lead=self.lead)) for _ in queries]

    async def send(self, topic: str, key: bytes, value: bytes, headers: Any) -> None:
        if self.away:
            raise Unavailable("kafka", "gone")
        if key == self.too_large:
            raise Rejected("Kafka refuses the record")
        self.sent.append(msgspec.json.decode(value, type=EnrichedAnomaly))


@pytest.fixture
def played() -> Any:
    return Played()


def opened(played: Any) -> Reconsideration:
    certain = Logistic(-2.0, {"lead": 4.0}, 0.0, 1.0)
    return Reconsideration(
        record=played,
        index=played,
        sender=played,
        settings=Settings(),
        calibration=Calibration("test", certain, certain),
    )


async def test_a_new_first_incident_asks_for_a_revision(played: Any) -> None:
    """With the new evidence, once: until something else is learned nothing is even looked up."""
    reconsider = opened(played)
    assert await reconsider() == 1
    (asked,) = played.sent
    assert (asked.revision, asked.anomaly_id, asked.situation_id) == (2, "anm-ep_1", "sit_1")
    assert [item.incident_id for item in asked.evidence] == ["new", "old"]
    assert await reconsider() == 0
    played.level = (2, 2)
    assert await reconsider() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"now": ["old", "new"]},  # it is known, but not the first
        {"now": []},
        {"told": (None, ["old", "new"])},  # the decision had seen it
        {"lead": 0.1},  # not sure enough to advise on
        {"now": ["inc-ep_1", "old"]},  # a human said it of this very episode
        {"first_elsewhere": True},
        {"told": ("new", ["new"]), "known": {"old": 1}},  # retired in the record, and the index has it still
    ],
)
async def test_what_changes_no_advice_asks_for_nothing(played: Any, change: dict[str, Any]) -> None:
    """Nobody is told twice what he was told."""
    for name, value in change.items():
        setattr(played, name, value)
    assert await opened(played)() == 0
    assert played.sent == []


async def test_a_decision_whose_incident_was_retired_is_made_again(played: Any) -> None:
    """However little is known now."""
    played.told, played.now, played.lead = ("wrong", ["wrong", "old"]), ["old"], 0.0
    assert await opened(played)() == 1


async def test_what_is_known_is_looked_up_and_not_walked_through(played: Any) -> None:
    """Hundreds of episodes in a record of a hundred thousand incidents held the event loop for seconds."""

    class Many(dict[str, int]):
        def __iter__(self) -> Any:
            raise AssertionError("walked through")

        keys = __iter__

    played.known = Many(played.known)
    played.told = ("old", ["old"])
    assert await opened(played)() == 1


async def test_what_was_written_down_and_not_asked_is_asked(played: Any) -> None:
    """Also where nothing was learned since; and an outage leaves the looking up to the next time."""
    reconsider = opened(played)
    played.away = True
    with pytest.raises(Unavailable):
        await reconsider()
    played.episodes = []
    played.lost = [replace(standing("ep_2"), revision=3)]
    with pytest.raises(Unavailable):
        await reconsider()
    played.away = False
    assert [await reconsider() for _ in range(2)] == [1, 0]
    assert [(asked.episode_id, asked.revision) for asked in played.sent] == [("ep_2", 3)]


async def test_what_kafka_refuses_is_in_nobodys_way(played: Any) -> None:
    """It is asked for once, and what comes after it is asked for, too."""
    played.lost, played.too_large = [replace(standing("ep_2"), fingerprint="large")], b"large"
    assert [await opened(played)() for _ in range(2)] == [2, 1]
    assert [asked.episode_id for asked in played.sent] == ["ep_1", "ep_1"]
