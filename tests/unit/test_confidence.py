"""Probabilities from signals, and the figures that say how good they are."""

import json
import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.confidence import FEATURES, Calibration, Logistic, Trust, load_calibration, percent, trust
from pipeline.dataset import Case, headline, read_dataset
from pipeline.errors import Misconfigured, Rejected
from pipeline.evaluate import (
    Outcome,
    auroc,
    bins,
    calibration_error,
    differences,
    figures,
    risk_coverage,
)  # fmt: skip
from pipeline.measure import other, read_other
from pipeline.report import MEANING, page
from pipeline.settings import Settings
from schemas import Anomaly, Signals

shares = st.floats(0, 1)
HALF = Calibration("always half", Logistic(0.0, {}), Logistic(0.0, {}))


@given(shares, shares, shares, shares, st.booleans())
def test_both_probabilities_are_shares_and_relevance_is_never_the_smaller(
    similarity: float, clearance: float, lead: float, coverage: float, exact: bool
):
    """Where the first incident is right, something is relevant."""
    signals = Signals(similarity=similarity, clearance=clearance, lead=lead, coverage=coverage, exact=exact)
    sure = trust(signals, load_calibration(None))
    assert 0 <= sure.right <= sure.relevant <= 1


@pytest.mark.parametrize("name", ["similarity", "clearance", "lead", "coverage", "distinct", "exact"])
def test_a_better_match_is_trusted_more(name: str):
    """Each signal that speaks for the first incident raises a probability, and lowers none.

    Not so an equal error type: its clearance and its coverage have told that already.
    """
    low = Signals(similarity=0.4, clearance=0.05, lead=0.1, coverage=0.4)
    high = Signals(**{field: getattr(low, field) for field in FEATURES} | {name: 0.9})
    before, after = (trust(signals, load_calibration(None)) for signals in (low, high))
    assert before.relevant <= after.relevant
    assert before.right <= after.right
    assert before.right + before.relevant < after.right + after.relevant or name == "exact"


def test_what_stands_out_among_more_is_trusted_more():
    """Up to the largest record that the confidence was fitted on; one that nobody counted is neither small nor big."""
    one, few, some, nobody_says, many, most = (
        trust(Signals(similarity=0.4, clearance=0.05, searched=count), load_calibration(None)).right
        for count in (1, 10, 60, 0, 200, 100_000)
    )
    assert one == few < some < nobody_says < many == most


def test_nothing_found_is_nothing_trusted():
    assert trust(Signals(), load_calibration(None)) == Trust(0.0, 0.0)


def test_a_logistic_model_follows_its_formula():
    model = Logistic(intercept=-1.0, weights={"similarity": 2.0})
    assert model.probability({"similarity": 0.7}) == pytest.approx(1 / (1 + math.exp(-0.4)))


LUCKY = (
    '{"fitted_on": "", "relevant": {"intercept": 0, "weights": {"luck": 1}}, "right": {"intercept": 0, "weights": {}}}'
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "CALIBRATION_FILE"),
        ('{"fitted_on": "x"}', "relevant"),
        (LUCKY, "no signal is called luck"),
    ],
)
def test_a_broken_calibration_is_refused_at_start(tmp_path: Path, text: str, reason: str):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(Misconfigured, match=reason):
        load_calibration(str(tmp_path / "c.json"))
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_calibration(str(tmp_path / "none.json"))


def test_the_shipped_calibration_is_bounded_and_weighs_no_signal_against():
    shipped = load_calibration(None)
    for model in (shipped.relevant, shipped.right):
        assert 0 < model.least < model.most < 1
        assert all(weight >= 0 for weight in model.weights.values())


def outcome(right: bool, sure: float, *, relevant: bool = True, variant: str = "", rank: int = 3) -> Outcome:
    case = Case("q", variant, Anomaly(error_type="x"), frozenset({"i"} if relevant else ()), None)
    place = (1 if right else rank) if relevant else None
    return Outcome(case, place, [place] if place else [], Signals(), Trust(sure, sure), sure < 0.5, "a", 0.01)


