"""Silences over HTTP: `/v1/silences`."""

from datetime import datetime
from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.exceptions import HTTPException

from pipeline.silences import made
from pipeline.sinks.outbox import Outbox
from pipeline.sinks.policy import Silence


class NewSilence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A silence as it is posted. ``matchers`` as in ``deploy/routes.yaml``; ``starts_at`` defaults to now."""

    matchers: list[str]
    ends_at: datetime
    author: str
    starts_at: datetime | None = None
    comment: str = ""


def routes(outbox: Outbox) -> list[Any]:
    """The handlers."""

    @get("/v1/silences", summary="Silences that are active or will be; all with expired=true")
    async def silences(*, expired: bool = False) -> list[Silence]:
        return await outbox.silences(expired=expired)

    @post("/v1/silences", status_code=201, summary="Tell nobody of what all matchers hold for")
    async def add_silence(data: NewSilence) -> Silence:
        silence = made(data.matchers, data.starts_at, data.ends_at, data.author, data.comment)
        await outbox.add_silence(silence)
        return silence

    @delete("/v1/silences/{silence_id:str}", status_code=204, summary="End a silence now")
    async def expire_silence(silence_id: str) -> None:
        if not await outbox.expire_silence(silence_id):
            raise HTTPException(f"no silence {silence_id} that is not over", status_code=404)

    return [silences, add_silence, expire_silence]
