"""The life of an episode as a table: what arrives, and what is open, closed and counted then."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.stages.episodes import ACTIVE, Arrival, Changes, Episode, Rules, advance, episode_id
from schemas import Anomaly

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
QUIET = Rules(timedelta(seconds=900), timedelta(seconds=300), 4)


def arrival(name: str, seconds: float, status: str = "firing", fingerprint: str = "fp", **fields: object) -> Arrival:
    anomaly = Anomaly(error_type="timeout", service="api", status=status, **fields)  # type: ignore[arg-type]
    return Arrival(anomaly, name, fingerprint, "topic", 0, int(seconds), START + timedelta(seconds=seconds))


def result(changes: Changes) -> list[tuple[str, str, int]]:
    """Opener, state and occurrences of each written episode, by opener."""
    return sorted(
        (e.opened_by.anomaly_id if e.opened_by else "", e.state, e.occurrences) for e in changes.episodes.values()
    )


@pytest.mark.parametrize(
    ("story", "events", "expected"),
    [
        ("one opens", [("a", 0, "firing")], [("a", "open", 1)]),
        ("more are counted", [("a", 0, "firing"), ("b", 1, "firing"), ("c", 2, "firing")], [("a", "open", 3)]),
        ("exactly quiet is not over it", [("a", 0, "firing"), ("b", 900, "firing")], [("a", "open", 2)]),
        ("over quiet opens anew", [("a", 0, "firing"), ("b", 901, "firing")], [("a", "quiet", 1), ("b", "open", 1)]),
        (
            "quiet counts from the last one",
            [("a", 0, "firing"), ("b", 800, "firing"), ("c", 1600, "firing")],
            [("a", "open", 3)],
        ),
        ("resolved closes, uncounted", [("a", 0, "firing"), ("b", 1, "resolved")], [("a", "resolved", 1)]),
        ("resolved alone opens nothing", [("a", 0, "resolved")], []),
        ("a second resolved does nothing", [("a", 0, "firing"), ("b", 1, "resolved"), ("c", 2, "resolved")],
         [("a", "resolved", 1)]),
        (
            "soon after resolved it reopens",
            [("a", 0, "firing"), ("b", 1, "resolved"), ("c", 301, "firing")],
            [("a", "open", 2)],
        ),
        (
            "later than that a new one opens",
            [("a", 0, "firing"), ("b", 1, "resolved"), ("c", 302, "firing")],
            [("a", "resolved", 1), ("c", "open", 1)],
        ),
        ("resolved after quiet finds it quiet", [("a", 0, "firing"), ("b", 901, "resolved")], [("a", "quiet", 1)]),
        ("a late one does not turn time back", [("a", 1000, "firing"), ("b", 0, "firing"), ("c", 1800, "firing")],
         [("a", "open", 3)]),
    ],
)  # fmt: skip
def test_the_life_of_an_episode(story: str, events: list[tuple[str, float, str]], expected: list[object]) -> None:
    """Each story of arrivals with one fingerprint ends in these episodes."""
    assert result(advance([arrival(*event) for event in events], {}, QUIET)) == expected, story


@pytest.mark.parametrize("state", ["open", "escalated", "quiet"])
def test_an_episode_is_continued(state: str) -> None:
    """An episode of an earlier batch goes on counting, also if it was called quiet before its anomalies were read."""
    known = Episode("ep_1", "fp", state, None, 41, START, decided=41)
    changes = advance([arrival("b", 5)], {"fp": known}, QUIET)
    went_on = state if state in ACTIVE else "open"
    assert changes.episodes == {
        "ep_1": Episode("ep_1", "fp", went_on, None, 42, START + timedelta(seconds=5), decided=41)
    }
    assert changes.revisions == {}
    assert known.occurrences == 41
    assert changes.episode_of == {"b": "ep_1"}


def test_fingerprints_are_apart() -> None:
    """Anomalies with different fingerprints neither count into one episode nor close each other's."""
    changes = advance([arrival("a", 0), arrival("b", 1, "firing", "other"), arrival("c", 2, "resolved")], {}, QUIET)
    assert result(changes) == [("a", "resolved", 1), ("b", "open", 1)]


def test_a_batch_splits_anywhere() -> None:
    """Wherever a sequence is cut into two batches, the same episodes come out."""
    events = [
        arrival("a", 0), arrival("b", 10), arrival("c", 1000), arrival("d", 1001, "resolved"), arrival("e", 1002)
    ]  # fmt: skip
    whole = {name: (e.state, e.occurrences) for name, e in advance(events, {}, QUIET).episodes.items()}
    for cut in range(len(events) + 1):
        first = advance(events[:cut], {}, QUIET)
        still_open = {e.fingerprint: e for e in first.episodes.values()}
        both = first.episodes | advance(events[cut:], still_open, QUIET).episodes
        assert {name: (e.state, e.occurrences) for name, e in both.items()} == whole


