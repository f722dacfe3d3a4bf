"""The nearest-incident rule: what worked for the most similar past incident is the advice, or a human is asked.

Pure functions. The rule decides wherever no model is configured, and wherever the model fails.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.confidence import Trust, percent
from pipeline.words import fault_of
from schemas import Action, Anomaly, Engine, Evidence, Usage, Verdict

UNNAMED = "the service concerned"
"""The target of an action where nobody says on what."""
_SHOWN = 160
_LIKELY = 0.5
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


def advise(
    anomaly: Anomaly, evidence: Sequence[Evidence], sure: Trust, catalogue: Catalogue, least: float
) -> Advice:  # fmt: skip
    """Take the nearest incident's action where it is sure enough, worked, and obeys the catalogue; else escalate.

    "Nearest" is the evidence's own order. An action that failed in a nearer incident is not taken from a farther one.
    ``least`` is the confidence, 0..1, below which a human is asked.
    """
    if not evidence or sure.right < least:  # a least of 0 is no reason to advise out of nothing
        return escalated(anomaly, _unsure(evidence, sure), sure)
    failed: set[str] = set()
    for place, item in enumerate(evidence):
        if item.action is None or item.action.name == ESCALATE:
            continue
        if item.outcome == "failed":
            failed.add(item.action.name)
        if item.action.name in failed:
            continue
        action = Action(item.action.name, aimed_at(anomaly, item.action.target), item.action.parameters)
        if catalogue.fault(action):
            continue
        confidence = confidence_in(place, evidence, sure)
        if confidence < least:
            break
        return Advice(
            verdict="recommend",
            action=action,
            matched_incident=item.incident_id,
            confidence=confidence,
            rationale=f"Most like {_named(item)}, similarity {item.score:.2f}, where this {_OUTCOMES[item.outcome]}."
            + _warning(action.name, evidence),
            engine="nearest",
        )
    why = f"{_named(evidence[0])}, similarity {evidence[0].score:.2f}: {_refused(evidence[0], catalogue)}."
    return escalated(anomaly, f"It is known, but not what to repeat. Nearest is {why}", sure)


def confidence_in(place: int, evidence: Sequence[Evidence], sure: Trust) -> float:
    """How far to trust the evidence at ``place`` (0 is the nearest), 0..1.

    The nearest: the calibrated probability that it is the right one. A farther one is right where it is about the same
    fault as the nearest, which is taken to be as probable as it is near: that times the ratio of both similarities.
    """
    if place == 0:
        return sure.right
    first, item = evidence[0].score, evidence[place].score
    return round(sure.right * min(max(item / first, 0.0), 1.0), 4) if first > 0 else 0.0


def escalated(anomaly: Anomaly, why: str, sure: Trust) -> Advice:
    """Ask a human. The confidence is that in the nearest incident, which did not suffice."""
    return Advice(
        verdict="escalate",
        action=Action(ESCALATE, aimed_at(anomaly, None)),
        matched_incident=None,
        confidence=sure.right,
        rationale=why,
        engine="nearest",
    )


def aimed_at(anomaly: Anomaly, then: str | None) -> str:
    """What an action is aimed at: what is broken now. What was broken ``then``, only where the anomaly names it.

    The same fault on another service is the rule: an alert that names none would have that one rolled back.
    """
    if anomaly.service:
        return anomaly.service
    said = " ".join([anomaly.message or "", *anomaly.labels.values()])
    if then and re.search(rf"(?<![\w-]){re.escape(then)}(?![\w-])", said, re.IGNORECASE):
        return then
    return UNNAMED


def symptom_of(anomaly: Anomaly) -> str:
    """What is wrong, in one sentence."""
    text = " ".join(fault_of(anomaly.error_type, anomaly.service).split())
    if anomaly.spike_percentage is not None:
        text += f", {abs(anomaly.spike_percentage):g} % {'above' if anomaly.spike_percentage >= 0 else 'below'} normal"
    message = " ".join((anomaly.message or "").split())
    if message and message != " ".join(anomaly.error_type.split()):
        text += f": {message if len(message) <= _SHOWN else message[: _SHOWN - 1] + '…'}"
    return text


def _named(item: Evidence) -> str:
    return f"{item.incident_id} ({item.title})"


def _unsure(evidence: Sequence[Evidence], sure: Trust) -> str:
    """Which of the two questions was answered with no, and what was nearest."""
    if not evidence:
        return "No past incident is known at all."
    nearest = f"{_named(evidence[0])}, similarity {evidence[0].score:.2f}"
    if sure.relevant < _LIKELY:
        likely = percent(sure.relevant)
        return f"Nothing like this seems to be known ({likely} likely that anything is). Nearest is {nearest}."
    rival = f", before {_named(evidence[1])}, {evidence[1].score:.2f}" if len(evidence) > 1 else ""
    unsure = f"The kind is known, but which past incident fits is not sure ({percent(sure.right)})."
    return f"{unsure} Nearest is {nearest}{rival}."


def _warning(action: str, near: Sequence[Evidence]) -> str:
    failed = [(item.incident_id, item.action.name) for item in near if item.outcome == "failed" and item.action]
    same = ", ".join(incident for incident, name in failed if name == action)
    other = ", ".join(incident for incident, name in failed if name != action)
    text = f" The same failed in {same}, though." if same else ""
    return text + (f" Not taken, because it failed then: {other}." if other else "")


def _refused(item: Evidence, catalogue: Catalogue) -> str:
    if item.action is None:
        return "it names no action"
    if item.outcome == "failed":
        return f"{item.action.name} failed then"
    if item.action.name == ESCALATE:
        return "a human was asked then, too"
    return catalogue.fault(item.action) or "its action is not to be repeated"
