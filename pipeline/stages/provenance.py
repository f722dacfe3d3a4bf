"""What a decision came of: made for `decide`, kept beside the decision, read by `explain` and `replay`."""

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.confidence import Calibration, Logistic, trust
from schemas import Anomaly, Decision, Explanation, ModelCall, Provenance, Signals, Weighing

_MAX_ANSWER = 20_000
"""Characters of a raw answer that are kept: a broken server may send megabytes."""


def provenance_of(
    decision_id: str, signals: Signals, calibration: Calibration, least: float, calls: Sequence[ModelCall]
) -> Provenance:
    """What a decision came of, its texts such that they can be stored."""
    sure = trust(signals, calibration)
    return Provenance(
        decision_id=decision_id,
        fitted_on=calibration.fitted_on,
        relevant=_weighing(calibration.relevant, sure.relevant),
        right=_weighing(calibration.right, sure.right),
        least=least,
        calls=[msgspec.structs.replace(call, answer=_storable(call.answer)) for call in calls],
    )


def _weighing(model: Logistic, said: float) -> Weighing:
    return Weighing(intercept=model.intercept, weights=model.weights, said=said)


def _storable(answer: str | None) -> str | None:
    """A model's answer with half surrogates replaced, which no UTF-8 holds, and its end cut off where it is endless."""
    if answer is None:
        return None
    kept = answer[:_MAX_ANSWER].encode("utf-8", "replace").decode()
    return kept if len(answer) <= _MAX_ANSWER else f"{kept}… ({len(answer) - _MAX_ANSWER} characters more)"


def explanation_of(row: Any) -> Explanation:
    """One row of `EXPLANATIONS`."""
    place = (row["topic_id"], row["kafka_partition"], row["kafka_offset"])
    return Explanation(
        decision=msgspec.json.decode(row["published"], type=Decision),
        anomaly=None if row["anomaly"] is None else msgspec.json.decode(row["anomaly"], type=Anomaly),
        received_at=row["received_at"],
        origin=None if row["anomaly"] is None else "{}/{}@{}".format(*place),
        provenance=None if row["provenance"] is None else msgspec.json.decode(row["provenance"], type=Provenance),
    )


FORGET = """
DELETE FROM provenance WHERE decision_id IN (
    SELECT decision_id FROM provenance WHERE made_at < $1 ORDER BY made_at LIMIT 1000
) RETURNING 1
"""
EXPLANATIONS = """
SELECT decisions.id, decisions.published, anomalies.body AS anomaly, anomalies.received_at, anomalies.topic_id,
    anomalies.kafka_partition, anomalies.kafka_offset, provenance.body AS provenance
FROM decisions
LEFT JOIN anomalies ON anomalies.id = decisions.anomaly_id
LEFT JOIN provenance ON provenance.decision_id = decisions.id
WHERE ($1::text IS NULL OR decisions.id = $1)
  AND ($2::timestamptz IS NULL OR decisions.created_at >= $2)
  AND ($3::timestamptz IS NULL OR decisions.created_at < $3)
ORDER BY decisions.created_at DESC, decisions.id LIMIT $4
"""