@pytest.mark.parametrize(
    ("why", "known", "fields", "asks"),
    [
        ("more severe", {}, {"severity": "critical"}, True),
        ("more severe than nothing said", {"severity": None}, {"severity": "error"}, True),
        ("as bad as nothing said", {"severity": None}, {"severity": "warning"}, False),
        ("less severe", {}, {"severity": "info"}, False),
        ("twice the spike", {"spike": 100, "revised_spike": 100}, {"spike_percentage": 200}, True),
        ("not twice", {"spike": 100, "revised_spike": 100}, {"spike_percentage": 199}, False),
        ("twice of what is no spike", {"spike": -1, "revised_spike": -1}, {"spike_percentage": 50}, False),
        ("a spike where there was none", {}, {"spike_percentage": 400}, False),
        ("ten times as many", {"occurrences": 99, "decided": 10}, {}, True),
        ("not ten times as many", {"occurrences": 98, "decided": 10}, {}, False),
        ("ten times, but no decision yet", {"occurrences": 99, "decided": None}, {}, False),
        ("asked too often already", {"revision": 4}, {"severity": "critical"}, False),
    ],
)
def test_a_new_revision_when_it_matters_and_never_else(
    why: str, known: dict[str, object], fields: dict[str, object], asks: bool
) -> None:
    """What is much worse than the last decision said asks for another."""
    plain: dict[str, object] = {"occurrences": 5, "severity": "error", "decided": 5}
    before = Episode("ep_1", "fp", "open", None, last_seen_at=START, **(plain | known))  # type: ignore[arg-type]
    event = arrival("b", 5, **fields)
    changes = advance([event], {"fp": before}, QUIET)
    assert changes.revisions == ({("ep_1", before.revision + 1): event} if asks else {}), why
    assert changes.episodes["ep_1"].decided == (None if asks else before.decided)


def test_a_batch_asks_once_an_episode() -> None:
    """Three reasons in one batch are one revision, about the last of them."""
    events = [arrival("a", 0), arrival("b", 1, severity="error"), arrival("c", 2, severity="critical")]
    changes = advance(events, {}, QUIET)
    (key,) = changes.revisions
    assert key == (episode_id("fp", "a", START), 1)
    assert changes.revisions[key].anomaly_id == "c"


class Lives(RuleBasedStateMachine):
    """Whatever comes, in whatever batches: counts are exact, and one episode of a fingerprint goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, Episode] = {}
        self.order: list[str] = []
        self.firing: Counter[str] = Counter()
        self.asked: set[tuple[str, int]] = set()
        self.number = 0
        self.clock = 0.0

    @rule(
        events=st.lists(
            st.tuples(
                st.sampled_from(["fp", "other"]), st.sampled_from(["firing", "firing", "resolved"]),
                st.sampled_from([0.0, 1.0, 299.0, 301.0, 901.0, -5000.0]),
                st.sampled_from([None, "info", "critical"]), st.sampled_from([None, 10.0, 1000.0]),
            ),
            min_size=1, max_size=12,
        )
    )  # fmt: skip
    def arrive(self, events: list[tuple[str, str, float, str | None, float | None]]) -> None:
        batch = []
        for fingerprint, status, step, severity, spike in events:
            self.number += 1
            self.clock += step
            name = f"n{self.number}"
            batch.append(arrival(name, self.clock, status, fingerprint, severity=severity, spike_percentage=spike))
            self.firing[fingerprint] += status == "firing"
        latest = {self.stored[name].fingerprint: self.stored[name] for name in self.order}
        changes = advance(batch, latest, QUIET)
        assert set(changes.episode_of) == {event.anomaly_id for event in batch}
        assert not self.asked & changes.revisions.keys()
        assert len({name for name, _ in changes.revisions}) == len(changes.revisions)
        self.asked |= changes.revisions.keys()
        for episode in changes.episodes.values():
            if episode.id not in self.stored:
                self.order.append(episode.id)
            self.stored[episode.id] = replace(episode, opened_by=None)

    @rule(data=st.data())
    def decide(self, data: st.DataObject) -> None:
        if self.order:
            episode = self.stored[data.draw(st.sampled_from(self.order))]
            episode.decided = episode.occurrences

    @invariant()
    def holds(self) -> None:
        counted: Counter[str] = Counter()
        for episode in self.stored.values():
            counted[episode.fingerprint] += episode.occurrences
            assert episode.occurrences >= 1
            assert 1 <= episode.revision <= QUIET.revisions
            assert (episode.id, episode.revision) in self.asked
        assert counted == +self.firing
        going_on = Counter(episode.fingerprint for episode in self.stored.values() if episode.state in ACTIVE)
        assert all(count == 1 for count in going_on.values())
        newest = {self.stored[name].fingerprint: name for name in self.order}
        assert all(e.state not in ACTIVE or newest[e.fingerprint] == e.id for e in self.stored.values())


TestLives = Lives.TestCase


def test_an_episode_id_tells_its_parts_apart() -> None:
    """The same opening gives the same id; its parts are not run together; another time gives another."""
    assert episode_id("fp", "a", START) == episode_id("fp", "a", START)
    assert episode_id("ab", "c", START) != episode_id("a", "bc", START)
    assert episode_id("fp", "a", START) != episode_id("fp", "a", START + timedelta(days=90))
