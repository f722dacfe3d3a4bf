"""`pulseguard doctor`: does each configured part answer, and if not, which variable names it and what mends it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipeline import kafka
from pipeline.catalogue import load_catalogue
from pipeline.embedding import open_embedder
from pipeline.errors import Misconfigured, Unavailable
from pipeline.index import open_index
from pipeline.llm import open_llm
from pipeline.settings import Settings
from pipeline.stages.record import open_record


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one part; ``detail`` names variable and mend where it is not healthy."""

    part: str
    healthy: bool
    detail: str


async def examine(settings: Settings) -> list[Check]:
    """Check every part, one after the other."""
    checks: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("Kafka", lambda: _kafka(settings)),
        ("PostgreSQL", lambda: _postgres(settings)),
        ("embedding model, Qdrant", lambda: _index(settings)),
        ("action catalogue", lambda: _catalogue(settings)),
        ("model", lambda: _model(settings)),
        ("Slack", lambda: _slack(settings)),
    ]
    return [await _checked(part, check) for part, check in checks]


async def _checked(part: str, check: Callable[[], Awaitable[str]]) -> Check:
    try:
        return Check(part, True, await check())  # noqa: FBT003 - the field is called healthy
    except (Misconfigured, Unavailable) as exc:
        return Check(part, False, str(exc))  # noqa: FBT003


async def _kafka(settings: Settings) -> str:
    if settings.kafka is None:
        return "KAFKA_BOOTSTRAP_SERVERS is not set: `pulseguard up` embeds a broker"
    await kafka.check(settings, 5)
    return settings.kafka


async def _postgres(settings: Settings) -> str:
    if settings.database_url is None:
        return "DATABASE_URL is not set: `pulseguard up` embeds PostgreSQL"
    async with open_record(settings.database_url) as record:
        await record.ping()
    return "answers"


async def _index(settings: Settings) -> str:
    embedder = await asyncio.to_thread(open_embedder, settings)
    async with open_index(settings, embedder) as index:
        await index.ping()
    return f"{embedder.name}, {settings.qdrant_url or 'Qdrant in-process'}"


async def _catalogue(settings: Settings) -> str:
    return f"{len(load_catalogue(settings.actions_file).names)} actions in {settings.actions_file}"


async def _model(settings: Settings) -> str:
    if settings.llm_model is None:
        return "LLM_MODEL is not set: the nearest-incident rule decides"
    llm = open_llm(settings)
    if llm is not None:
        await llm.close()
        for name, variables in llm.lacking:
            raise Misconfigured(" or ".join(variables), f"is not set, and {name} asks for it", "the provider's key")
    return f"{settings.llm_model} (configured; asked at the first anomaly)"


async def _slack(settings: Settings) -> str:
    if settings.slack_webhook_url or settings.slack_bot_token:
        return "configured (asked at the first decision)"
    return "SLACK_WEBHOOK_URL is not set: messages are shown in the log"
