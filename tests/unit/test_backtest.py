"""What `backtest` counts as right, known and in order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.backtest import Tried, anomaly_of, holds, in_order, summary, tries
from pipeline.nearest import Advice
from pipeline.replay import Answered
from schemas import Action, Incident
from tests.growth import grows_linearly

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def past(name: str, day: int | None, action: str | None = "restart_service", **fields: Any) -> Incident:
    when = None if day is None else NOW + timedelta(day)
    return Incident(
        id=name, title="Disk filled by a forgotten debug log", occurred_at=when,
        action=None if action is None else Action(action, "api"), **{"outcome": "resolved"} | fields,
    )  # fmt: skip


def said(action: str | None, matched: str | None = None, sure: float = 0.8) -> Answered:
    if action is None:
        return Answered(Advice("escalate", Action("escalate_to_human", "api"), None, 0.2, "", "nearest"), [], 1.0)
    return Answered(Advice("recommend", Action(action, "api"), matched, sure, "", "nearest"), [], 1.0)


@pytest.mark.parametrize(
    ("done", "outcome", "advised", "right"),
    [
        ("restart_service", "resolved", "restart_service", True),
        ("restart_service", "unknown", "restart_service", True),
        ("restart_service", "resolved", "scale_out", False),
        ("restart_service", "failed", "restart_service", False),
        ("restart_service", "failed", "scale_out", None),
        (None, "resolved", "scale_out", None),
        ("restart_service", "resolved", None, None),
        ("escalate_to_human", "resolved", "scale_out", False),
    ],
)
def test_what_is_right(done: str | None, outcome: str, advised: str | None, right: bool | None):
    """The same action is right unless it failed; of what was not tried, or not recommended, nobody can say."""
    (tried,) = tries([past("a", 1, done, outcome=outcome)], [said(advised)])
    assert tried.right is right


def test_the_order_is_that_of_time_and_what_has_none_is_left_out():
    """Where a file lists them does not count; equal times stand by id."""
    listed = [past("late", 9), past("never", None), past("b", 3), past("a", 3)]
    assert [incident.id for incident in in_order(listed)] == ["a", "b", "late"]


def test_what_could_be_known_is_what_helped_strictly_before():
    """Not by an incident of the same moment, nor one where it failed."""
    dated = [
        past("failed", 1, outcome="failed"), past("first", 2), past("same-moment", 2), past("third", 3),
        past("other", 4, "scale_out"),
    ]  # fmt: skip
    known = [one.incident.id for one in tries(dated, [said(None)] * 5) if one.known]
    assert known == ["third"]


def test_a_long_history_is_gone_through_once():
    """What helped before is carried on, and not looked for in all that was."""

    def go(size: int) -> list[Tried]:
        return list(tries([past(f"i{day}", day, f"action_{day % 5}") for day in range(size)], [said(None)] * size))

    assert [one.known for one in go(8)] == [False] * 5 + [True] * 3
    assert grows_linearly(go, 400)


def test_monitoring_knows_the_symptoms_and_not_the_cause():
    """Nothing that was written afterwards is asked with; the title only where nothing else tells what was seen."""
    fields = {"root_cause": "CAUSE", "mitigation": "CURE", "diagnosis": "CAUSE", "labels": {"cause": "CAUSE"}}
    seen = anomaly_of(past("a", 1, symptoms="writes fail", error_type="disk_full", service="db", **fields))
    assert (seen.error_type, seen.service, seen.message, seen.labels) == ("disk_full", "db", "writes fail", {})
    assert anomaly_of(past("a", 1)).message == "Disk filled by a forgotten debug log"


def test_the_figures():
    """Coverage over all, right over those that can be judged, kinds where both say theirs."""
    dated = [
        past("a", 1, error_type="disk_full"), past("b", 2, error_type="DiskFull"), past("c", 3, "scale_out"),
        past("d", 4, error_type="cpu"),
    ]  # fmt: skip
    answers = [said(None), said("restart_service", "a"), said("restart_service", "b"), said("restart_service", "a")]
    told = summary(list(tries(dated, answers)))
    assert (told["asked"], told["recommended"], told["escalated"], told["coverage"]) == (4, 3, 1, 0.75)
    assert (told["judged"], told["same_action"], told["same_action_share"]) == (3, 2, 0.6667)
    assert (told["kind_judged"], told["same_kind"]) == (2, 1)
    assert (told["could_be_known"], told["could_be_known_and_right"], told["could_be_known_but_escalated"]) == (2, 2, 0)
    assert summary([])["coverage"] is None


@pytest.mark.parametrize(
    ("sure", "right", "wrong", "held"),
    [
        (0.8, 0, 0, True),
        (0.8, 0, 1, True),  # happens one time of five
        (0.9, 1, 1, True),
        (0.96, 4, 1, True),  # one or more of five: one time of five or six
        (0.98, 0, 1, False),
        (0.8, 0, 2, True),  # one of 25
        (0.8, 0, 3, False),
        (0.5, 60, 40, True),  # that or more: 0.028
        (0.5, 61, 39, False),  # 0.018
        (0.5, 39, 61, False),
        (1.0, 5, 0, True),
    ],
)
def test_the_confidence_holds_unless_chance_is_too_rare(sure: float, right: int, wrong: int, held: bool):
    """Less than one time of forty would as many be right, or more, or as few, or fewer."""
    answers = [said(done, sure=sure) for done in ["restart_service"] * right + ["scale_out"] * wrong]
    dated = [past(str(day), day) for day in range(len(answers))]
    assert holds(list(tries(dated, answers))) is held
