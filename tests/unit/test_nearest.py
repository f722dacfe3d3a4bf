"""The nearest-incident rule, as tables: what it takes, what it refuses and why, and how far it trusts itself."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalogue import ESCALATE, Catalogue, load_catalogue
from pipeline.nearest import advise, confidence, symptom_of
from schemas import Action, Anomaly, EnrichedAnomaly, Evidence

THRESHOLD = 0.4
RESTART = Action("restart_service", "old-host")
SCALE = Action("scale_out", "old-host", {"factor": 2})


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(Path("deploy/actions.yaml"))


def past(name: str, score: float, action: Action | None = RESTART, outcome: Any = "resolved") -> Evidence:
    return Evidence(name, f"title of {name}", score, action, outcome)


def asked(*evidence: Evidence, service: str | None = "payments") -> EnrichedAnomaly:
    return EnrichedAnomaly(
        anomaly=Anomaly(error_type="timeout", service=service), anomaly_id="a", fingerprint="f", episode_id="e",
        revision=1, evidence=list(evidence), received_at=datetime.now(UTC), timings={},
    )  # fmt: skip


TAKEN: dict[str, tuple[list[Evidence], str, str]] = {
    "the nearest": ([past("A", 0.9), past("B", 0.8, SCALE)], "A", "restart_service"),
    "one at the threshold": ([past("A", THRESHOLD)], "A", "restart_service"),
    "one that mitigated": ([past("A", 0.9, outcome="mitigated")], "A", "restart_service"),
    "one whose outcome is not known": ([past("A", 0.9, outcome="unknown")], "A", "restart_service"),
    "the next, where the nearest failed": ([past("A", 0.9, outcome="failed"), past("B", 0.8, SCALE)], "B", "scale_out"),
    "the next, where the nearest names no action": ([past("A", 0.9, None), past("B", 0.8)], "B", "restart_service"),
    "the next, where the nearest is out of bounds": (
        [past("A", 0.9, Action("scale_out", "x", {"factor": 500})), past("B", 0.8)], "B", "restart_service",
    ),
    "the next, where the nearest asked a human": (
        [past("A", 0.9, Action(ESCALATE, "x")), past("B", 0.8)], "B", "restart_service",
    ),
    "another, where the same failed nearer": (
        [past("A", 0.9, outcome="failed"), past("B", 0.8), past("C", 0.7, SCALE)], "C", "scale_out",
    ),
    "one that failed only farther away": ([past("A", 0.9), past("B", 0.5, outcome="failed")], "A", "restart_service"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_the_rule_takes(name: str, catalogue: Catalogue):
    """The first near incident whose action may be repeated is the advice; the rationale cites it."""
    evidence, incident, action = TAKEN[name]
    advice = advise(asked(*evidence), catalogue, THRESHOLD)
    assert (advice.verdict, advice.matched_incident, advice.action.name) == ("recommend", incident, action)
    assert incident in advice.rationale
    assert 0 < advice.confidence <= 1


REFUSED: dict[str, tuple[list[Evidence], str]] = {
    "nothing is known": ([], "there is none"),
    "nothing is near": ([past("A", 0.39)], "A (title of A), scores 0.39"),
    "the only one failed": ([past("A", 0.9, outcome="failed")], "restart_service failed then"),
    "the same failed nearer": ([past("A", 0.9, outcome="failed"), past("B", 0.8)], "restart_service failed then"),
    "no action is named": ([past("A", 0.9, None)], "names no action"),
    "the action is unknown": ([past("A", 0.9, Action("rm_rf", "x"))], "not in the catalogue"),
    "the action is out of bounds": ([past("A", 0.9, Action("scale_out", "x", {"factor": 500}))], "factor is above"),
    "a human was asked": ([past("A", 0.9, Action(ESCALATE, "x"))], "a human was asked"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_rule_escalates_where(name: str, catalogue: Catalogue):
    """A human is asked, told why and what was nearest; the confidence is low and the advice obeys the catalogue."""
    evidence, why = REFUSED[name]
    advice = advise(asked(*evidence), catalogue, THRESHOLD)
    assert (advice.verdict, advice.matched_incident, advice.action.name) == ("escalate", None, ESCALATE)
    assert why in advice.rationale
    assert 0 <= advice.confidence <= 0.5
    catalogue.check(advice.action)


@pytest.mark.parametrize(("service", "target"), [("payments", "payments"), (None, "old-host")])
def test_the_target_is_the_anomalys_service_or_else_the_incidents(
    service: str | None, target: str, catalogue: Catalogue
):
    """An action is aimed at what is broken now; only where that is not said, at what was broken then."""
    assert advise(asked(past("A", 0.9), service=service), catalogue, THRESHOLD).action.target == target


def test_a_failure_of_the_same_action_is_said_and_lowers_the_confidence(catalogue: Catalogue):
    """What failed farther away is not hidden: it is cited, and it costs trust."""
    worked = advise(asked(past("A", 0.9), past("B", 0.6)), catalogue, THRESHOLD)
    failed = advise(asked(past("A", 0.9), past("B", 0.6, outcome="failed")), catalogue, THRESHOLD)
    assert failed.confidence < worked.confidence
    assert "failed in B" in failed.rationale


scores = st.floats(0, 1)


@given(scores, scores, st.lists(st.tuples(scores, st.sampled_from([RESTART, SCALE, None]), st.booleans()), max_size=4))
def test_confidence_is_a_share_and_rises_with_the_score(
    one: float, other: float, others: list[tuple[float, Action | None, bool]]
):
    """Whatever else is near, the confidence lies within 0 and 1, and a more similar match is trusted no less."""
    rest = [past("N", score, action, "failed" if failed else "resolved") for score, action, failed in others]
    low, high = (confidence(s, RESTART.name, [past("M", s), *rest]) for s in sorted((one, other)))
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        ([past("A", 0.8)], 0.8),
        ([past("A", 0.8), past("B", 0.8)], 0.8),
        ([past("A", 0.8), past("B", 0.8, SCALE)], 0.8 * (0.7 + 0.2 * 0.5)),
        ([past("A", 0.8), past("B", 0.4, SCALE)], 0.8 * (0.7 + 0.2 * 2 / 3 + 0.1 * 0.5)),
    ],
)
def test_confidence_follows_its_formula(near: list[Evidence], expected: float):
    """Alone or in agreement a match is worth its similarity; dissent and a close rival cost up to three tenths."""
    assert confidence(0.8, RESTART.name, near) == pytest.approx(expected, abs=1e-4)


SYMPTOMS = {
    "timeout": Anomaly(error_type="timeout"),
    "timeout on db": Anomaly(error_type="timeout", service="db"),
    "timeout on db, 450 % above normal": Anomaly(error_type="timeout", service="db", spike_percentage=450),
    "timeout, 12.5 % below normal": Anomaly(error_type="timeout", spike_percentage=-12.5),
    "timeout, 0 % above normal: pool is full": Anomaly(
        error_type="timeout", spike_percentage=0, message=" pool\n is\tfull "
    ),
    "timeout: " + "x" * 159 + "…": Anomaly(error_type="timeout", message="x" * 161),
}


@pytest.mark.parametrize("sentence", SYMPTOMS)
def test_the_symptom_is_one_short_sentence(sentence: str):
    """What is missing is left out, and a long message is cut."""
    assert symptom_of(SYMPTOMS[sentence]) == sentence
