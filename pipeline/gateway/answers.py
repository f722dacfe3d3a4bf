"""What the gateway answers with, where that is no contract of `schemas`."""

from datetime import datetime

import msgspec

from pipeline.gateway.parameters import State
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


class Situation(msgspec.Struct, frozen=True):
    """Episodes of one cause, in the order they began. ``probable_root`` is the id of one."""

    id: str
    episodes: list[SituationEpisode]
    probable_root: str


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of all time, and the latency of decisions."""

    anomalies: int
    episodes: int
    open_episodes: int
    decisions: int
    by_engine: dict[str, int]
    by_verdict: dict[str, int]
    incidents: int
    feedback: int
    notifications: int
    median_latency_ms: float | None
    p99_latency_ms: float | None
