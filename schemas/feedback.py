"""Feedback: a human's verdict on a decision."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.decision import Action


class Feedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A verdict on one decision; with ``correct`` it says what was really done and whether it worked."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    decision_id: Annotated[str, Meta(min_length=1, max_length=256)]
    verdict: Literal["accept", "reject", "correct"]
    author: str | None = None
    comment: str | None = None
    action: Action | None = None
    worked: bool | None = None
    created_at: Annotated[datetime, Meta(tz=True)] | None = None
