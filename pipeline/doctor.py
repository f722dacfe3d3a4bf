"""`pulseguard doctor`: does each configured part answer, and if not, which variable names it and what mends it.

Which roles run is told beside it: that none does is no fault.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiohttp
import msgspec

from pipeline import endpoints, kafka
from pipeline.catalogue import load_catalogue
from pipeline.embedding import open_embedder
from pipeline.errors import Misconfigured, Unavailable
from pipeline.index import open_index
from pipeline.llm import open_llm
from pipeline.settings import Settings
from pipeline.sinks.notify import GROUP as SLACK
from pipeline.stages.record import open_record
from pipeline.worker import GROUP as WORKERS

_PATIENCE = aiohttp.ClientTimeout(total=5)
"""Seconds that a role has to answer: /readyz itself waits three for each part."""


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one part; ``detail`` names variable and mend where it is not healthy.

    ``healthy`` is None for a role that does not serve: it may be meant to, or not.
    """

    part: str
    healthy: bool | None
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
    found = [await _checked(part, check) for part, check in checks]
    kafka_answers = bool(settings.kafka and found[0].healthy)
    return [*found, *await _roles(settings, endpoints.known(settings), kafka_answers=kafka_answers)]


async def _roles(settings: Settings, known: Mapping[str, str], *, kafka_answers: bool) -> list[Check]:
    """Which of them answer where this environment, or an `up` on this home, says that they serve."""
    return [
        await _gateway(f"{known['HTTP_URL']}/readyz", is_open=settings.api_is_open),
        await _relay(known["RELAY_URL"], settings.relay_token),
        await _group(settings, "worker", WORKERS, kafka_answers=kafka_answers),
        await _group(settings, "slack", SLACK, kafka_answers=kafka_answers),
    ]


async def _gateway(url: str, *, is_open: bool) -> Check:
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as client, client.get(url) as answer:
            parts = msgspec.json.decode(await answer.read(), type=dict[str, str])
    except (aiohttp.ClientError, OSError, TimeoutError) as exc:
        return _silent("gateway", url, exc)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Check("role gateway", None, f"what answers at {url} is another program")
    lacking = "; ".join(f"{part}: {said}" for part, said in parts.items() if said != "ok")
    warning = "; API_TOKEN is not set: whoever reaches it may use it" if is_open else ""
    return Check("role gateway", None if lacking else True, f"{url}: {lacking or 'ready'}{warning}")


async def _relay(url: str, token: str | None) -> Check:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as client, client.ws_connect(url, headers=headers):
            return Check("role relay", True, f"{url}: answers")  # noqa: FBT003 - the field is called healthy
    except (aiohttp.ClientError, OSError, TimeoutError) as exc:
        return _silent("relay", url, exc)


async def _group(settings: Settings, role: str, group: str, *, kafka_answers: bool) -> Check:
    if not kafka_answers:
        return Check(f"role {role}", None, "not known without Kafka")
    try:
        runs = await kafka.has_members(settings, group)
    except (Misconfigured, Unavailable) as exc:
        return Check(f"role {role}", None, f"not known: {exc}")
    return Check(f"role {role}", runs or None, f"the consumer group {group} has {'members' if runs else 'no members'}")


def _silent(role: str, url: str, exc: Exception) -> Check:
    return Check(f"role {role}", None, f"does not answer at {url} ({type(exc).__name__})")


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
