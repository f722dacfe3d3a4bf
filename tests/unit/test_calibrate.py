"""Fitting: a fit finds the odds it was drawn with, and a team's verdicts move what is in force where they tell."""

import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from pipeline.calibrate import (
    LEAST,
    Comparison,
    Sample,
    _parts,
    by_dataset,
    compare,
    fit,
    held_out,
    samples_of_feedback,
)
from pipeline.confidence import Calibration, Logistic, trust
from pipeline.dataset import Case
from pipeline.errors import Rejected
from pipeline.measure import samples
from pipeline.settings import Settings
from schemas import Action, Anomaly, Feedback, Incident, Signals
from tests.unit.test_blocks import decision

HALF = Calibration("always half", Logistic(0.0, {}), Logistic(0.0, {}))


def drawn(count: int, seed: int = 1) -> list[Sample]:
    """Samples whose first incident is right with the probability that their similarity says."""
    chance = random.Random(seed)
    samples = []
    for number in range(count):
        similarity = chance.random()
        right = chance.random() < similarity
        samples.append(Sample(f"g{number}", Signals(similarity=similarity), right or chance.random() < 0.3, right))
    return samples


def compared_with(samples: list[Sample], now: Calibration) -> Comparison:
    return compare(samples, now, held_out(samples, now))


def test_a_fit_finds_the_probability_that_the_samples_were_drawn_with():
    """Fitted on 2,000 draws, the confidence says 0.1, 0.5 and 0.9 where these were the odds, within 0.08."""
    calibration = fit(drawn(2000), "a draw", HALF)
    for odds in (0.1, 0.5, 0.9):
        assert trust(Signals(similarity=odds), calibration).right == pytest.approx(odds, abs=0.08)


def test_a_comparison_says_which_confidence_is_better_on_what_it_has_not_seen():
    """Against one that always says half, the fit is better; against itself on new draws, hardly."""
    compared = compared_with(drawn(1000), HALF)
    assert compared.better
    assert compared.ece_new < 0.06
    assert compared.brier_now == pytest.approx(0.25)
    assert not compared_with(drawn(1000), fit(drawn(1000, seed=2), "other draws", HALF)).better


def test_no_signal_speaks_against_the_first_incident():
    """Where coverage falls with being right, by chance, it is left out and not turned into a reason to doubt."""
    samples = [msgspec.structs.replace(sample.signals, coverage=0.2 if sample.right else 0.6) for sample in drawn(1000)]
    turned = [replace(old, signals=signals) for old, signals in zip(drawn(1000), samples, strict=True)]
    model = fit(turned, "x", HALF).right
    assert model.weights["similarity"] > 0
    assert "coverage" not in model.weights


def test_confidence_stays_within_what_was_counted():
    """A signal beyond all samples says no more than the surest tenth of them bears out, by Laplace's rule."""
    sure = [Sample(f"g{n}", Signals(similarity=n / 100), n >= 30, n >= 40) for n in range(100)]
    model = fit(sure, "x", HALF).right
    assert (model.least, model.most) == (pytest.approx(1 / 12, abs=1e-4), pytest.approx(11 / 12, abs=1e-4))
    assert trust(Signals(similarity=9.0), Calibration("x", model, model)).right == model.most


def test_what_a_team_says_of_decisions_leaves_relevance_as_it_is():
    """A rejection says that the first incident was not the right one, and nothing of whether any other is."""
    samples = [replace(sample, relevant=None) for sample in drawn(200)]
    assert fit(samples, "feedback", HALF).relevant == HALF.relevant
    assert fit(samples, "feedback", HALF).right != HALF.right


def test_a_dataset_is_reported_by_fits_that_have_not_seen_it():
    """Only what was asked as the dataset asks is reported, by dataset."""
    samples = [replace(sample, of="a" if n % 3 else "b" if n % 2 else "") for n, sample in enumerate(drawn(600))]
    found = by_dataset(samples, held_out(samples, HALF))
    assert {name: figures["cases"] for name, figures in found.items()} == {"a": 400, "b": 100}
    assert all(0.6 < (figures["auroc_right"] or 0) < 1 for figures in found.values())


