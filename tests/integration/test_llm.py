"""The model engine over real HTTP, through litellm: good answers, and every way in which a model fails."""

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from pipeline import settings
from pipeline.catalogue import Catalogue, load_catalogue
from pipeline.confidence import Trust
from pipeline.errors import EngineFailed, Misconfigured
from pipeline.llm import Llm, open_llm
from pipeline.llm.budget import Spent, nothing_spent
from schemas import Action, Anomaly, EnrichedAnomaly, Evidence, ModelCall, Usage
from tests.model_server import (
    Behaviour,
    ModelServer,
    answer_for,
    body,
    changed,
    counts,
    drip,
    endless,
    fenced,
    form_of,
    good,
    in_turn,
    model_server,
    no_choices,
    once_a_connection,
    packed,
    reset,
    says,
    slow,
    takes_only,
    uncounted,
    with_status,
)
from tests.program import until

LIMIT = 3.0
PATIENCE = 30.0
SURE = Trust(relevant=0.9, right=0.8)


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

    def open_at(
        server: ModelServer, limit: float = PATIENCE, in_flight: int = 64, spent: Spent = nothing_spent, **changes: Any
    ) -> Llm:
        configured = replace(
            settings.read({}), llm_api_base=server.url, llm_timeout=limit, llm_in_flight=in_flight,
            **({"llm_model": "openai/played", "llm_cache_seconds": 0} | changes),
        )  # fmt: skip
        model = open_llm(configured, spent)
        assert model is not None
        models.append(model)
        return model

    yield open_at
    for model in models:
        await model.close()