def test_figures_of_a_small_set_are_those_worked_out_by_hand():
    """Two right, one third, one with nothing relevant."""
    found = figures([outcome(True, 0.9), outcome(True, 0.7), outcome(False, 0.4), outcome(False, 0.2, relevant=False)])
    assert found["recall_at_1"] == pytest.approx(2 / 3)
    assert found["recall_at_3"] == 1
    assert found["mrr"] == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert found["ndcg"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert found["brier"] == pytest.approx((0.1**2 + 0.3**2 + 0.4**2 + 0.2**2) / 4)
    assert found["ece"] == pytest.approx((0.1 + 0.3 + 0.4 + 0.2) / 4)
    assert (found["auroc_right"], found["auroc_match"]) == (1, 1)
    assert (found["escalation_precision"], found["escalation_recall"]) == (1, 1)
    assert found["action_accuracy"] is None
    assert set(found) == set(MEANING)


def test_an_empty_set_has_no_figures():
    assert {name for name, value in figures([]).items() if value is not None} == {"cases", "with_relevant", "cost_usd"}


@given(st.lists(st.tuples(shares, st.booleans()), min_size=1, max_size=60))
def test_bins_hold_every_case_once(pairs: list[tuple[float, bool]]):
    """Whatever is said, no case is lost or counted twice, and the error is a share."""
    sure, right = [p for p, _ in pairs], [y for _, y in pairs]
    assert sum(size for _, _, size in bins(sure, right)) == len(pairs)
    assert 0 <= (calibration_error(sure, right) or 0) <= 1


def test_auroc_counts_ties_half():
    assert auroc([0.2, 0.5, 0.5, 0.9], [False, False, True, True]) == pytest.approx(3.5 / 4)
    assert auroc([0.2], [True]) is None


def test_the_most_confident_are_answered_first():
    """Risk at each coverage, from the surest on."""
    curve = risk_coverage([outcome(False, 0.3), outcome(True, 0.9)])
    assert curve == [(0.5, 0.0), (1.0, 0.5)]


def test_the_interval_of_no_difference_holds_zero_and_that_of_a_large_one_does_not():
    bad, good = ([outcome(n % 2 == 0, p) for n in range(60)] for p in (0.95, 0.5))
    same = differences(bad, bad, ["brier"], rounds=100)["brier"]
    assert same.low == same.high == 0
    found = differences(bad, good, ["brier", "action_accuracy"], rounds=100)
    assert (found["brier"].high or 0) < 0
    assert found["brier"].after == pytest.approx(0.25)
    assert found["action_accuracy"].low is None


def test_a_run_that_was_saved_is_compared_case_by_case(tmp_path: Path):
    """Cases that both hold are paired; a calibration judges the same signals; anything else is refused."""
    run, calibration = tmp_path / "run.json", tmp_path / "calibration.json"
    first, second = (replace(outcome(True, p), case=replace(outcome(True, p).case, id=str(p))) for p in (0.2, 0.9))
    run.write_bytes(msgspec.json.encode([replace(first, rank=2)]))
    cases = [first.case, second.case]
    ours, theirs = other([first, second], read_other(run, cases), Settings())
    assert [one.case.id for one in ours] == [one.case.id for one in theirs] == ["0.2"]
    assert (ours[0].rank, theirs[0].rank) == (1, 2)
    calibration.write_bytes(msgspec.json.encode(HALF))
    asked = [replace(second, signals=Signals(similarity=1))]
    (judged,) = other(asked, read_other(calibration, cases), Settings(min_confidence=0.6))[1]
    assert (judged.trust, judged.asks, judged.action) == (Trust(0.5, 0.5), True, "escalate_to_human")
    with pytest.raises(Rejected, match="no case"):
        read_other(run, [second.case])
    run.write_text("[1]")
    with pytest.raises(Rejected, match=r"run\.json"):
        read_other(run, [second.case])


def test_a_dataset_is_read_leniently_and_refused_by_line(tmp_path: Path):
    """Nulls and unknown fields are no fault; what cannot be read is named."""
    row = {"id": "i", "title": "t", "symptoms": "s", "root_cause": None, "kind": "runbook", "source": {"repo": "x"}}
    query = {"id": "q", "variant": "named", "alertname": "A", "description": "d", "metrics": ["m"], "relevant": ["i"]}
    (tmp_path / "incidents.jsonl").write_text(json.dumps(row) + "\n\n")
    other = query | {"id": "r", "variant": "described", "alertname": None}
    none = query | {"id": "s", "variant": "no_match", "relevant": []}
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in (query, other, none)))
    incidents, cases = read_dataset(tmp_path)
    assert (incidents[0].id, incidents[0].root_cause) == ("i", "")
    assert [case.id for case in headline(cases)] == ["r", "s"]
    assert cases[2].action == "escalate_to_human"
    for text, reason in (("{\n", "line 1"), ('{"id": "i"}\n', "line 1"), ("", None)):
        (tmp_path / "incidents.jsonl").write_text(text)
        if reason:
            with pytest.raises(Rejected, match=reason):
                read_dataset(tmp_path)
    with pytest.raises(Rejected, match=r"queries\.jsonl|incidents\.jsonl"):
        read_dataset(tmp_path / "none")
    for raw, reason in ((b'{"id": "\xff"}', "is not UTF-8, from byte 8 on"), (b"[" * 100_000, "line 1")):
        (tmp_path / "queries.jsonl").write_bytes(raw)
        with pytest.raises(Rejected, match=rf"queries\.jsonl: {reason}"):
            read_dataset(tmp_path)


def test_the_report_is_one_page_without_anything_from_elsewhere():
    """Hostile names are text; two charts; no address but the language of SVG."""
    outcomes = [outcome(True, 0.9, variant="<b>"), outcome(False, 0.2)]
    text = page("<script>", figures(outcomes), {"<b>": figures(outcomes[:1])}, outcomes)
    assert text.count("<svg") == 2
    assert "Against" not in text
    beside = page("x", figures(outcomes), {}, outcomes, differences(outcomes, outcomes, ["brier"], rounds=10))
    assert "+0.000 … +0.000" in beside
    assert "<script>" not in text
    assert "<b>" not in text
    assert "http" not in text


@pytest.mark.parametrize("hundredths", range(101))
def test_what_misses_a_threshold_does_not_read_as_if_it_met_it(hundredths: int):
    """Each whole percent is itself, and what is just below it is not."""
    share = hundredths / 100
    assert percent(share) == f"{hundredths}%"
    assert hundredths == 0 or percent(share - 0.0001) == f"{hundredths - 1}%"
    assert percent(min(share + 0.0099, 1)) == f"{hundredths}%"
