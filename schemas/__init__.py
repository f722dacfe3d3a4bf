"""What crosses a boundary of PulseGuard, each contract written once, as a type.

JSON Schema and AsyncAPI in ``generated/`` are derived from these types; nothing here imports the pipeline.
"""

from schemas.anomaly import SEVERITIES, STATUSES, Anomaly, EnrichedAnomaly, Metric, Severity, Status
from schemas.dead_letter import DeadLetter, Reason
from schemas.decision import Action, Decision, Engine, Evidence, Signals, TrackRecord, Usage, Value, Verdict
from schemas.feedback import Feedback
from schemas.incident import Incident, Outcome
from schemas.provenance import Explanation, ModelCall, Provenance, Weighing

__all__ = [
    "SEVERITIES",
    "STATUSES",
    "Action", "Anomaly", "DeadLetter", "Decision", "Engine", "EnrichedAnomaly", "Evidence", "Explanation", "Feedback",
    "Incident", "Metric", "ModelCall", "Outcome", "Provenance", "Reason", "Severity", "Signals", "Status",
    "TrackRecord", "Usage", "Value", "Verdict", "Weighing",
]  # fmt: skip
