"""Provenance: what a decision came of, kept so that it can be proved afterwards why each piece of advice was given."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.anomaly import Anomaly
from schemas.decision import Decision, Usage

Probability = Annotated[float, Meta(ge=0, le=1)]


class ModelCall(msgspec.Struct, kw_only=True):
    """One question to the model, the very messages as they were sent, and what came back.

    ``form`` is the response format that was wished for; None where none was. ``answer`` is the raw text; None where
    none came. ``outcome`` is ``accepted``, or why it was not. ``ms`` is how long the call took.
    """

    messages: list[dict[str, str]]
    form: str | None = None
    answer: str | None = None
    outcome: str = "no answer before the deadline"
    usage: Usage = Usage()
    ms: float | None = None


class Weighing(msgspec.Struct, frozen=True, kw_only=True):
    """How a probability came of the signals: logistic of intercept + Σ weight · signal. ``said`` is what was used."""

    intercept: float
    weights: dict[str, float]
    said: Probability


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What one decision came of, beside what it carries itself. ``least`` is MIN_CONFIDENCE as it was then.

    ``relevant`` weighs whether any past incident is about this, ``right`` whether the first one is; the calibration
    was ``fitted_on`` that. ``calls`` are all questions to a model, also where its advice was not taken.
    """

    decision_id: str
    fitted_on: str
    relevant: Weighing
    right: Weighing
    least: float
    calls: list[ModelCall]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with all that is kept of how it came about.

    ``anomaly`` is the body as it is stored, ``origin`` its place in Kafka (topic id, partition, offset). A null is no
    longer kept, or was decided before it was.
    """

    decision: Decision
    anomaly: Anomaly | None
    received_at: datetime | None
    origin: str | None
    provenance: Provenance | None