def test_too_little_is_not_fitted_on():
    with pytest.raises(Rejected, match="too few"):
        fit(drawn(LEAST - 1), "x", HALF)
    with pytest.raises(Rejected, match="nothing to tell apart"):
        fit([Sample(str(n), Signals(similarity=n / 100), relevant=True, right=True) for n in range(100)], "x", HALF)


def test_what_comes_of_one_fault_alone_is_refused():
    """Fitted without its fault nothing is left: that is said, and no traceback."""
    for unjudged in ([], [Signals(similarity=0.2)] * 40):
        with pytest.raises(Rejected, match="too few faults"):
            held_out([replace(sample, group="one", relevant=None) for sample in drawn(LEAST)], HALF, unjudged)


def test_what_is_compared_was_not_seen():
    """What one fault alone shows, and shows each time, is no gain: fitted without it nobody knows it."""
    odd = [Sample("odd", Signals(similarity=0.1, exact=1.0), None, right=True)] * LEAST
    rest = [replace(sample, relevant=None) for sample in drawn(200)]
    known = trust(odd[0].signals, fit([*rest, *odd], "x", HALF)).right
    assert known > 0.8
    assert all(sure.right < known - 0.3 for sure in held_out([*rest, *odd], HALF)[200:])


RESTART, SCALE = Action("restart_service", "db"), Action("scale_out", "db")


@pytest.mark.parametrize(
    ("advised", "verdict", "done", "worked", "right"),
    [
        ("recommend", "accept", None, None, True),
        ("recommend", "accept", None, False, False),
        ("recommend", "reject", None, None, False),
        ("recommend", "correct", SCALE, True, False),
        ("recommend", "correct", SCALE, False, False),
        ("recommend", "correct", RESTART, True, True),
        ("escalate", "accept", None, True, None),
        ("escalate", "reject", None, None, None),
        ("escalate", "correct", None, True, None),
        ("escalate", "correct", RESTART, True, True),
        ("escalate", "correct", RESTART, False, False),
        ("escalate", "correct", SCALE, None, False),
        ("escalate", "correct", SCALE, False, None),
    ],
)
def test_what_a_verdict_says_of_the_nearest_incident(
    advised: str, verdict: str, done: Action | None, worked: bool | None, right: bool | None
):
    """Its action, done again, is right unless it failed; of an escalation only what was done instead tells."""
    matched = "x" if advised == "recommend" else None
    made = msgspec.structs.replace(decision("x"), verdict=advised, matched_incident=matched)
    said = Feedback(id="f", decision_id=made.id, verdict=verdict, action=done, worked=worked)
    assert [sample.right for sample in samples_of_feedback([(made, said)])] == [right] * (right is not None)


def test_of_a_nearest_incident_whose_action_failed_no_correction_tells():
    """It would not have been advised: that something else was done says nothing of what it is worth."""
    near = msgspec.structs.replace(decision("x").evidence[0], outcome="failed")
    made = msgspec.structs.replace(decision("x"), verdict="escalate", matched_incident=None, evidence=[near])
    said = Feedback(id="f", decision_id=made.id, verdict="correct", action=RESTART, worked=True)
    assert samples_of_feedback([(made, said)]) == []


def test_the_newest_verdict_counts_and_a_farther_incident_tells_nothing():
    made, farther = (msgspec.structs.replace(decision("x"), id=name, matched_incident=name) for name in "xy")
    reject, accept = (Feedback(id=word, decision_id="x", verdict=word) for word in ("reject", "accept"))
    found = samples_of_feedback([(made, reject), (made, accept), (farther, accept)])
    assert [(sample.right, sample.relevant) for sample in found] == [(True, None)]


CURVE = Logistic(-4.0, {"similarity": 8.0}, 0.02, 0.98)
STEEP = Calibration("a steep curve", CURVE, CURVE)
"""Advises from a similarity of a half on; that of 0.2 is right with 0.08."""


