"""An incident: a past one, with its symptoms, cause, what was done and whether it worked. The knowledge."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.decision import Action

Outcome = Literal["resolved", "mitigated", "failed", "unknown"]


class Incident(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A past incident. ``id`` and ``title`` are required; the more symptoms it tells, the better it is found.

    ``action`` names an action of the catalogue; ``mitigation`` says in words what was done. ``outcome`` says whether
    it worked. ``recovery_minutes`` is the time from mitigation to recovery.
    """

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    title: Annotated[str, Meta(min_length=1, max_length=1024)]
    service: str | None = None
    error_type: str | None = None
    fault_class: str | None = None
    symptoms: str = ""
    diagnosis: str = ""
    root_cause: str = ""
    mitigation: str = ""
    action: Action | None = None
    outcome: Outcome = "unknown"
    recovery_minutes: float | None = None
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    labels: dict[str, str] = {}
    source: str | None = None
