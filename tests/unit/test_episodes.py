"""The life of an episode as a table: what arrives, and what is open, closed and counted then."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.stages.episodes import Arrival, Changes, Episode, advance, episode_id
from schemas import Anomaly

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
QUIET = timedelta(seconds=900)


def arrival(name: str, seconds: float, status: str = "firing", fingerprint: str = "fp") -> Arrival:
    anomaly = Anomaly(error_type="timeout", service="api", status=status)  # type: ignore[arg-type]
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
            "after resolved a new one opens",
            [("a", 0, "firing"), ("b", 1, "resolved"), ("c", 2, "firing")],
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


def test_an_open_episode_is_continued() -> None:
    """An episode of an earlier batch goes on counting, and its opener is not known again."""
    known = Episode("ep_1", "fp", "open", None, 41, START)
    changes = advance([arrival("b", 5)], {"fp": known}, QUIET)
    assert changes.episodes == {"ep_1": Episode("ep_1", "fp", "open", None, 42, START + timedelta(seconds=5))}
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
        still_open = {e.fingerprint: e for e in first.episodes.values() if e.state == "open"}
        both = first.episodes | advance(events[cut:], still_open, QUIET).episodes
        assert {name: (e.state, e.occurrences) for name, e in both.items()} == whole


def test_an_episode_id_tells_its_parts_apart() -> None:
    """The same opening gives the same id; fingerprint and anomaly id are not run together."""
    assert episode_id("fp", "a") == episode_id("fp", "a")
    assert episode_id("ab", "c") != episode_id("a", "bc")