def verdicts(count: int, odds: Calibration, seed: int) -> tuple[list[Sample], list[Signals]]:
    """Verdicts on what STEEP advises, by the true ``odds``; and the signals of what it does not advise."""
    chance, samples, unjudged = random.Random(seed), [], []
    while len(samples) < count:
        signals = Signals(similarity=chance.random())
        if trust(signals, STEEP).right < 0.5:
            unjudged.append(signals)
        else:
            right = chance.random() < trust(signals, odds).right
            samples.append(Sample(f"g{len(samples)}", signals, None, right))
    return samples, unjudged


@pytest.mark.parametrize("seed", range(5))
def test_verdicts_on_advice_alone_are_no_reason_to_advise_on_the_unknown(seed: int):
    """Hardly anybody judges what was not advised: there, what is in force stands, however good the advice was."""
    flat = Calibration("nine of ten", Logistic(2.2, {}), Logistic(2.2, {}))
    samples, unjudged = verdicts(200, flat, seed)
    fitted = fit(samples, "feedback", STEEP, unjudged)
    assert trust(Signals(similarity=0.2), fitted).right == pytest.approx(0.08, abs=0.15)
    assert trust(Signals(similarity=0.2), fit(samples, "feedback", STEEP)).right > 0.5
    assert fitted.right.least == STEEP.right.least


def test_verdicts_move_what_is_in_force_and_many_move_it_more():
    """Where a team finds half of the advice wrong, a few verdicts lower the confidence, and more lower it further."""
    half = Calibration("half", Logistic(0.0, {}), Logistic(0.0, {}))
    before, few, many = (
        trust(Signals(similarity=0.9), one).right
        for one in (STEEP, *(fit(verdicts(n, half, 1)[0], "x", STEEP, verdicts(n, half, 1)[1]) for n in (LEAST, 500)))
    )
    assert before > 0.95
    assert before - 0.05 > few > many
    assert many == pytest.approx(0.5, abs=0.15)


def test_what_nobody_judged_weighs_no_more_than_what_somebody_did():
    """However many escalations there are, they hold the confidence in no more than as many as there are verdicts."""
    half = Calibration("half", Logistic(0.0, {}), Logistic(0.0, {}))
    samples, unjudged = verdicts(100, half, 1)
    few, many = (trust(Signals(similarity=0.9), fit(samples, "x", STEEP, unjudged * times)).right for times in (2, 200))
    assert few == pytest.approx(many, abs=0.01)


def test_the_fewest_samples_can_be_compared():
    """A fold less is enough to compare with, where all are enough to fit on."""
    samples, unjudged = verdicts(LEAST, STEEP, 1)
    assert compare(samples, STEEP, held_out(samples, STEEP, unjudged)).samples == LEAST


def test_the_size_of_a_team_s_record_is_no_signal_to_it():
    """It has one size, give or take: a weight that chance gave to that would carry the confidence off as it grows."""
    grown = [
        replace(one, signals=msgspec.structs.replace(one.signals, searched=150 if one.right else 20))
        for one in drawn(400)
    ]
    assert "searched" in fit(grown, "a dataset", HALF).right.weights
    team = [replace(one, relevant=None) for one in grown]
    assert "searched" not in fit(team, "feedback", HALF).right.weights


def test_a_dataset_is_asked_in_parts_too():
    """Each incident is in one part at most, each part is asked what it answers and as much that it does not."""
    incidents = [Incident(id=str(number), title="x", symptoms="x") for number in range(25)]
    cases = [Case(f"q{n}", "", Anomaly(error_type="x"), frozenset({str(n)} if n < 25 else ()), None) for n in range(40)]
    parts = list(_parts(incidents, cases, 10))
    assert [len(part) for part, _ in parts] == [10, 10]
    held = [incident.id for part, _ in parts for incident in part]
    assert len(set(held)) == 20
    for part, asked in parts:
        ids = {incident.id for incident in part}
        assert {name for case in asked for name in case.relevant} == ids
        assert sum(not case.relevant for case in asked) == len(ids)
        assert not any(case.hidden & ids for case in asked)
    assert not list(_parts(incidents[:10], cases, 10))


async def test_without_a_query_there_is_nothing_to_fit_on(tmp_path: Path):
    for name in ("incidents", "queries"):
        (tmp_path / f"{name}.jsonl").touch()
    with pytest.raises(Rejected, match="there is no query to fit on"):
        await samples(Settings(), [tmp_path])
