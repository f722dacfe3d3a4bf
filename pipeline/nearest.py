"""The nearest-incident rule: what worked for the most similar past incident is the advice, or a human is asked.

Pure functions. The rule decides wherever no model is configured, and wherever the model fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.errors import Rejected
from schemas import Action, Anomaly, Engine, EnrichedAnomaly, Evidence, Usage, Verdict

_SHOWN = 160
_OUTCOMES = {
    "resolved": "resolved it",
    "mitigated": "mitigated it",
    "unknown": "was done, whether it worked is not known",
}


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
    """Take the nearest incident's action where it is near enough, worked, and obeys the catalogue; else escalate.

    "Nearest" is the evidence's own order, which knows words as well as meaning. An action that failed in a nearer
    incident is not taken from a farther one.
    """
    anomaly, evidence = enriched.anomaly, enriched.evidence
    near = [item for item in evidence if item.score >= threshold]
    if not near:
        nearest = max(evidence, key=lambda item: item.score, default=None)
        what = f"the nearest, {_named(nearest)}, scores {nearest.score:.2f}" if nearest else "there is none"
        return escalated(anomaly, f"No past incident is near enough (threshold {threshold:.2f}): {what}.", evidence)
    failed: set[str] = set()
    for item in near:
        if item.action is None or item.action.name == ESCALATE:
            continue
        if item.outcome == "failed":
            failed.add(item.action.name)
        if item.action.name in failed:
            continue
        action = Action(item.action.name, anomaly.service or item.action.target, item.action.parameters)
        if _fault(action, catalogue):
            continue
        return Advice(
            verdict="recommend",
            action=action,
            matched_incident=item.incident_id,
            confidence=confidence(item.score, action.name, near),
            rationale=f"Most like {_named(item)}, similarity {item.score:.2f}, where this {_OUTCOMES[item.outcome]}."
            + _warning(action.name, near),
            engine="nearest",
        )
    why = f"{_named(near[0])}, similarity {near[0].score:.2f}: {_refused(near[0], catalogue)}."
    return escalated(
        anomaly, f"Similar incidents are known, but none shows a mitigation to repeat. Nearest is {why}", evidence
    )


def confidence(score: float, action: str, near: Sequence[Evidence]) -> float:
    """How far to trust ``action``, 0..1, when the incident it rests on has ``score`` and these are near.

    Uncalibrated until calibration is fitted: ``score * (0.7 + 0.2 * agreement + 0.1 * margin)``. Agreement is the share
    of the near incidents' similarity that stands behind the same action and did not fail. Margin is how far the best
    of the others stays behind ``score``, as a share of it: 1 where there is none, 0 where it is as near. Both rise with
    ``score``, so the whole does.
    """
    if score <= 0:
        return 0.0
    backing = [item for item in near if item.action and item.action.name == action and item.outcome != "failed"]
    total = sum(max(item.score, 0.0) for item in near)
    agreement = sum(max(item.score, 0.0) for item in backing) / total if total > 0 else 0.0
    rival = max((item.score for item in near if item not in backing), default=0.0)
    margin = min(max(1 - rival / score, 0.0), 1.0)
    return round(min(score * (0.7 + 0.2 * agreement + 0.1 * margin), 1.0), 4)


def escalated(anomaly: Anomaly, why: str, evidence: Sequence[Evidence]) -> Advice:
    """Ask a human. The confidence is low on purpose: half the best similarity, or 0 with no evidence.

    It says how likely the record holds advice after all, not how right it is to ask: asking is the safe answer to a low
    one. So it never passes 0.5, and uncalibrated like `confidence` it only ranks.
    """
    best = max((item.score for item in evidence), default=0.0)
    return Advice(
        verdict="escalate",
        action=Action(ESCALATE, anomaly.service or "the service concerned"),
        matched_incident=None,
        confidence=round(min(max(best * 0.5, 0.0), 0.5), 4),
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


def _named(item: Evidence) -> str:
    return f"{item.incident_id} ({item.title})"


def _fault(action: Action, catalogue: Catalogue) -> str | None:
    try:
        catalogue.check(action)
    except Rejected as exc:
        return exc.reason
    return None


def _warning(action: str, near: Sequence[Evidence]) -> str:
    failed = [item for item in near if item.outcome == "failed" and item.action]
    same = ", ".join(item.incident_id for item in failed if item.action and item.action.name == action)
    other = ", ".join(item.incident_id for item in failed if item.action and item.action.name != action)
    text = f" The same failed in {same}, though." if same else ""
    return text + (f" Not taken, because it failed then: {other}." if other else "")


def _refused(item: Evidence, catalogue: Catalogue) -> str:
    if item.action is None:
        return "it names no action"
    if item.outcome == "failed":
        return f"{item.action.name} failed then"
    if item.action.name == ESCALATE:
        return "a human was asked then, too"
    return _fault(item.action, catalogue) or "its action is not to be repeated"
