"""What `replay` and `explain` work out without asking anybody."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from rich.console import Console

from pipeline.confidence import load_calibration
from pipeline.errors import Rejected
from pipeline.explain import shown
from pipeline.nearest import Advice
from pipeline.replay import Answered, Replayed, effort, figures, spent_on, summary
from pipeline.stages.provenance import provenance_of
from pipeline.times import moment
from schemas import Action, Explanation, ModelCall, Signals, Usage
from tests.integration.test_record import decision

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("24h", NOW - timedelta(days=1)),
        (" 7d ", NOW - timedelta(days=7)),
        ("1w", NOW - timedelta(weeks=1)),
        ("2026-10-01", datetime(2026, 10, 1, tzinfo=UTC)),
        ("2026-10-01T08:00+02:00", datetime(2026, 10, 1, 6, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read(text: str, when: datetime):
    """Spans count back from now; a time without a zone is UTC."""
    assert moment(text, NOW) == when


@pytest.mark.parametrize("text", ["", "yesterday", "-1h", "0h", "1y", "7", "2026-13-01", "999999w"])
def test_what_is_no_moment_is_refused(text: str):
    """The refusal says what would be one."""
    with pytest.raises(Rejected, match="neither a time"):
        moment(text, NOW)


def test_a_model_that_fails_says_why():
    """Each reason once, the most frequent first: a missing key is no finding about the model."""
    said = ["no key", "left alone", "left alone", None]
    advices = [replace(advice(), fallback_reason=reason) for reason in said]
    told = effort([Answered(one, [], 1.0) for one in advices])
    assert (told["model_failed"], told["model_failures"]) == (3, {"left alone": 2, "no key": 1})
    names, values = (list(column.cells) for column in figures(told).columns)
    shown = [str(value) for name, value in zip(names, values, strict=True) if name == ""]
    assert shown == ["2: left alone", "1: no key"]


def advice(confidence: float = 0.5, name: str = "escalate_to_human", verdict: str = "escalate") -> Advice:
    return Advice(verdict, Action(name, "api"), None, confidence, "why", "nearest")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "changed"),
    [
        (advice(), []),
        (advice(0.504), []),
        (advice(0.51), ["confidence"]),
        (advice(name="restart_service", verdict="recommend"), ["verdict", "action"]),
    ],
)
def test_what_counts_as_a_change(after: Advice, changed: list[str]):
    """Verdict, action with target and parameters, and confidence by a point at least."""
    assert Replayed(decision(), Answered(after, [], 1.0)).changed == changed


def test_costs_are_added_or_not_known():
    """Tokens always add up; one call of unknown cost makes the whole unknown; no call costs nothing."""
    priced, unpriced = (ModelCall(messages=[], usage=Usage(10, 2, cost)) for cost in (0.5, None))
    assert spent_on([priced, priced]) == Usage(20, 4, 1.0)
    assert spent_on([priced, unpriced]) == Usage(20, 4, None)
    assert summary([])["cost_usd"] == 0


def test_an_endless_answer_is_kept_in_part_and_says_so():
    """A server that sends megabytes does not fill the table."""
    kept = provenance_of("d", Signals(), load_calibration(None), 0.5, [ModelCall(messages=[], answer="x" * 50_000)])
    assert kept.calls[0].answer == "x" * 20_000 + "… (30000 characters more)"


def test_what_is_no_longer_kept_is_said():
    """A decision without anomaly and provenance is explained as far as it goes."""
    console = Console(width=120)
    explanation = Explanation(decision=decision(), anomaly=None, received_at=None, origin=None, provenance=None)
    with console.capture() as said:
        console.print(shown(explanation))
    assert "no longer kept" in said.get()
    assert "not kept: it was decided before" in said.get()
    assert msgspec.json.decode(msgspec.json.encode(explanation), type=Explanation) == explanation
