"""What a verdict teaches."""

from datetime import UTC, datetime

import msgspec
import pytest

from pipeline.stages.learn import incident_of
from pipeline.stages.record import Lesson
from schemas import Action, Anomaly, Feedback
from tests.unit.test_blocks import decision

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OTHER = Action("rollback", "web")


@pytest.mark.parametrize(
    ("why", "said", "resolved", "learned"),
    [
        ("it worked", {"verdict": "accept", "worked": True}, False, ("restart_service", "resolved")),
        ("it failed", {"verdict": "reject", "worked": False}, False, ("restart_service", "failed")),
        ("accepted, and the episode is resolved", {"verdict": "accept"}, True, ("restart_service", "resolved")),
        ("accepted, and nothing known yet", {"verdict": "accept"}, False, None),
        ("rejected, though resolved: by what?", {"verdict": "reject"}, True, None),
        ("something else helped", {"verdict": "correct", "action": OTHER, "worked": True}, False,
         ("rollback", "resolved")),
        ("something else did not", {"verdict": "correct", "action": OTHER, "worked": False}, True,
         ("rollback", "failed")),
        ("something else was done", {"verdict": "correct", "action": OTHER}, True, ("rollback", "unknown")),
        ("it was wrong, and no more", {"verdict": "correct", "worked": True}, True, None),
        ("a human was called", {"verdict": "correct", "action": Action("escalate_to_human", "web"), "worked": True},
         True, None),
    ],
)  # fmt: skip
def test_a_verdict(why: str, said: dict[str, object], resolved: bool, learned: tuple[str, str] | None):
    """An incident only where something was done and something is known of it; never one that says call a human."""
    feedback = Feedback(id="fb", decision_id="dec_1", **said)  # type: ignore[arg-type]
    anomaly = Anomaly(error_type="timeout", service="web", message="no answer", labels={"cluster": "c"})
    made = incident_of(Lesson(feedback, decision("slow"), anomaly, NOW, resolved))
    assert (made and made.action and (made.action.name, made.outcome)) == learned, why
    if made is not None:
        assert made.id == "inc-ep_1"
        assert (made.error_type, made.service, made.symptoms) == ("timeout", "web", "slow. no answer")
        assert made.mitigation == ("slow" if made.action == decision("slow").action else "")


def test_an_advice_to_call_a_human_teaches_nothing():
    asked = msgspec.structs.replace(decision("slow"), action=Action("escalate_to_human", "web"))
    feedback = Feedback(id="fb", decision_id="dec_1", verdict="accept", worked=True)
    assert incident_of(Lesson(feedback, asked, Anomaly(error_type="e"), NOW, resolved=True)) is None