async def test_a_good_answer_is_the_advice(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """Action and match are the model's, the target is the anomaly's, confidence is bounded by the similarity."""
    async with model_server(good) as server:
        advice = await opened(server).advise(enriched, catalogue, SURE, 0.5)
    assert advice.action == Action("throttle_connections", "payments-db", {"limit_percent": 30})
    assert (advice.engine, advice.matched_incident, advice.confidence) == ("llm", "inc-1", 0.8)
    assert (advice.prompt_version, advice.usage.prompt_tokens) == ("decide-v3", 700)


async def test_a_call_leaves_no_line_of_litellm_in_the_log(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, caplog: pytest.LogCaptureFixture
):
    """Also where the root logs what is informative, as under Faust."""
    caplog.set_level(logging.INFO)
    async with model_server(good) as server:
        await opened(server).advise(enriched, catalogue, SURE, 0.5)
    assert [record.message for record in caplog.records if record.name.startswith("LiteLLM")] == []


async def test_advice_that_is_trusted_too_little_asks_a_human(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """What the model would do is said; the confidence stays what it was."""
    async with model_server(good) as server:
        advice = await opened(server).advise(enriched, catalogue, Trust(0.6, 0.3), 0.5)
    assert (advice.verdict, advice.action.name, advice.matched_incident) == ("escalate", "escalate_to_human", None)
    assert advice.confidence == 0.3
    assert "throttle_connections" in advice.rationale


TOOL = {"id": "t", "type": "function", "function": {"name": "shell", "arguments": '{"verdict": "recommend"}'}}

FAILURES: dict[str, tuple[Behaviour, str]] = {
    "429": (with_status(429, "0.1"), "429"),
    "429 for longer than there is time": (with_status(429, "60"), "429"),
    "400": (with_status(400), "400"),
    "garbage": (body("\x07{{", "application/json"), "nothing to read"),
    "HTML": (body("<html>Bad gateway</html>", "text/html"), "nothing to read"),
    "half of its JSON": (body('{"id":"c","choices":[{"mess', "application/json"), "nothing to read"),
    "a list": (body("[]", "application/json"), "nothing to read"),
    "no body": (body("", "application/json"), "nothing to read"),
    "a stream that was not asked for": (body("data: {}\n\ndata: [DONE]\n\n", "text/event-stream"), "nothing to read"),
    "nested without end": (body("[" * 100_000, "application/json"), "nothing to read"),
    "an error for an answer": (body('{"error": {"message": "quota", "code": 429}}', "application/json"), "429"),
    "no choices": (no_choices, "empty"),
    "a call of a tool": (says(None, tool_calls=[TOOL]), "empty"),
    "reasons only": (says("", reasoning_content='{"verdict": "recommend"}'), "empty"),
    "a refusal": (says(None, refusal="I cannot help with that."), "empty"),
    "500": (with_status(500), "500"),
    "503": (with_status(503), "503"),
    "529": (with_status(529), "529"),
    "422": (with_status(422), "answered 422"),
    "413": (with_status(413), "413"),
    "429 until a date": (with_status(429, "Wed, 21 Oct 2037 07:28:00 GMT"), "429"),
    "429 for no number": (with_status(429, "nan"), "429"),
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
    "silent": (slow(60), "no answer within"),
    "cites nothing": (changed(rationale="Trust me."), "cites none"),
    "what nobody did": (changed(action="failover_database", parameters={}), "worked in none"),
    "connection reset": (reset, "dropped the connection"),
    "endless": (endless, "nothing to read"),
    "small, and huge when unpacked": (packed, "nothing to read"),
}


@pytest.mark.parametrize("model", ["openai/played", "hosted_vllm/played"])
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failing_model_fails_in_time_and_says_how(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, name: str, model: str
):
    """Whatever the model does, there is an EngineFailed with its reason, soon after the deadline at the latest."""
    behave, reason = FAILURES[name]
    async with model_server(behave) as server:
        asked = opened(server, LIMIT if "no answer" in reason else PATIENCE, llm_model=model)
        started = time.monotonic()
        with pytest.raises(EngineFailed, match=reason):
            await asked.advise(enriched, catalogue, SURE, 0.5)
        assert time.monotonic() - started < PATIENCE / 2


async def test_a_refused_connection_is_said(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """A model server that is not there is no answer of 500."""
    async with model_server(good) as server:
        pass
    with pytest.raises(EngineFailed, match="refused or dropped"):
        await opened(server).advise(enriched, catalogue, SURE, 0.5)


FORMS: dict[str, tuple[Behaviour, list[str | None]]] = {
    "knows the schema": (good, ["json_schema"]),
    "fences its JSON": (fenced, ["json_schema"]),
    "knows JSON objects only": (takes_only("json_object", None), ["json_schema", "json_object"]),
    "knows no form at all": (takes_only(None), ["json_schema", "json_object", None]),
}


@pytest.mark.parametrize("name", FORMS)
async def test_a_server_is_asked_in_the_form_that_it_knows(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, name: str
):
    """The forms are tried from the strictest; the one that worked is used at once the next time."""
    behave, forms = FORMS[name]
    async with model_server(behave) as server:
        model = opened(server)
        assert (await model.advise(enriched, catalogue, SURE, 0.5)).engine == "llm"
        assert [form_of(question) for question in server.asked] == forms
        await model.advise(enriched, catalogue, SURE, 0.5)
        assert [form_of(question) for question in server.asked] == [*forms, forms[-1]]


async def test_a_model_that_gives_no_answer_is_asked_twice_a_decision(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """Prose instead of JSON: one repair a decision, and no open circuit, which an alert's text could bring about."""
    async with model_server(says("Restart everything!")) as server:
        model = opened(server, llm_breaker_failures=2, llm_breaker_seconds=60.0)
        for asked in (2, 4, 6):
            with pytest.raises(EngineFailed, match="holds no JSON"):
                await model.advise(enriched, catalogue, SURE, 0.5)
            assert len(server.asked) == asked
    assert [form_of(question) for question in server.asked] == ["json_schema", "json_object"] * 3


async def test_one_stutter_costs_no_model_its_form_and_three_in_a_row_do(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """An answer that cannot be read is repaired in a plainer form; the schema is asked for again, at most thrice."""
    stutters = [says("?"), good]
    async with model_server(in_turn(*stutters, good, *stutters * 3, good)) as server:
        model = opened(server, llm_cache_seconds=0.0)
        for _ in range(6):
            assert (await model.advise(enriched, catalogue, SURE, 0.5)).engine == "llm"
    strict, plainer = "json_schema", "json_object"
    forms = [form_of(question) for question in server.asked]
    assert forms == [strict, plainer, strict, *[strict, plainer] * 3, plainer]


async def test_a_400_that_no_form_mends_is_not_remembered(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """A server that refuses one question in every form is asked for the schema again at the next."""
    async with model_server(in_turn(*[with_status(400)] * 3, good)) as server:
        model = opened(server)
        with pytest.raises(EngineFailed, match="400"):
            await model.advise(enriched, catalogue, SURE, 0.5)
        await model.advise(enriched, catalogue, SURE, 0.5)
        assert form_of(server.asked[-1]) == "json_schema"


async def test_a_422_opens_no_circuit(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """It speaks of this question: of the form first, as 400 does, and the next question is asked."""
    async with model_server(in_turn(*[with_status(422)] * 8, good)) as server:
        asked = opened(server, llm_breaker_failures=1, llm_breaker_seconds=60.0)
        with pytest.raises(EngineFailed, match="answered 422"):
            await asked.advise(enriched, catalogue, SURE, 0.5)
        assert {form_of(question) for question in server.asked} == {"json_schema", "json_object", None}
        assert (await asked.advise(enriched, catalogue, SURE, 0.5)).engine == "llm"


@pytest.mark.parametrize("refusal", [with_status(429), with_status(503), with_status(529, "300", "retry-after-ms")])
async def test_a_refusal_that_says_when_is_waited_for_once(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, refusal: Behaviour
):
    """Where the wait fits into the deadline, the second call gives the advice."""
    async with model_server(in_turn(refusal, good)) as server:
        assert (await opened(server).advise(enriched, catalogue, SURE, 0.5)).engine == "llm"
        assert len(server.asked) == 2


async def test_the_question_carries_no_key_and_no_heat(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """Temperature 0, two turns, the evidence in the second; the usage of an unknown model has no price."""
    async with model_server(good) as server:
        advice = await opened(server).advise(enriched, catalogue, SURE, 0.5)
    (question,) = server.asked
    assert question["temperature"] == 0
    assert [turn["role"] for turn in question["messages"]] == ["system", "user"]
    assert json.loads(question["messages"][1]["content"])["evidence"][0]["incident_id"] == "inc-1"
    assert advice.usage.cost_usd is None


KEYS = {
    "openai/played": {"OPENAI_API_KEY": "placeholder"},
    "gpt-4o-mini": {"OPENAI_API_KEY": "placeholder"},  # a name that litellm knows, at a server of one's own
    "hosted_vllm/played": {},
}


@pytest.mark.parametrize("model", KEYS)
async def test_a_server_of_ones_own_is_asked_with_the_key_that_is_set(
    enriched: EnrichedAnomaly, catalogue: Catalogue, model: str
):
    """LLM_API_BASE goes with any way of naming the model; the key is that of the settings, or a dummy."""
    async with model_server(good) as server:
        environ = KEYS[model] | {"LLM_MODEL": model, "LLM_API_BASE": server.url, "LLM_TIMEOUT": str(PATIENCE)}
        llm = open_llm(settings.read(environ))
        assert llm is not None
        assert (await llm.advise(enriched, catalogue, SURE, 0.5)).engine == "llm"
        await llm.close()
        assert server.keys == [f"Bearer {environ.get('OPENAI_API_KEY', 'fake-api-key')}"]  # a dummy of litellm's


LACKING: dict[tuple[str, str], list[str]] = {
    ("openai/gpt-5-mini", ""): ["OPENAI_API_KEY"],
    ("gemini/gemini-pro", ""): ["GOOGLE_API_KEY", "GEMINI_API_KEY"],
    ("openai/played", "http://127.0.0.1:9/v1"): [],  # a server of one's own asks for none
    ("bedrock/titan", ""): [],  # may have a role in place of a key
}


@pytest.mark.parametrize(("model", "server"), LACKING)
async def test_a_key_that_is_missing_is_named(model: str, server: str, monkeypatch: pytest.MonkeyPatch):
    """Without it each decision would be the rule's, for a reason that names no variable."""
    for variable in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    llm = open_llm(settings.read({"LLM_MODEL": model, "LLM_API_BASE": server}))
    assert llm is not None
    assert dict(llm.lacking).get(model, []) == LACKING[model, server]
    await llm.close()


@pytest.mark.parametrize(
    ("model", "why", "variables"),
    [
        ("openai/gpt-5-mini", "the model cannot be asked", "OPENAI_API_KEY"),
        ("gemini/gemini-pro", "the model cannot be asked", "GOOGLE_API_KEY or GEMINI_API_KEY"),
        ("anthropic/claude-sonnet-4-5", "the model answered 401", "ANTHROPIC_API_KEY"),
    ],
)
async def test_advice_without_a_key_says_which_variable_is_missing(
    model: str, why: str, variables: str, enriched: EnrichedAnomaly, catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    """At the first decision, and when the circuit is open. No provider is asked for that: its client refuses before."""
    for variable in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    llm = open_llm(settings.read({"LLM_MODEL": model, "LLM_BREAKER_FAILURES": "1", "LLM_TIMEOUT": str(PATIENCE)}))
    assert llm is not None
    with pytest.raises(EngineFailed) as first:
        await llm.advise(enriched, catalogue, SURE, 0.5)
    with pytest.raises(EngineFailed, match="LLM_BREAKER_SECONDS") as later:
        await llm.advise(enriched, catalogue, SURE, 0.5)
    missing = f"no key for its provider: {variables} is not set"
    assert first.value.reason == f"{why}: {missing}"
    assert later.value.reason.endswith(missing)
    await llm.close()


def test_a_model_that_nobody_serves_is_refused_at_start():
    """The variable is named, and a name that would do."""
    with pytest.raises(Misconfigured, match=r"LLM_MODEL.*openai/llama3"):
        open_llm(replace(settings.read({}), llm_model="llama3", llm_api_base="http://127.0.0.1:9/v1"))


# litellm leaves a coroutine behind where it is cancelled in the instant in which it starts.
@pytest.mark.filterwarnings("ignore:coroutine 'OpenAIChatCompletion.acompletion' was never awaited:RuntimeWarning")
async def test_waiting_for_a_free_slot_counts_towards_the_deadline(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """With one call in flight at a time, those that queue fail in time and do not wait for their turn for ever."""
    async with model_server(slow(60)) as server:
        model = opened(server, LIMIT, in_flight=1)
        started = time.monotonic()
        results = await asyncio.gather(
            *(model.advise(enriched, catalogue, SURE, 0.5) for _ in range(8)), return_exceptions=True
        )
        assert time.monotonic() - started < 8 * LIMIT / 2
        assert all(isinstance(result, EngineFailed) for result in results)


async def test_a_wrong_answer_is_repaired_once(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """The second question says what was refused and does not repeat the answer."""

    async with model_server(in_turn(changed(action="rm_rf"), good)) as server:
        advice = await opened(server).advise(enriched, catalogue, SURE, 0.5)
        assert advice.action.name == "throttle_connections"
        assert len(server.asked) == 2
        assert "not in the catalogue" in server.asked[1]["messages"][0]["content"]
        assert "rm_rf" not in json.dumps(server.asked[1])


async def test_sixty_four_calls_run_at_once(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """Sixty-four calls of 0.3 s take far less than one after another would."""
    async with model_server(slow(0.3)) as server:
        model = opened(server)
        started = time.monotonic()
        await asyncio.gather(*(model.advise(enriched, catalogue, SURE, 0.5) for _ in range(64)))
        assert time.monotonic() - started < 64 * 0.3 / 8


@pytest.mark.parametrize("model", ["openai/played", "hosted_vllm/played"])
async def test_calls_share_their_connections(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, model: str
):  # fmt: skip
    """Whatever time is left for each: one after another they go by one, and a round of ten by ten at most."""
    async with model_server(slow(0.05)) as server:
        asked = opened(server, llm_model=model)
        for _ in range(5):
            await asked.advise(enriched, catalogue, SURE, 0.5)
        assert len(server.clients) == 1
        for _ in range(3):
            await asyncio.gather(*(asked.advise(enriched, catalogue, SURE, 0.5) for _ in range(10)))
        assert (len(server.asked), len(server.clients)) == (35, 10)


@pytest.mark.parametrize("model", ["openai/played", "hosted_vllm/played"])
async def test_a_connection_that_the_server_lets_go_costs_no_advice(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, model: str
):  # fmt: skip
    """It is asked again at once, and each question is told; one that is dropped again is the rule's."""
    calls: list[ModelCall] = []
    async with model_server(once_a_connection()) as server:
        asked = opened(server, llm_model=model, llm_breaker_failures=2)
        for _ in range(4):
            await asked.advise(enriched, catalogue, SURE, 0.5, calls)
        assert [call.outcome for call in calls].count("accepted") == 4
        assert len(server.asked) == len(calls) == 7
    async with model_server(reset) as server:
        with pytest.raises(EngineFailed, match="dropped"):
            await opened(server, llm_model=model).advise(enriched, catalogue, SURE, 0.5)
        assert len(server.asked) == 2


@pytest.mark.parametrize("model", ["openai/played", "hosted_vllm/played"])
async def test_a_connection_outlives_what_litellm_keeps(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, model: str
):
    """It lets go of its clients every hour, and closes none of OpenAI's: the connection is ours and stays the same."""
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    async with model_server(good) as server:
        asked = opened(server, llm_model=model)
        for _ in range(3):
            await asked.advise(enriched, catalogue, SURE, 0.5)
            sys.modules["litellm"].in_memory_llm_clients_cache.flush_cache()
            gc.collect()
        assert (len(server.asked), len(server.clients)) == (3, 1)
    assert complaints == []


async def test_who_closes_takes_nothing_from_who_comes_after(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """A second engine of this process, for the same server, is given no client that the first one closed."""
    async with model_server(good) as server:
        for _ in range(2):
            asked = opened(server)
            assert (await asked.advise(enriched, catalogue, SURE, 0.5)).engine == "llm"
            await asked.close()


async def test_as_many_connections_are_allowed_as_calls_in_flight():
    """litellm's own limit is 500 to a server; it is read at the import, so another process looks."""
    look = (
        "from pipeline import settings; from pipeline.llm.call import open_models; open_models(settings.read());"
        "from litellm import constants as c; print(c.AIOHTTP_CONNECTOR_LIMIT, c.AIOHTTP_CONNECTOR_LIMIT_PER_HOST)"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AIOHTTP_")}
    told = plain | {"LLM_MODEL": "openai/played", "LLM_API_BASE": "http://127.0.0.1:9", "LLM_IN_FLIGHT": "1200"}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", look], env=told, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "1200 1200"


LIMITED: dict[str, tuple[dict[str, Any], str]] = {
    "calls a minute": ({"llm_requests_per_minute": 1}, "LLM_REQUESTS_PER_MINUTE"),
    "tokens a minute": ({"llm_tokens_per_minute": 100}, "LLM_TOKENS_PER_MINUTE"),
    "dollars a day": ({"llm_daily_usd": 0.001, "llm_input_usd": 10.0, "llm_output_usd": 10.0}, "LLM_DAILY_USD"),
}


@pytest.mark.parametrize("name", LIMITED)
async def test_a_limit_is_a_reason_and_no_wait(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, name: str):
    """What is beyond the limit is refused at once, by the setting's name, without a call."""
    changes, reason = LIMITED[name]
    async with model_server(good) as server:
        model = opened(server, LIMIT, **changes)
        within = 0 if "llm_tokens_per_minute" in changes else 1  # the first question alone is more than 100 tokens
        if within:
            await model.advise(enriched, catalogue, SURE, 0.5)
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(EngineFailed, match=reason):
                await model.advise(enriched, catalogue, SURE, 0.5)
        assert time.monotonic() - started < LIMIT
        assert len(server.asked) == within


@pytest.mark.parametrize(
    "behave",
    [counts(-700, -60), counts(10**30, 60), counts(700, 10**400), counts(10_000_001, 0), counts(0, 0), uncounted],
)
async def test_a_count_of_tokens_that_cannot_be_is_not_believed(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, behave: Behaviour
):
    """Our own estimate counts instead: a day's budget is neither gone at once nor grows, and advice is advice."""
    async with model_server(behave) as server:
        model = opened(server, llm_daily_usd=1.0, llm_input_usd=1.0, llm_output_usd=1.0)
        for _ in range(2):
            advice = await model.advise(enriched, catalogue, SURE, 0.5)
            assert advice.engine == "llm"
            assert 0 < advice.usage.prompt_tokens < 10_000
            assert 0 < advice.usage.cost_usd < 0.01


async def test_who_waits_for_a_slot_is_not_asked_for_when_the_rest_is_spent(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """The limit is passed by what is in flight, and not by all that came before the first one was paid for."""
    limits = {"llm_daily_usd": 0.001, "llm_input_usd": 10.0, "llm_output_usd": 10.0}
    async with model_server(slow(0.05)) as server:
        model = opened(server, in_flight=1, **limits)
        asked = [msgspec.structs.replace(enriched, anomaly=Anomaly(error_type=f"fault_{n}")) for n in range(5)]
        said = await asyncio.gather(*(model.advise(one, catalogue, SURE, 0.5) for one in asked), return_exceptions=True)
        assert len(server.asked) == 1
    failed = [one for one in said if isinstance(one, EngineFailed)]
    assert [one.failure for one in failed] == ["budget"] * 4


async def test_what_was_spent_before_the_start_counts(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """A worker that starts anew reads what the day has cost, and asks nothing where nothing is left."""

    async def spent(since: datetime) -> float:
        assert since.hour == since.minute == 0
        return 25.0

    async with model_server(good) as server:
        with pytest.raises(EngineFailed, match="LLM_DAILY_USD"):
            await opened(server, spent=spent).advise(enriched, catalogue, SURE, 0.5)
        assert server.asked == []


async def test_an_advice_that_failed_costs_what_its_calls_cost(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """Two refused answers were paid for: the decision says so, though the rule made it."""
    async with model_server(changed(action="rm_rf")) as server:
        model = opened(server, llm_input_usd=1.0, llm_output_usd=1.0)
        with pytest.raises(EngineFailed) as caught:
            await model.advise(enriched, catalogue, SURE, 0.5)
    assert caught.value.usage.prompt_tokens == 1400
    assert caught.value.usage.cost_usd == pytest.approx(2 * 760 / 1e6)


async def test_a_queue_of_ours_is_no_failure_of_the_model(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """Those that had too little time left when their turn came fail; the model that is well goes on being asked."""
    async with model_server(in_turn(good, slow(1.2 * LIMIT))) as server:
        model = opened(server, 2 * LIMIT, in_flight=2, llm_breaker_failures=2)
        await model.advise(enriched, catalogue, SURE, 0.5)  # the first call of all takes a while to begin
        asked = [saying(enriched, error_type=f"fault_{number}") for number in range(5)]
        said = await asyncio.gather(*(model.advise(one, catalogue, SURE, 0.5) for one in asked[:4]),
                                    return_exceptions=True)  # fmt: skip
        assert [getattr(one, "failure", "none") for one in said] == ["none", "none", "call", "call"], said
        assert (await model.advise(asked[4], catalogue, SURE, 0.5)).engine == "llm"


async def test_a_model_that_keeps_failing_is_left_alone_and_tried_again(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """After two failures the circuit is open: no call; after its time one call closes it."""
    async with model_server(in_turn(with_status(500), with_status(503, ""), good)) as server:
        model = opened(server, llm_breaker_failures=2, llm_breaker_seconds=1.0)
        for reason in ("500", "503", "left alone", "left alone"):
            with pytest.raises(EngineFailed, match=reason):
                await model.advise(enriched, catalogue, SURE, 0.5)
        assert len(server.asked) == 2
        await asyncio.sleep(1.1)
        assert (await model.advise(enriched, catalogue, SURE, 0.5)).engine == "llm"


@pytest.mark.parametrize("first", [with_status(500), slow(60), changed(action="rm_rf")], ids=["500", "silent", "wrong"])
async def test_the_fallback_model_answers_where_the_first_does_not(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue, first: Behaviour
):
    """Within the same time budget the second model, at its own server, is asked; the decision names it."""
    async with model_server(first) as broken, model_server(good) as well:
        model = opened(broken, 2 * LIMIT, llm_fallback_models=f"openai/second@{well.url}")
        assert (await model.advise(enriched, catalogue, SURE, 0.5)).model == "openai/second"


async def test_an_equal_question_is_answered_without_a_call(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """Another occurrence of the same asks nobody and costs nothing; another service asks; a failure is not kept."""
    again = saying(enriched, id="another", occurred_at=datetime.now(UTC))
    other = saying(enriched, service="orders-db")
    async with model_server(in_turn(with_status(500), good)) as server:
        model = opened(server, llm_cache_seconds=300)
        with pytest.raises(EngineFailed):
            await model.advise(enriched, catalogue, SURE, 0.5)
        first, second, third = [await model.advise(one, catalogue, SURE, 0.5) for one in (enriched, again, other)]
        assert len(server.asked) == 3
    assert second == replace(first, usage=second.usage)
    assert (second.usage.prompt_tokens, second.usage.cost_usd) == (0, 0.0)
    assert third.action.target == "orders-db"


async def test_equal_questions_at_once_are_asked_once(opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue):
    """One call, and the others have its answer and cost nothing; another question waits for none of them."""
    other = saying(enriched, service="orders-db")
    async with model_server(slow(0.3)) as server:
        model = opened(server, llm_cache_seconds=300)
        asked = [enriched, *(saying(enriched, id=f"a{n}") for n in range(9)), other]
        advice = await asyncio.gather(*(model.advise(one, catalogue, SURE, 0.5) for one in asked))
        assert len(server.asked) == 2
    first, *others, _ = advice
    assert others == [replace(first, usage=Usage(0, 0, 0.0))] * 9
    assert first.usage.prompt_tokens


async def test_who_asks_first_and_is_cancelled_or_fails_costs_the_others_no_answer(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """The next one asks in its place, once for all that are left; who was cancelled while it waited is none of them."""

    def asking(model: Llm) -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(model.advise(enriched, catalogue, SURE, 0.5)) for _ in range(6)]

    async def told(*tasks: asyncio.Task[Any]) -> list[str]:
        said = await asyncio.gather(*tasks, return_exceptions=True)
        return [one.engine if not isinstance(one, BaseException) else type(one).__name__ for one in said]

    async with model_server(slow(0.5)) as server:
        first, waits, *others = asking(opened(server, llm_cache_seconds=300))
        await until(server_is_asked(server, 1), 10, "the first call")
        first.cancel()
        waits.cancel()
        assert await told(first, waits, *others) == ["CancelledError"] * 2 + ["llm"] * 4
        assert len(server.asked) == 2

    async with model_server(in_turn(with_status(500), slow(0.3))) as server:
        assert await told(*asking(opened(server, llm_cache_seconds=300))) == ["EngineFailed"] + ["llm"] * 5
        assert len(server.asked) == 2


async def test_who_waits_for_an_equal_question_has_the_time_of_its_own(
    opened: Any, enriched: EnrichedAnomaly, catalogue: Catalogue
):
    """Who came later is answered where the first one's time was over; who came with it fails with it."""

    async def later() -> Any:
        await asyncio.sleep(LIMIT / 2)
        return await model.advise(enriched, catalogue, SURE, 0.5)

    async with model_server(in_turn(slow(60), good)) as server:
        model = opened(server, LIMIT, llm_cache_seconds=300)
        first, second = await asyncio.gather(model.advise(enriched, catalogue, SURE, 0.5), later(),
                                             return_exceptions=True)  # fmt: skip
        assert isinstance(first, EngineFailed)
        assert second.engine == "llm"

    async with model_server(slow(60)) as server:
        model = opened(server, LIMIT, llm_cache_seconds=300)
        started = time.monotonic()
        said = await asyncio.gather(*(model.advise(enriched, catalogue, SURE, 0.5) for _ in range(5)),
                                    return_exceptions=True)  # fmt: skip
        assert time.monotonic() - started < 2 * LIMIT
        assert all(isinstance(one, EngineFailed) for one in said)


def server_is_asked(server: ModelServer, times: int) -> Callable[[], Any]:
    async def is_asked() -> bool:
        return len(server.asked) >= times

    return is_asked


def saying(enriched: EnrichedAnomaly, **changes: Any) -> EnrichedAnomaly:
    anomaly = msgspec.structs.replace(enriched.anomaly, **changes)
    return msgspec.structs.replace(enriched, anomaly=anomaly)


@contextmanager
def ollama() -> Iterator[tuple[str, list[str]]]:
    """Plays Ollama, in a thread: litellm asks /api/show in a blocking call. Yields its URL and what was asked."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            paths.append(self.path)
            said: dict[str, Any] = {"template": "", "model_info": {}, "capabilities": []}
            if self.path == "/api/chat":
                message = {"role": "assistant", "content": answer_for(body)}
                said = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": True}
                said |= {"prompt_eval_count": 10, "eval_count": 5}
            raw = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


async def test_a_local_model_by_ollama(enriched: EnrichedAnomaly, catalogue: Catalogue):
    """`ollama_chat/NAME` with LLM_API_BASE: asked at /api/chat, with a schema, and no key."""
    with ollama() as (url, paths):
        llm = open_llm(replace(settings.read({}), llm_model="ollama_chat/qwen", llm_api_base=url))
        assert llm is not None
        calls: list[ModelCall] = []
        advice = await llm.advise(enriched, catalogue, SURE, 0.5, calls)
        await llm.close()
    assert (advice.model, advice.matched_incident) == ("ollama_chat/qwen", "inc-1")
    assert "/api/chat" in paths
    assert (calls[0].form, calls[0].outcome, calls[0].usage.completion_tokens) == ("json_schema", "accepted", 5)
