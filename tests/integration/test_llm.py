"""The model engine over real HTTP, through litellm: good answers, and every way in which a model fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from pipeline import settings
from pipeline.catalogue import Catalogue, load_catalogue
from pipeline.errors import EngineFailed
from pipeline.llm import Llm, open_llm
from schemas import Action, Anomaly, EnrichedAnomaly, Evidence
from tests.model_server import Behaviour, ModelServer, answer_for, completion, good, model_server, slow

LIMIT = 3.0


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(Path("deploy/actions.yaml"))


@pytest.fixture
def enriched() -> EnrichedAnomaly:
    action = Action("throttle_connections", "db", {"limit_percent": 30})
    return EnrichedAnomaly(
        anomaly=Anomaly(error_type="database_timeout", service="payments-db"), anomaly_id="a", fingerprint="f",
        episode_id="e", revision=1, evidence=[Evidence("inc-1", "pool exhausted", 0.8, action, "resolved")],
        received_at=datetime.now(UTC), timings={},
    )  # fmt: skip


Open = Callable[[Behaviour], Any]


@pytest_asyncio.fixture
async def opened() -> AsyncIterator[Callable[[ModelServer], Llm]]:
    models: list[Llm] = []

    def open_at(server: ModelServer) -> Llm:
        configured = replace(
            settings.read({}), llm_model="openai/played", llm_api_base=server.url, llm_timeout=LIMIT, llm_in_flight=64
        )
        model = open_llm(configured)
        assert model is not None
        models.append(model)
        return model

    yield open_at
    for model in models:
        await model.close()


async def test_a_good_answer_is_the_advice(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """Action and match are the model's, the target is the anomaly's, confidence is bounded by the similarity."""
    async with model_server(good) as server:
        advice = await opened(server).advise(enriched, catalogue)
    assert advice.action == Action("throttle_connections", "payments-db", {"limit_percent": 30})
    assert (advice.engine, advice.matched_incident, advice.confidence) == ("llm", "inc-1", 0.8)
    assert (advice.prompt_version, advice.usage.prompt_tokens) == ("decide-v1", 700)


def says(text: str | None) -> Behaviour:
    async def behave(_: web.Request, __: dict[str, Any], ___: int) -> web.StreamResponse:
        return completion(text)

    return behave


def with_status(status: int) -> Behaviour:
    async def behave(_: web.Request, __: dict[str, Any], ___: int) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no"}}, status=status, headers={"Retry-After": "1"})

    return behave


def changed(**changes: Any) -> Behaviour:
    async def behave(_: web.Request, question: dict[str, Any], __: int) -> web.StreamResponse:
        return completion(answer_for(question, **changes))

    return behave


async def drip(request: web.Request, _: dict[str, Any], __: int) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b" ")
        await asyncio.sleep(0.2)
    return response


async def reset(request: web.Request, _: dict[str, Any], __: int) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


FAILURES: dict[str, tuple[Behaviour, str]] = {
    "429": (with_status(429), "429"),
    "500": (with_status(500), "500"),
    "503": (with_status(503), "503"),
    "401": (with_status(401), "401"),
    "not JSON": (says("I would restart it."), "no JSON object"),
    "empty": (says(""), "empty"),
    "null": (says(None), "empty"),
    "unknown action": (changed(action="rm_rf"), "not in the catalogue"),
    "out of bounds": (changed(parameters={"limit_percent": 500}), "above"),
    "invented evidence": (changed(matched_incident="inc-999"), "none of the evidence"),
    "confidence over 1": (changed(confidence=7), "confidence"),
    "extra field": (changed(shell="x"), "not of the form"),
    "verdict against action": (changed(verdict="escalate"), "does not go"),
    "one byte at a time": (drip, "no answer within"),
    "too slow": (slow(10), "no answer within"),
    "connection reset": (reset, "the model answered"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failing_model_fails_in_time_and_says_how(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, name: str
):
    """Whatever the model does, there is an EngineFailed with its reason, soon after the deadline at the latest."""
    behave, reason = FAILURES[name]
    async with model_server(behave) as server:
        model = opened(server)
        started = time.monotonic()
        with pytest.raises(EngineFailed, match=reason):
            await model.advise(enriched, catalogue)
        assert time.monotonic() - started < 3 * LIMIT


async def test_a_wrong_answer_is_repaired_once(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """The second question says what was refused and does not repeat the answer."""

    async def behave(_: web.Request, question: dict[str, Any], count: int) -> web.StreamResponse:
        return completion(answer_for(question, **({"action": "rm_rf"} if count == 1 else {})))

    async with model_server(behave) as server:
        advice = await opened(server).advise(enriched, catalogue)
        assert advice.action.name == "throttle_connections"
        assert len(server.asked) == 2
        assert "not in the catalogue" in server.asked[1]["messages"][-1]["content"]


async def test_sixty_four_calls_run_at_once(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """Sixty-four calls of half a second take far less than one after another would."""
    async with model_server(slow(0.5)) as server:
        model = opened(server)
        started = time.monotonic()
        await asyncio.gather(*(model.advise(enriched, catalogue) for _ in range(64)))
        assert time.monotonic() - started < 64 * 0.5 / 8
