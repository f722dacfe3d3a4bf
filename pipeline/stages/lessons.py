"""What humans said of decisions, as rows of the record: verdicts to learn from, and those that judge the advice."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from schemas import Anomaly, Decision, Feedback


@dataclass(frozen=True, slots=True)
class Lesson:
    """A verdict that nothing was learned from yet, and what it is about. ``resolved``: its episode is."""

    feedback: Feedback
    decision: Decision
    anomaly: Anomaly
    received_at: datetime
    resolved: bool


def lesson_of(row: Any) -> Lesson:
    """One row of `LESSONS`."""
    return Lesson(
        msgspec.json.decode(row["body"], type=Feedback),
        msgspec.json.decode(row["published"], type=Decision),
        msgspec.json.decode(row["anomaly"], type=Anomaly),
        row["received_at"],
        row["state"] == "resolved",
    )


def judged_of(row: Any) -> tuple[Decision, str, bool | None]:
    """One row of `JUDGED`: the decision, the verdict, and whether the advice worked."""
    return msgspec.json.decode(row["published"], type=Decision), row["verdict"], row["worked"]


LESSONS = """
SELECT feedback.id, feedback.body, decisions.published, anomalies.body AS anomaly, anomalies.received_at, episodes.state
FROM feedback
JOIN decisions ON decisions.id = feedback.decision_id
JOIN anomalies ON anomalies.id = decisions.anomaly_id
JOIN episodes ON episodes.id = decisions.episode_id
WHERE NOT feedback.learned AND (
    feedback.body ?| ARRAY['worked', 'action'] OR (feedback.verdict = 'accept' AND episodes.state = 'resolved')
)
ORDER BY feedback.created_at, feedback.id LIMIT $1
"""
JUDGED = """
SELECT decisions.id, decisions.published, feedback.verdict, (feedback.body->>'worked')::boolean AS worked
FROM feedback JOIN decisions ON decisions.id = feedback.decision_id ORDER BY feedback.body->>'created_at'
"""
