"""A decision: the advice for one episode, with its evidence, confidence and provenance."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Verdict = Literal["recommend", "escalate"]
Engine = Literal["nearest", "llm"]
Text = Annotated[str, Meta(max_length=1000)]
Value = float | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Text | bool
"""A parameter's value. A whole number of any length, which JSON knows, is more than those who read it can hold."""
Name = Annotated[str, Meta(max_length=100)]


class Action(msgspec.Struct, frozen=True):
    """An action of the catalogue (``deploy/actions.yaml``) aimed at a target, its parameters within their bounds.

    Its size is bounded: five of them and the largest anomaly that is allowed fit into one record of Kafka's 1 MB.
    """

    name: Name
    target: Annotated[str, Meta(max_length=256)]
    parameters: Annotated[dict[Name, Value], Meta(max_length=16)] = {}


class Evidence(msgspec.Struct, frozen=True):
    """A past incident near to the anomaly. ``score`` is the dense cosine similarity, -1..1.

    ``action`` is what was done then (None where the incident names none); ``summary`` and ``outcome`` are for the
    reader and the model.
    """

    incident_id: str
    title: str
    score: float
    action: Action | None = None
    outcome: Literal["resolved", "mitigated", "failed", "unknown"] = "unknown"
    summary: str = ""


class Usage(msgspec.Struct, frozen=True):
    """What the model call cost. ``cost_usd`` is None where the price is not known."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """How the first past incident stands out, for the confidence; all 0 where there is none.

    ``similarity`` is its cosine, -1..1, as a whole; ``margin`` how far the fused score of the second one is below its
    own; ``coverage`` the share, 0..1, of the anomaly's words that it holds; ``exact`` 1 where the error types are
    equal; ``agreement`` 1 where it is the most similar one by meaning, too; ``clearance`` the margin before all others
    taken together, so many near rivals count for more than one; ``lead`` how far its cosine is above those of incidents
    that are just near; ``distinct`` how much nearer its title is to the anomaly than to the nearest of other titles;
    ``searched`` how many incidents were on record, 0 where an older decision does not say.
    """

    similarity: float = 0.0
    margin: float = 0.0
    coverage: float = 0.0
    exact: float = 0.0
    agreement: float = 0.0
    clearance: float = 0.0
    lead: float = 0.0
    distinct: float = 0.0
    searched: int = 0


class TrackRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What an action did in the past incidents that took it: of ``times``, it ``worked`` or ``failed`` in so many.

    The others do not say. ``recovery_minutes`` is the median where it worked; None where no incident tells.
    """

    times: int
    worked: int
    failed: int
    recovery_minutes: float | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Advice for one revision of one episode.

    ``id`` derives from episode and revision: deciding twice gives the same id. ``confidence_score`` is the
    probability, 0..1, that the past incident that the advice rests on is the right one; on an escalation, that the
    nearest one is, which did not suffice. ``latency_ms`` runs from the anomaly's arrival in Kafka to the
    decision; ``timings`` are milliseconds per stage. ``situation_id`` is the same for episodes of one cause.
    ``shadow``: made on trial, and nobody is notified of it. ``track_record`` is the advised action's, over all that is
    known; None where a human is asked, or nobody ever did it.
    """

    id: str
    episode_id: str
    revision: int
    situation_id: str | None = None
    anomaly_id: str
    fingerprint: str
    service: str | None
    error_type: str
    severity: Literal["info", "warning", "error", "critical"] | None
    symptom: str
    matched_incident: str | None
    verdict: Verdict
    recommended_action: str
    action: Action
    confidence_score: Annotated[float, Meta(ge=0, le=1)]
    rationale: str
    evidence: list[Evidence]
    signals: Signals = Signals()
    occurrences: int
    engine: Engine
    model: str | None
    prompt_version: str | None
    usage: Usage
    fallback_reason: str | None
    latency_ms: float
    timings: dict[str, float]
    created_at: datetime
    shadow: bool = False
    track_record: TrackRecord | None = None
