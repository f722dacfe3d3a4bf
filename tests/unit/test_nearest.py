"""The nearest-incident rule, as tables: what it takes, what it refuses and why, and how far it trusts itself."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalogue import ESCALATE, Catalogue, load_catalogue
from pipeline.confidence import Trust
from pipeline.nearest import Advice, advise, confidence_in, symptom_of
from schemas import Action, Anomaly, Evidence

LEAST = 0.5
SURE = Trust(relevant=0.95, right=0.9)
RESTART = Action("restart_service", "old-host")
SCALE = Action("scale_out", "old-host", {"factor": 2})


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(Path("deploy/actions.yaml"))


def past(name: str, score: float, action: Action | None = RESTART, outcome: Any = "resolved") -> Evidence:
    return Evidence(name, f"title of {name}", score, action, outcome)


def advised(
    *evidence: Evidence, catalogue: Catalogue, sure: Trust = SURE, service: str | None = "payments"
) -> Advice:  # fmt: skip
    return advise(Anomaly(error_type="timeout", service=service), list(evidence), sure, catalogue, LEAST)


TAKEN: dict[str, tuple[list[Evidence], str, str]] = {
    "the nearest": ([past("A", 0.9), past("B", 0.8, SCALE)], "A", "restart_service"),
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
    advice = advised(*evidence, catalogue=catalogue)
    assert (advice.verdict, advice.matched_incident, advice.action.name) == ("recommend", incident, action)
    assert incident in advice.rationale
    assert LEAST <= advice.confidence <= SURE.right


REFUSED: dict[str, tuple[list[Evidence], str]] = {
    "the only one failed": ([past("A", 0.9, outcome="failed")], "restart_service failed then"),
    "the same failed nearer": ([past("A", 0.9, outcome="failed"), past("B", 0.8)], "restart_service failed then"),
    "no action is named": ([past("A", 0.9, None)], "names no action"),
    "the action is unknown": ([past("A", 0.9, Action("rm_rf", "x"))], "not in the catalogue"),
    "the action is out of bounds": ([past("A", 0.9, Action("scale_out", "x", {"factor": 500}))], "factor is above"),
    "a human was asked": ([past("A", 0.9, Action(ESCALATE, "x"))], "a human was asked"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_rule_escalates_where(name: str, catalogue: Catalogue):
    """What is known shows nothing to repeat: a human is asked, and told why and what was nearest."""
    evidence, why = REFUSED[name]
    advice = advised(*evidence, catalogue=catalogue)
    assert (advice.verdict, advice.matched_incident, advice.action.name) == ("escalate", None, ESCALATE)
    assert why in advice.rationale
    catalogue.check(advice.action)


UNSURE: dict[str, tuple[list[Evidence], Trust, str]] = {
    "nothing is known at all": ([], Trust(0.0, 0.0), "No past incident is known at all"),
    "nothing like it is known": ([past("A", 0.3)], Trust(0.2, 0.1), "Nothing like this seems to be known (20%"),
    "two fit equally": ([past("A", 0.8), past("B", 0.79)], Trust(0.9, 0.49), "not sure (49%). Nearest is A"),
    "only a far one can be repeated": ([past("A", 0.9, None), past("B", 0.4)], SURE, "names no action"),
}


@pytest.mark.parametrize("name", UNSURE)
def test_an_escalation_says_which_question_failed_and_what_was_nearest(name: str, catalogue: Catalogue):
    """Whether nothing is relevant or only the first one not sure; the confidence is that of the nearest."""
    evidence, sure, why = UNSURE[name]
    advice = advised(*evidence, catalogue=catalogue, sure=sure)
    assert (advice.verdict, advice.matched_incident, advice.confidence) == ("escalate", None, sure.right)
    assert why in advice.rationale
    assert all(f"similarity {item.score:.2f}" in advice.rationale for item in evidence[:1])


def test_out_of_nothing_nothing_is_advised(catalogue: Catalogue):
    """Not even where any confidence suffices."""
    advice = advise(Anomaly(error_type="timeout"), [], Trust(0.0, 0.0), catalogue, 0.0)
    assert (advice.verdict, advice.rationale) == ("escalate", "No past incident is known at all.")


AIMED: dict[str, tuple[dict[str, Any], str]] = {
    "its service": ({"service": "payments", "message": "old-host is slow"}, "payments"),
    "that of then, where its message names it": ({"message": "too many connections to Old-Host."}, "old-host"),
    "that of then, where a label names it": ({"labels": {"host": "old-host"}}, "old-host"),
    "no other, where it names none": ({"message": "cart crashes", "labels": {"container": "cart"}}, ""),
    "no other, where it names one that is called alike": ({"message": "old-host-2 is slow, and so is an old-hos"}, ""),
    "no other, where nothing is said": ({}, ""),
}


@pytest.mark.parametrize("name", AIMED)
def test_an_action_is_aimed_at_what_is_broken_now(name: str, catalogue: Catalogue):
    """The same fault is seldom of the same service: what was broken then is a target only where the anomaly says so."""
    told, target = AIMED[name]
    advice = advise(Anomaly(error_type="timeout", **told), [past("A", 0.9)], SURE, catalogue, LEAST)
    assert (advice.verdict, advice.action.target) == ("recommend", target or "the service concerned")


def test_what_failed_is_said(catalogue: Catalogue):
    """What failed farther away is not hidden: the same action is a warning, another one is why it was not taken."""
    failed, other = past("B", 0.6, outcome="failed"), past("C", 0.5, SCALE, "failed")
    took = "similarity 0.90, where this resolved it."
    same, both = " The same failed in B, though.", " Not taken, because it failed then: C."
    for near, said in (([failed], same), ([other], both), ([other, failed], same + both), ([], "")):
        assert advised(past("A", 0.9), *near, catalogue=catalogue).rationale.endswith(took + said)


shares = st.floats(0, 1)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5), shares)
def test_a_farther_incident_is_never_trusted_more_than_the_nearest(scores: list[float], right: float):
    """The nearest has the calibrated confidence; the others at most that, in the measure in which they are as near."""
    evidence = [past(f"I{number}", score) for number, score in enumerate(scores)]
    sure = Trust(right, right)
    held = [confidence_in(place, evidence, sure) for place in range(len(evidence))]
    assert held[0] == right
    assert all(0 <= share <= right + 1e-4 for share in held)


SYMPTOMS = {
    "timeout": Anomaly(error_type="timeout"),
    "timeout on db": Anomaly(error_type="timeout", service="db"),
    "Timeout on DB": Anomaly(error_type="Timeout on DB", service="db"),
    "timeout of db2 on db": Anomaly(error_type="timeout of db2", service="db"),
    "timeout on db, 450 % above normal": Anomaly(error_type="timeout", service="db", spike_percentage=450),
    "timeout, 12.5 % below normal": Anomaly(error_type="timeout", spike_percentage=-12.5),
    "timeout, 0 % above normal: pool is full": Anomaly(
        error_type="timeout", spike_percentage=0, message=" pool\n is\tfull "
    ),
    "Latency above 2 s on db": Anomaly(error_type="Latency above 2 s", service="db", message="Latency above\n2 s"),
    "time out on d b": Anomaly(error_type="time\nout", service="d\r\nb"),
    "timeout: " + "x" * 159 + "…": Anomaly(error_type="timeout", message="x" * 161),
}


@pytest.mark.parametrize("sentence", SYMPTOMS)
def test_the_symptom_is_one_short_sentence(sentence: str):
    """What is missing is left out, a long message is cut, and no line of it looks like another decision's."""
    assert symptom_of(SYMPTOMS[sentence]) == sentence
