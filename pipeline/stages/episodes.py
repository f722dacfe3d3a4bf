"""The life of an episode: opened by a firing anomaly, fed by those with its fingerprint, closed by `resolved` or quiet.

    open ──(worse: a new revision of the decision)──▶ escalated
      └────────┬──────────────────────────────────────────┘
               ├──(`resolved`)──▶ resolved ──(firing again within the reopen window)──▶ open
               └──(nothing for the quiet period)──▶ quiet

Time decides, not the stored state: an episode that somebody marked quiet while anomalies of its time still wait in
Kafka goes on when they come. Pure: rows in, rows out; `pipeline.stages.record` reads and writes them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schemas import SEVERITIES, Anomaly, Severity

ACTIVE = ("open", "escalated")
"""The states of an episode that goes on."""
_TENFOLD, _DOUBLE = 10, 2


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
class Rules:
    """How long an episode lives. ``quiet`` closes it, within ``reopen`` of its `resolved` a firing anomaly reopens it.

    ``revisions`` is the most decisions, and so model calls, that one episode may ask for.
    """

    quiet: timedelta = timedelta(minutes=15)
    reopen: timedelta = timedelta(minutes=10)
    revisions: int = 10


@dataclass(slots=True)
class Episode:
    """The part of an episode's row that decides its life. ``occurrences`` counts distinct firing anomalies.

    ``severity`` and ``spike`` are the highest seen; ``revised_spike`` is the spike at the last revision, and
    ``decided`` how many occurrences its decision spoke of: None while it is not made.
    """

    id: str
    fingerprint: str
    state: str
    opened_by: Arrival | None
    occurrences: int
    last_seen_at: datetime
    severity: Severity | None = None
    spike: float | None = None
    revision: int = 1
    revised_spike: float | None = None
    decided: int | None = None
    situation_id: str | None = None


@dataclass(slots=True)
class Changes:
    """What a batch does.

    ``episodes`` to write, each in its last state, in order; each anomaly's episode; and the revisions that ask for a
    decision, at most one an episode: (episode, revision) → the arrival that it speaks of.
    """

    episodes: dict[str, Episode] = field(default_factory=dict)
    episode_of: dict[str, str | None] = field(default_factory=dict)
    revisions: dict[tuple[str, int], Arrival] = field(default_factory=dict)


def episode_id(fingerprint: str, opened_by: str, at: datetime) -> str:
    """The same opening anomaly always opens the same episode; one with its id after it was forgotten, another one."""
    text = f"{len(fingerprint)}:{fingerprint}{at.isoformat()} {opened_by}"
    return "ep_" + hashlib.sha256(text.encode()).hexdigest()[:20]


def rank(severity: str | None) -> int:
    """A number that grows with the severity; who says none is as bad as a warning. ValueError for what is none."""
    return SEVERITIES.index(severity or "warning")


def advance(arrivals: Iterable[Arrival], latest: Mapping[str, Episode], rules: Rules) -> Changes:
    """Let new arrivals (no id seen before, in order of arrival) act on the latest episode of each fingerprint."""
    current = {fingerprint: replace(episode) for fingerprint, episode in latest.items()}
    changes = Changes()
    for arrival in arrivals:
        episode = current.get(arrival.fingerprint)
        if episode is not None and not _goes_on(episode, arrival, rules):
            if episode.state in ACTIVE:
                episode.state = "quiet"
                changes.episodes[episode.id] = episode
            del current[arrival.fingerprint]
            episode = None
        if arrival.anomaly.status == "resolved":
            changes.episode_of[arrival.anomaly_id] = episode.id if episode else None
            if episode is not None:
                episode.state = "resolved"
                episode.last_seen_at = max(episode.last_seen_at, arrival.received_at)
                changes.episodes[episode.id] = episode
            continue
        if episode is None:
            episode = current[arrival.fingerprint] = _opened(arrival)
            changes.revisions[episode.id, 1] = arrival
        elif episode.state not in ACTIVE:
            episode.state = "open"
        changes.episodes[episode.id] = episode
        changes.episode_of[arrival.anomaly_id] = episode.id
        _count(episode, arrival, rules, changes)
    return changes


def _goes_on(episode: Episode, arrival: Arrival, rules: Rules) -> bool:
    """Whether what arrived belongs to the episode. A clock that jumps back ends nothing."""
    reopens = episode.state == "resolved" and arrival.anomaly.status == "firing"
    return arrival.received_at - episode.last_seen_at <= (rules.reopen if reopens else rules.quiet)


def _opened(arrival: Arrival) -> Episode:
    anomaly = arrival.anomaly
    return Episode(
        episode_id(arrival.fingerprint, arrival.anomaly_id, arrival.received_at),
        arrival.fingerprint, "open", arrival, 0,
        arrival.received_at, anomaly.severity, anomaly.spike_percentage, revised_spike=anomaly.spike_percentage,
    )  # fmt: skip


def _count(episode: Episode, arrival: Arrival, rules: Rules, changes: Changes) -> None:
    episode.occurrences += 1
    episode.last_seen_at = max(episode.last_seen_at, arrival.received_at)
    severity, spike = arrival.anomaly.severity, arrival.anomaly.spike_percentage
    more_severe = rank(severity) > rank(episode.severity)
    episode.severity = max(episode.severity or severity, severity, key=rank)
    if spike is not None:
        episode.spike = max(spike, spike if episode.spike is None else episode.spike)
    if more_severe:
        episode.state = "escalated"
    if not (more_severe or _much_worse(episode)):
        return
    if (episode.id, episode.revision) not in changes.revisions:
        if episode.revision >= rules.revisions:
            return
        episode.revision += 1
    changes.revisions[episode.id, episode.revision] = arrival
    episode.revised_spike = episode.spike
    episode.decided = None


def _much_worse(episode: Episode) -> bool:
    """Whether the last decision speaks of a much smaller fault. A decision that is still being made does not."""
    if episode.decided is None:
        return False
    before, now = episode.revised_spike, episode.spike
    doubled = before is not None and now is not None and before > 0 and now >= _DOUBLE * before
    return doubled or episode.occurrences >= _TENFOLD * episode.decided
