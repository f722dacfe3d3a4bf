"""Verdicts over HTTP, and the catalogue that a correction chooses from."""

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import msgspec
from litestar import get, post
from litestar.exceptions import HTTPException

from pipeline import kafka
from pipeline.catalogue import ActionSpec, Catalogue
from pipeline.errors import Rejected
from pipeline.gateway.parameters import Limit
from pipeline.settings import Settings
from pipeline.stages.ingest import check_texts
from pipeline.stages.record import Record
from schemas import Action, Feedback


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A verdict as it is posted; `schemas.Feedback` is what it becomes."""

    verdict: Literal["accept", "reject", "correct"]
    author: str | None = None
    comment: str | None = None
    action: Action | None = None
    worked: bool | None = None


class Verdicts:
    """Takes verdicts, wherever they are given: checked against the record and the catalogue, published to the topic."""

    def __init__(self, settings: Settings, record: Record, sender: kafka.Sender, catalogue: Catalogue) -> None:
        self._topic = settings.topic_feedback
        self._record = record
        self._sender = sender
        self._catalogue = catalogue

    async def take(self, feedback_id: str, decision_id: str, verdict: Verdict) -> bool:
        """Publish it; False for a decision that nobody made. Raises `Rejected` for what is wrong in it.

        The same ``feedback_id`` again changes nothing.
        """
        if await self._record.decision_body(decision_id) is None:
            return False
        said = verdict.action or verdict.worked is not None or (verdict.comment or "").strip()
        if verdict.verdict == "correct" and not said:
            raise Rejected("a correction says what was done: action, worked or comment is missing")
        fields = msgspec.to_builtins(verdict) | {"id": feedback_id, "decision_id": decision_id}
        try:
            feedback = msgspec.convert(fields | {"created_at": datetime.now(UTC)}, Feedback)
        except msgspec.ValidationError as exc:
            raise Rejected(str(exc)) from exc
        check_texts(feedback)
        if feedback.action is not None:
            self._catalogue.check(feedback.action)
        await self._sender.send(self._topic, decision_id.encode(), msgspec.json.encode(feedback))
        return True


def routes(verdicts: Verdicts, record: Record, catalogue: Catalogue) -> list[Any]:
    """The handlers."""

    @post("/v1/decisions/{decision_id:str}/feedback", status_code=202, summary="Accept, reject or correct a decision")
    async def feedback(decision_id: str, data: Verdict) -> dict[str, str]:
        feedback_id = f"fb_{uuid4().hex}"
        if not await verdicts.take(feedback_id, decision_id, data):
            raise HTTPException(f"no decision {decision_id}", status_code=404)
        return {"id": feedback_id}

    @get("/v1/feedback", summary="Verdicts, newest first")
    async def given(limit: Limit = 50) -> list[Feedback]:
        return await record.feedback(limit)

    @get("/v1/actions", summary="The action catalogue: what may be advised, and within which bounds")
    async def actions() -> dict[str, ActionSpec]:
        return {name: catalogue.get(name) for name in catalogue.names}

    return [feedback, given, actions]
