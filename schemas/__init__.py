"""What crosses a boundary of PulseGuard, each contract written once, as a type.

JSON Schema and AsyncAPI in ``generated/`` are derived from these types; nothing here imports the pipeline.
"""

from schemas.anomaly import SEVERITIES, Anomaly, EnrichedAnomaly, Metric, Severity, Status
from schemas.dead_letter import DeadLetter, Reason
from schemas.decision import Action, Decision, Engine, Evidence, Signals, Usage, Verdict
from schemas.feedback import Feedback
from schemas.incident import Incident, Outcome

__all__ = [
    "SEVERITIES", "Action", "Anomaly", "DeadLetter", "Decision", "Engine", "EnrichedAnomaly", "Evidence",
    "Feedback", "Incident", "Metric", "Outcome", "Reason", "Severity", "Signals", "Status", "Usage", "Verdict",
]  # fmt: skip
