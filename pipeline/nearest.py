"""The nearest-incident rule: what worked for the most similar past incident is the advice, or a human is asked.

Pure functions. The rule decides wherever no model is configured, and wherever the model fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.errors import Rejected
from schemas import Action, Anomaly, Engine, EnrichedAnomaly, Evidence, Usage, Verdict

_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Advice:
    """What an engine says about one anomaly."""

    verdict: Verdict
    action: Action
    matched_incident: str | None
    confidence: float
    rationale: str
    engine: Engine
    model: str | None = None
    prompt_version: str | None = None
    usage: Usage = field(default_factory=Usage)
    fallback_reason: str | None = None


def advise(enriched: EnrichedAnomaly, catalogue: Catalogue, threshold: float) -> Advice:
    """Take the nearest incident's action where it is near enough, worked, and obeys the catalogue; else escalate."""
    anomaly, evidence = enriched.anomaly, enriched.evidence
    near = [item for item in evidence if item.score >= threshold]
    if not near:
        nearest = max(evidence, key=lambda item: item.score, default=None)
        what = (
            f"the nearest, {nearest.incident_id} ({nearest.title}), scores {nearest.score:.2f}"
            if nearest
            else "there is none"
        )
        return escalated(anomaly, f"No past incident is near enough (threshold {threshold:.2f}): {what}.", evidence)
    failed = [item.incident_id for item in near if item.outcome == "failed"]
    for item in near:
        if item.action is None or item.outcome == "failed" or item.action.name == ESCALATE:
            continue
        action = Action(item.action.name, anomaly.service or item.action.target, item.action.parameters)
        try:
            catalogue.check(action)
        except Rejected:
            continue
        warning = f" Not taken, because it failed then: {', '.join(failed)}." if failed else ""
        return Advice(
            verdict="recommend",
            action=action,
            matched_incident=item.incident_id,
            confidence=confidence(item, near),
            rationale=f"Most like {item.incident_id} ({item.title}, similarity {item.score:.2f}), "
            f"where this {item.outcome} it.{warning}",
            engine="nearest",
        )
    why = f"What was done in {near[0].incident_id} ({near[0].title}) "
    why += "failed then." if near[0].outcome == "failed" else "is no action of the catalogue."
    return escalated(anomaly, f"Similar incidents are known, but none shows a mitigation that worked. {why}", evidence)


def confidence(match: Evidence, near: Sequence[Evidence]) -> float:
    """How far to trust a match, 0..1: its similarity, less where near ones did otherwise.

    Not calibrated: ``similarity * (0.75 + 0.25 * agreement)``, where agreement is the share of the near incidents'
    similarity that stands behind the same action and did not fail.
    """
    name = match.action.name if match.action else None
    total = sum(item.score for item in near)
    same = sum(i.score for i in near if i.action and i.action.name == name and i.outcome != "failed")
    agreement = same / total if total > 0 else 0.0
    return round(min(max(match.score * (0.75 + 0.25 * agreement), 0.0), 1.0), 4)


def escalated(anomaly: Anomaly, why: str, evidence: Sequence[Evidence]) -> Advice:
    """Ask a human. The confidence is that of the best advice that was not given: low."""
    best = max((item.score for item in evidence), default=0.0)
    return Advice(
        verdict="escalate",
        action=Action(ESCALATE, anomaly.service or "the service concerned"),
        matched_incident=None,
        confidence=round(min(max(best * 0.5, 0.0), 1.0), 4),
        rationale=why,
        engine="nearest",
    )


def symptom_of(anomaly: Anomaly) -> str:
    """What is wrong, in one sentence."""
    text = anomaly.error_type
    if anomaly.service:
        text += f" on {anomaly.service}"
    if anomaly.spike_percentage is not None:
        text += f", {abs(anomaly.spike_percentage):g} % {'above' if anomaly.spike_percentage >= 0 else 'below'} normal"
    if anomaly.message:
        message = " ".join(anomaly.message.split())
        text += f": {message if len(message) <= _SHOWN else message[: _SHOWN - 1] + '…'}"
    return text
