"""What the gateway answers with, where that is no contract of `schemas`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from pipeline.gateway.parameters import State
from pipeline.stages.episodes import ACTIVE, rank
from pipeline.stages.situations import Topology, root_of
from schemas import Severity


class SituationEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """An episode as its situation lists it. ``began_at`` is what its anomalies say, where they do."""

    id: str
    state: State
    service: str | None
    error_type: str
    severity: Severity | None
    occurrences: int
    revision: int
    message: str | None
    began_at: datetime
    last_seen_at: datetime


class Episode(SituationEpisode, frozen=True, kw_only=True):
    """An episode. ``opened_by`` is its first anomaly; ``spike`` the worst one, in percent; ``ordinal`` rises with age.

    ``revised_spike`` and ``decided`` are the spike and the occurrences that its newest revision spoke of.
    """

    fingerprint: str
    opened_by: str
    environment: str | None
    opened_at: datetime
    touched_at: datetime
    ordinal: int
    spike: float | None
    revised_spike: float | None
    decided: int | None
    situation_id: str | None
    source: str | None
    labels: dict[str, str]


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """Episodes of one cause, in the order they began. ``probable_root`` is the id of one.

    Of ``total`` episodes, with ``occurrences`` together, ``active`` go on (open or escalated). Where fewer are asked
    for, these are the probable root, then what goes on, and the most severe first.
    """

    id: str
    episodes: list[SituationEpisode]
    probable_root: str
    total: int
    active: int
    occurrences: int


def situation_of(row: Mapping[str, Any], topology: Topology, most: int) -> Situation:
    """A situation as the record has it, with ``most`` of its episodes."""
    episodes = row["episodes"]
    root = root_of(episodes, topology)
    telling = sorted(episodes, key=lambda one: (one["id"] != root, one["state"] not in ACTIVE, -rank(one["severity"])))
    kept = {one["id"] for one in telling[:most]}
    return Situation(
        id=row["id"], episodes=msgspec.convert([one for one in episodes if one["id"] in kept], list[SituationEpisode]),
        probable_root=root, total=len(episodes), active=sum(one["state"] in ACTIVE for one in episodes),
        occurrences=sum(one["occurrences"] for one in episodes),
    )  # fmt: skip


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of what is on record (the rest was forgotten after RETENTION_DAYS), and the latency of its decisions.

    ``open_episodes`` go on (open or escalated). ``judged`` recommendations have a verdict, and ``judged_right`` of them
    were right; ``judged_confidence`` is the mean of what had been said of them, 0..1: where it holds, the share of
    right ones is like it.
    """

    anomalies: int
    episodes: int
    open_episodes: int
    decisions: int
    by_engine: dict[str, int]
    by_verdict: dict[str, int]
    incidents: int
    feedback: int
    judged: int
    judged_right: int
    judged_confidence: float | None
    notifications: int
    median_latency_ms: float | None
    p99_latency_ms: float | None
