"""Attacks that take several steps or fields, and a model that does its worst by itself."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.confidence import trust
from pipeline.errors import Rejected
from pipeline.llm.answer import Answer, bounded, checked, parse, question, tamed
from pipeline.nearest import Advice, advise
from pipeline.stages.learn import incident_of
from pipeline.stages.lessons import Lesson
from schemas import Action, Evidence, Feedback, Incident
from tests.guard.attacks import ATTACKS, WISHES
from tests.guard.forms import SPLIT
from tests.guard.test_attacks import (
    CALIBRATION,
    CATALOGUE,
    LINK,
    PILE,
    SIGNALS,
    TURN,
    UNSEEN,
    attacked,
    composed,
    harmless,
)

SURE = trust(SIGNALS, CALIBRATION)
IDS = ["inc-1", "inc-2", "inc-666", "evidence-1", "", None]


def evidence_of(incident: Incident) -> Evidence:
    return Evidence(
        incident.id,
        incident.title,
        0.9,
        incident.action,
        incident.outcome,
        f"{incident.symptoms} {incident.mitigation}",
    )


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("verdict", ["accept", "correct"])
def test_what_a_hostile_verdict_teaches_stays_data(name: str, verdict: Any):
    """An attack in an alert, and in a verdict on its advice, becomes an incident that the next alert is most like."""
    text = ATTACKS[name]
    first = attacked("message", text)
    decided = composed(first, advise(first.anomaly, first.evidence, SURE, CATALOGUE, 0.0))
    done = Action("reroute_traffic", text[:256], {"destination": text[:1000]}) if verdict == "correct" else None
    feedback = Feedback(
        id="fb_1", decision_id="dec_1", verdict=verdict, author=text, comment=text, action=done, worked=True
    )
    incident = incident_of(Lesson(feedback, decided, first.anomaly, datetime.now(UTC), resolved=True))
    assert incident is not None
    second = msgspec.structs.replace(attacked("message", "slow"), evidence=[evidence_of(incident), *first.evidence[1:]])
    asked = question(second, CATALOGUE)
    json.loads(asked)
    assert not UNSEEN.search(asked)
    assert not PILE.search(asked)
    assert not TURN.search(asked)
    decision = composed(second, advise(second.anomaly, second.evidence, SURE, CATALOGUE, 0.0))
    harmless(decision, second)
    assert not LINK.search(decision.recommended_action)
    assert len(decision.recommended_action) < 140
    assert not re.search(r"[.!?]\s", decision.recommended_action)


@pytest.mark.parametrize("name", SPLIT)
def test_parts_of_an_attack_stay_data_together(name: str):
    """What is harmless in each field is so where they stand one behind the other."""
    error_type, service, message, label = SPLIT[name]
    one = attacked("message", message)
    anomaly = msgspec.structs.replace(
        one.anomaly, error_type=error_type, service=service, labels={label: label, "note": label}
    )
    enriched = msgspec.structs.replace(one, anomaly=anomaly)
    asked = question(enriched, CATALOGUE)
    assert json.loads(asked)["anomaly"]["labels"]
    assert not UNSEEN.search(asked)
    assert not TURN.search(asked)
    harmless(composed(enriched, advise(anomaly, enriched.evidence, SURE, CATALOGUE, 0.0)), enriched)
    assert not LINK.search(tamed("".join(SPLIT[name])))


@pytest.mark.parametrize("hidden", ["disk\u200b full", "two words", "evidence-1", "evidence-2", "x" * 300])
def test_an_incident_cannot_take_anothers_place(hidden: str):
    """Each has a name of its own in the question, whatever it calls itself."""
    one = attacked("message", "slow")
    evidence = [
        msgspec.structs.replace(one.evidence[0], incident_id="evidence-2"),
        msgspec.structs.replace(one.evidence[1], incident_id=hidden),
    ]
    enriched = msgspec.structs.replace(one, evidence=evidence)
    told = [item["incident_id"] for item in json.loads(question(enriched, CATALOGUE))["evidence"]]
    assert told == ["evidence-1", "evidence-2"]
    answer = parse(json.dumps(ANSWER | {"matched_incident": "evidence-1", "rationale": "As in evidence-1."}), Answer)
    assert checked(answer, enriched, CATALOGUE)[1] is evidence[0]


ANSWER: dict[str, Any] = {
    "verdict": "recommend", "action": "scale_out", "parameters": {"factor": 2}, "matched_incident": "inc-1",
    "confidence": 0.9, "rationale": "As in inc-1.",
}  # fmt: skip
VALUES = st.sampled_from(
    [2, 1.1, 5, 5.1, 0, -1, 1e308, True, "eu-west", "the healthy zones", "evil.example", "<!channel>", "", "\u3164"]
) | st.sampled_from(list(ATTACKS.values())).map(lambda text: text[:1000])
ANSWERS = st.fixed_dictionaries({
    "verdict": st.sampled_from(["recommend", "escalate"]),
    "action": st.sampled_from([*CATALOGUE.names, "rm_rf"]),
    "parameters": st.dictionaries(
        st.sampled_from(["factor", "destination", "releases", "limit_percent", "target"]), VALUES, max_size=3
    ),
    "matched_incident": st.sampled_from(IDS),
    "confidence": st.sampled_from([0, 0.5, 0.99, 1, 1.01, -1, 1e308]),
    "rationale": st.tuples(st.sampled_from(["inc-1 ", "As in inc-2: ", ""]), st.sampled_from(list(ATTACKS.values())))
    .map(lambda parts: "".join(parts)[:5000]),
}) | st.sampled_from(list(WISHES.values())).map(lambda wish: ANSWER | wish)  # fmt: skip
OUTCOMES = st.sampled_from(["resolved", "mitigated", "failed", "unknown"])
DONE = st.none() | st.builds(
    Action, st.sampled_from(CATALOGUE.names), st.sampled_from(["payments", "billing", "<!here>", ""]),
    st.dictionaries(st.sampled_from(["factor", "destination"]), VALUES, max_size=2),
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(ANSWERS, st.lists(st.tuples(DONE, OUTCOMES), min_size=2, max_size=2), st.sampled_from(list(ATTACKS.values())))
def test_a_model_that_does_its_worst_is_held_to_the_evidence(
    answer: dict[str, Any], past: list[tuple[Action | None, Any]], text: str
):
    """What is not refused did not fail where it is said to have worked, aims at what is broken, says no words."""
    one = attacked("message", text)
    evidence = [
        msgspec.structs.replace(item, action=done, outcome=outcome)
        for item, (done, outcome) in zip(one.evidence, past, strict=True)
    ]
    enriched = msgspec.structs.replace(one, evidence=evidence)
    try:
        said = parse(json.dumps(answer), Answer)
        action, match = checked(said, enriched, CATALOGUE)
    except Rejected:
        return
    CATALOGUE.check(action)
    assert action.target == "payments"
    known = [item.action for item in evidence if item.action and item.outcome != "failed"]
    if action.name != "escalate_to_human":
        assert match is not None
        assert action.name in {done.name for done in known} or (
            match.action is None and CATALOGUE.get(action.name).risk != "high"
        )
        assert not (match.outcome == "failed" and match.action and match.action.name == action.name)
    words = {value for name, value in action.parameters.items() if isinstance(value, str)}
    theirs = {value for done in known for value in done.parameters.values() if isinstance(value, str)}
    assert words <= {"the healthy zones"} | theirs
    advice = Advice(
        said.verdict, action, match.incident_id if match else None, bounded(said, enriched, match, SURE),
        tamed(said.rationale), "llm",
    )  # fmt: skip
    decision = composed(enriched, advice)
    assert 0 <= decision.confidence_score <= SURE.right
    assert decision.severity == "critical"
    assert not UNSEEN.search(decision.rationale)
    assert not UNSEEN.search(decision.recommended_action)
    assert not LINK.search(decision.rationale)


def test_no_confidence_has_a_sign():
    """A model that is sure by minus nothing is sure by nothing."""
    one = attacked("message", "slow")
    said = parse(json.dumps(ANSWER).replace("0.9", "-0.0"), Answer)
    _, match = checked(said, one, CATALOGUE)
    assert f"{bounded(said, one, match, SURE):.0%}" == "0%"
