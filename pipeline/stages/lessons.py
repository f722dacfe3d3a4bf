"""What humans said of decisions, as rows of the record: verdicts to learn from, and those that judge the advice."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from pipeline.stages.stored import stored
from schemas import Anomaly, Decision, Feedback


class Said(msgspec.Struct, frozen=True):
    """A verdict on an episode, when it was ``heard``, and whether what it teaches was ``learned``."""

    body: Feedback
    heard: datetime
    learned: bool

    @property
    def at(self) -> datetime:
        """When it was given. Topics have partitions and dead letters are tried again: heard may be any later."""
        return self.body.created_at or self.heard

    @property
    def is_bare_acceptance(self) -> bool:
        """It says that the advice was followed, and not what came of that: its episode's end is taken for it."""
        return self.body.verdict == "accept" and self.body.worked is None and self.body.action is None

    @property
    def teaches(self) -> bool:
        """Whether it says what was done and how it went, as far as verdicts alone tell."""
        told = self.body.verdict != "correct" and self.body.worked is not None
        return self.body.action is not None or told or self.is_bare_acceptance


@dataclass(frozen=True, slots=True)
class Lesson:
    """A verdict that nothing was learned from yet, and what it is about. ``resolved``: its episode is.

    ``overtaken``: a later one on the episode has been learned from and stands, or one takes it back. ``takes_back``:
    what was learned last from the episode is an acceptance that this one, heard after it, takes back.
    """

    feedback: Feedback
    decision: Decision
    anomaly: Anomaly
    received_at: datetime
    resolved: bool
    overtaken: bool = False
    takes_back: bool = False


def lesson_of(row: Any) -> Lesson:
    """One row of `LESSONS`. What else was said of the episode, and cannot be read any more, does not count."""
    feedback = msgspec.json.decode(row["body"], type=Feedback)
    said = stored("feedback", msgspec.json.decode(row["said"]), lambda one: msgspec.convert(one, Said))
    (this,) = (one for one in said if one.body.id == feedback.id)
    taught = [one for one in said if one.learned and one.teaches]
    last = max(taught, key=lambda one: one.at, default=this)
    stands = any(one.at > this.at and not any(_takes_back(other, one) for other in said) for one in taught)
    return Lesson(
        feedback,
        msgspec.json.decode(row["published"], type=Decision),
        msgspec.json.decode(row["anomaly"], type=Anomaly),
        row["received_at"],
        row["state"] == "resolved",
        stands or any(_takes_back(one, this) for one in said),
        _takes_back(this, last) and this.heard > last.heard,
    )


def _takes_back(one: Said, other: Said) -> bool:
    """Whether ``one`` takes the acceptance ``other`` back, and says nothing in its place."""
    about = one.body.decision_id == other.body.decision_id and one.at > other.at
    return about and other.is_bare_acceptance and one.body.verdict != "accept"


def judged_of(rows: Iterable[Any]) -> list[tuple[Decision, Feedback]]:
    """The rows of `JUDGED` in the order in which the verdicts were given."""

    def read(row: Any) -> tuple[datetime, tuple[Decision, Feedback]]:
        said = msgspec.json.decode(row["body"], type=Feedback)
        decision = msgspec.json.decode(row["published"], type=Decision)
        return said.created_at or row["created_at"], (decision, said)

    return [judged for _, judged in sorted(stored("decision", rows, read), key=lambda one: one[0])]


# An acceptance waits for the end of its episode, but not one that was taken back before. What takes back one that was
# learned from is due, too.
_AT = "coalesce(({0}.body->>'created_at')::timestamptz, {0}.created_at)"
"""`Said.at`."""
LESSONS = f"""
SELECT feedback.id, feedback.body, decisions.published, anomalies.body AS anomaly, anomalies.received_at,
    episodes.state, (
    SELECT jsonb_agg(jsonb_build_object(
        'id', given.id, 'body', given.body, 'heard', given.created_at, 'learned', given.learned
    ))
    FROM decisions AS made JOIN feedback AS given ON given.decision_id = made.id WHERE made.episode_id = episodes.id
) AS said
FROM feedback
JOIN decisions ON decisions.id = feedback.decision_id
JOIN anomalies ON anomalies.id = decisions.anomaly_id
JOIN episodes ON episodes.id = decisions.episode_id
WHERE NOT feedback.learned AND (
    feedback.body ?| ARRAY['worked', 'action']
    OR (feedback.verdict = 'accept' AND episodes.state = 'resolved' AND NOT EXISTS (
        SELECT 1 FROM feedback AS given
        WHERE given.decision_id = feedback.decision_id AND given.verdict <> 'accept'
            AND {_AT.format("given")} > {_AT.format("feedback")}
    ))
    OR (feedback.verdict <> 'accept' AND EXISTS (
        SELECT 1 FROM feedback AS given
        WHERE given.decision_id = feedback.decision_id AND given.verdict = 'accept' AND given.learned
    ))
)
ORDER BY {_AT.format("feedback")}, feedback.id LIMIT $1
"""  # noqa: S608 - ours
UNLEARN = """
UPDATE feedback SET learned = false FROM decisions
WHERE decisions.id = feedback.decision_id AND decisions.episode_id = $1 AND feedback.learned
"""
JUDGED = """
SELECT decisions.id, decisions.published, feedback.body, feedback.created_at
FROM feedback JOIN decisions ON decisions.id = feedback.decision_id ORDER BY feedback.created_at, feedback.id
"""
