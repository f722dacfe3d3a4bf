"""The life of an episode: opened by a firing anomaly, fed by those with its fingerprint, closed by `resolved` or quiet.

Pure: rows in, rows out; `pipeline.stages.record` reads and writes them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schemas import Anomaly


@dataclass(frozen=True, slots=True)
class Arrival:
    """One anomaly as it came: what it says, who it is, and where in Kafka it lies."""

    anomaly: Anomaly
    anomaly_id: str
    fingerprint: str
    topic_id: str
    partition: int
    offset: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Episode:
    """The part of an episode's row that decides its life. ``occurrences`` counts distinct firing anomalies."""

    id: str
    fingerprint: str
    state: str
    opened_by: Arrival | None
    occurrences: int
    last_seen_at: datetime


@dataclass(slots=True)
class Changes:
    """What a batch does: episodes to write (each in its last state, in order), and each arrival's episode."""

    episodes: dict[str, Episode] = field(default_factory=dict)
    episode_of: dict[str, str | None] = field(default_factory=dict)


def episode_id(fingerprint: str, opened_by: str) -> str:
    """The same opening anomaly always opens the same episode."""
    return "ep_" + hashlib.sha256(f"{len(fingerprint)}:{fingerprint}{opened_by}".encode()).hexdigest()[:20]


def advance(arrivals: Iterable[Arrival], open_episodes: Mapping[str, Episode], quiet: timedelta) -> Changes:
    """Let new arrivals (no id seen before, in order of arrival) act on the open episodes, by fingerprint."""
    current = dict(open_episodes)
    changes = Changes()
    for arrival in arrivals:
        episode = current.get(arrival.fingerprint)
        if episode is not None and arrival.received_at - episode.last_seen_at > quiet:
            changes.episodes[episode.id] = replace(episode, state="quiet")
            episode = current.pop(arrival.fingerprint) and None
        if arrival.anomaly.status == "resolved":
            changes.episode_of[arrival.anomaly_id] = episode.id if episode else None
            if episode is not None:
                changes.episodes[episode.id] = replace(
                    episode, state="resolved", last_seen_at=max(episode.last_seen_at, arrival.received_at)
                )
                del current[arrival.fingerprint]
            continue
        if episode is None:
            new_id = episode_id(arrival.fingerprint, arrival.anomaly_id)
            episode = Episode(new_id, arrival.fingerprint, "open", arrival, 0, arrival.received_at)
        episode = replace(
            episode,
            occurrences=episode.occurrences + 1,
            last_seen_at=max(episode.last_seen_at, arrival.received_at),
        )
        current[arrival.fingerprint] = changes.episodes[episode.id] = episode
        changes.episode_of[arrival.anomaly_id] = episode.id
    return changes
