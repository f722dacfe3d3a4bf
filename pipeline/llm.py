"""Advice by a language model: asked with data, checked against evidence and catalogue, within a deadline.

The only module that speaks to litellm, which is heavy and is imported only when a model is configured. Its retries and
timeouts are off: this module owns the deadline. Whatever goes wrong is `EngineFailed`, and the rule decides.

Servers differ in how they take a wish for JSON. The rungs, best first: a JSON schema, any JSON object, plain text; the
two lower ones have the schema in the prompt. A 400, or two answers in a row that cannot be read, step one down; the
rung that worked is remembered.
"""

import asyncio
import gc
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from time import perf_counter
from typing import Any, Literal

import msgspec

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.confidence import Trust
from pipeline.errors import EngineFailed, Misconfigured, Rejected
from pipeline.nearest import Advice, confidence_in
from pipeline.settings import Settings
from schemas import Action, EnrichedAnomaly, Evidence, ModelCall, Usage

PROMPT_VERSION = "decide-v1"
_MAX_TEXT = 2000
_MAX_ITEMS = 50
_MAX_REASON = 200
_MAX_ANSWER = 20_000
_MAX_ANSWER_TOKENS = 400
_RUNGS = ("json_schema", "json_object", "text")
_MADE_UP = re.compile(r"""(action|parameter|field|value) (['"`]).*\2""", re.DOTALL)
# What litellm lets through from its own parsing of an answer that lacks what it expects.
_UNCHECKED = (AttributeError, KeyError, IndexError, TypeError, ValueError, OSError)


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model must answer."""

    verdict: Literal["recommend", "escalate"]
    action: str
    parameters: dict[str, float | int | str | bool] = {}
    matched_incident: str | None = None
    confidence: float
    rationale: str


class Unreadable(Rejected):
    """The reply holds no answer of the form that was asked for, whatever it says."""


class _FormRefused(Exception):
    """The server answered 400: it may not know this rung's response_format."""


def question(enriched: EnrichedAnomaly, catalogue: Catalogue) -> str:
    """The user turn: one JSON object of data, its texts and lists cut and without control characters."""
    actions = {
        name: {"description": spec.description, "risk": spec.risk, "parameters": msgspec.to_builtins(spec.parameters)}
        for name, spec in ((name, catalogue.get(name)) for name in catalogue.names)
    }
    data = {
        "anomaly": _cleaned(msgspec.to_builtins(enriched.anomaly)),
        "evidence": _cleaned(msgspec.to_builtins(enriched.evidence)),
        "actions": actions,
    }
    return msgspec.json.encode(data).decode()


def schema_of(enriched: EnrichedAnomaly, catalogue: Catalogue) -> dict[str, Any]:
    """The answer's JSON Schema: only these actions, their parameters and these evidence ids.

    Flat, and not strict in OpenAI's sense: that would demand every parameter of every action. Bounds are left to
    `checked`, for some providers drop them.
    """
    specs = [catalogue.get(name) for name in catalogue.names]
    kinds: dict[str, set[str]] = {}
    for name, parameter in ((name, item) for spec in specs for name, item in spec.parameters.items()):
        kinds.setdefault(name, set()).add("number" if parameter.type == "number" else "string")
    # A name that is a number for one action and a text for another goes without a type.
    parameters = {name: {"type": next(iter(kind))} if len(kind) == 1 else {} for name, kind in kinds.items()}
    ids = [item.incident_id for item in enriched.evidence]
    matched: list[dict[str, Any]] = [{"type": "null"}]
    if ids:
        matched.insert(0, {"type": "string", "enum": ids})
    return {
        "type": "object",
        "properties": {
            "verdict": {"type": "string", "enum": ["recommend", "escalate"]},
            "action": {"type": "string", "enum": catalogue.names},
            "parameters": {"type": "object", "properties": parameters, "additionalProperties": False},
            "matched_incident": {"anyOf": matched},
            "confidence": {"type": "number"},
            "rationale": {"type": "string"},
        },
        "required": ["verdict", "action", "parameters", "matched_incident", "confidence", "rationale"],
        "additionalProperties": False,
    }


def parse(text: str) -> Answer:
    """The JSON object in the model's text, also inside a code fence. Raises `Unreadable`."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start or len(text) > _MAX_ANSWER:
        raise Unreadable("the answer holds no JSON object" if text.strip() else "the answer is empty")
    try:
        return msgspec.json.decode(text[start : end + 1], type=Answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
        raise Unreadable(_line(f"the answer is not of the form: {exc}")) from exc


def repair(reason: str) -> str:
    """What the next question adds. What was wrong is said, what was answered is not repeated: it may hold anything."""
    said = _MADE_UP.sub(r"the given \1", _line(reason))
    return f"An earlier answer to this was refused: {said}. Avoid that. Answer with the JSON object only."


def checked(answer: Answer, enriched: EnrichedAnomaly, catalogue: Catalogue) -> tuple[Action, Evidence | None]:
    """The action and the evidence it rests on. Raises `Rejected` for anything outside evidence or catalogue."""
    evidence = {item.incident_id: item for item in enriched.evidence}
    if answer.matched_incident is not None and answer.matched_incident not in evidence:
        raise Rejected("matched_incident is none of the evidence")
    if not 0 <= answer.confidence <= 1:
        raise Rejected("confidence is not between 0 and 1")
    if (answer.verdict == "escalate") != (answer.action == ESCALATE):
        raise Rejected(f"verdict {answer.verdict} does not go with the action")
    if answer.verdict == "recommend" and answer.matched_incident is None:
        raise Rejected("a recommendation names no evidence")
    match = evidence.get(answer.matched_incident or "")
    target = enriched.anomaly.service or (match.action.target if match and match.action else "the service concerned")
    action = Action(answer.action, target, answer.parameters)
    catalogue.check(action)
    if match and match.outcome == "failed" and match.action and match.action.name == action.name:
        raise Rejected("the action failed in the incident that it is said to rest on")
    return action, match


class Llm:
    """A configured model. ``litellm`` is the imported module."""

    def __init__(self, litellm: Any, settings: Settings, prompt: str | None = None) -> None:
        self._litellm = litellm
        self._model = settings.llm_model or ""
        self._timeout = settings.llm_timeout
        self._slots = asyncio.Semaphore(settings.llm_in_flight)
        self._prompt = prompt or resources.files("pipeline").joinpath(f"prompts/{PROMPT_VERSION}.md").read_text()
        self._base = {"api_base": settings.llm_api_base} if settings.llm_api_base else {}
        provider = _provider(litellm, self._model)
        if settings.llm_api_base and provider == "openai":
            # A local server asks for no key, the client insists on one. Other providers read their own variables.
            self._base["api_key"] = settings.openai_api_key or "none"
        self._rung = 0

    async def advise(
        self, enriched: EnrichedAnomaly, catalogue: Catalogue, sure: Trust, least: float,
        calls: list[ModelCall] | None = None,
    ) -> Advice:  # fmt: skip
        """Ask, check, and once ask for a repair; all within the deadline. Raises `EngineFailed`.

        Advice that is trusted less than ``least`` becomes an escalation that says what was advised. Each question is
        added to ``calls`` before it is sent: so it is told also where this raises.
        """
        tally = _Tally([] if calls is None else calls)
        try:
            async with asyncio.timeout(self._timeout) as deadline, self._slots:
                advice = await self._advise(enriched, catalogue, sure, deadline.when() or 0.0, tally)
        except TimeoutError as exc:
            raise EngineFailed(f"the model gave no answer within {self._timeout:g} s") from exc
        return advice if advice.verdict == "escalate" or advice.confidence >= least else _doubted(advice)

    async def _advise(
        self, enriched: EnrichedAnomaly, catalogue: Catalogue, sure: Trust, deadline: float, tally: "_Tally"
    ) -> Advice:  # fmt: skip
        schema = schema_of(enriched, catalogue)
        for rung in range(self._rung, len(_RUNGS)):
            last = rung == len(_RUNGS) - 1
            try:
                answer, action, match = await self._answered(enriched, catalogue, schema, rung, deadline, tally)
            except _FormRefused:  # never from the last rung, which wishes for no form
                continue
            except Rejected as exc:
                tally.calls[-1].outcome = f"refused: {exc.reason}"
                if last or not isinstance(exc, Unreadable):
                    raise EngineFailed(_line(f"the model's answer was refused: {exc.reason}")) from exc
                continue
            tally.calls[-1].outcome = "accepted"
            self._rung = max(self._rung, rung)
            return self._advice(enriched, answer, action, match, sure, tally.usage)
        raise AssertionError  # the last rung returns or raises

    async def _answered(
        self, enriched: EnrichedAnomaly, catalogue: Catalogue, schema: dict[str, Any], rung: int, deadline: float,
        tally: "_Tally",
    ) -> tuple[Answer, Action, Evidence | None]:  # fmt: skip
        """One question and at most one repair on one rung."""
        form = _form(rung, schema)
        told = "" if rung == 0 else f"\n\nThe answer's JSON Schema: {msgspec.json.encode(schema).decode()}"
        turns = [
            {"role": "system", "content": self._prompt + told},
            {"role": "user", "content": question(enriched, catalogue)},
        ]
        try:
            return _read(await self._ask(turns, form, deadline, tally), enriched, catalogue)
        except Rejected as first:
            tally.calls[-1].outcome = f"refused: {first.reason}"
            # In the system turn: some chat templates refuse two user turns in a row.
            turns[0]["content"] += f"\n\n{repair(first.reason)}"
        return _read(await self._ask(turns, form, deadline, tally), enriched, catalogue)

    def _advice(
        self, enriched: EnrichedAnomaly, answer: Answer, action: Action, match: Evidence | None, sure: Trust,
        usage: Usage,
    ) -> Advice:  # fmt: skip
        return Advice(
            verdict=answer.verdict,
            action=action,
            matched_incident=answer.matched_incident,
            confidence=bounded(answer, enriched, match, sure),
            rationale=_clean(answer.rationale),
            engine="llm",
            model=self._model,
            prompt_version=PROMPT_VERSION,
            usage=usage,
        )

    async def _ask(
        self, turns: list[dict[str, str]], form: dict[str, Any], deadline: float, tally: "_Tally"
    ) -> str:  # fmt: skip
        """The reply's text, maybe empty. A 429 that says when is waited for once, if that is before the deadline."""
        errors = (*self._litellm.LITELLM_EXCEPTION_TYPES, *_UNCHECKED)
        try:
            try:
                response = await self._call(turns, form, tally)
            except errors as exc:
                tally.calls[-1].outcome = failure(exc)
                pause = _pause(exc, deadline - asyncio.get_running_loop().time())
                if pause is None:
                    raise
                await asyncio.sleep(pause)
                response = await self._call(turns, form, tally)
            return tally.add(response)
        except errors as exc:
            tally.calls[-1].outcome = failure(exc)
            refused = type(exc).__name__ in {"BadRequestError", "UnsupportedParamsError"}  # not: context, policy
            if form and refused and getattr(exc, "status_code", None) in {400, 422}:
                raise _FormRefused from exc
            raise EngineFailed(failure(exc)) from exc

    async def _call(self, turns: list[dict[str, str]], form: dict[str, Any], tally: "_Tally") -> Any:
        wish = {"response_format": form} if form else {}
        call = ModelCall(messages=[dict(turn) for turn in turns], form=form.get("type"))
        tally.calls.append(call)
        started = perf_counter()
        # litellm's own timeout misses slow answers; it is set so that ours is always the first.
        try:
            return await self._litellm.acompletion(
                model=self._model, messages=turns, temperature=0, max_tokens=_MAX_ANSWER_TOKENS,
                timeout=self._timeout + 1, max_retries=0, num_retries=0, **wish, **self._base,
            )  # fmt: skip
        finally:
            call.ms = round((perf_counter() - started) * 1000, 2)

    async def close(self) -> None:
        """Close the model's connections."""
        await self._litellm.close_litellm_async_clients()


def open_llm(settings: Settings, prompt: str | None = None) -> Llm | None:
    """The configured model, or None; with another system ``prompt`` than ours. Imports litellm: about three seconds.

    Raises `Misconfigured` for a model that no provider known to litellm serves.
    """
    if settings.llm_model is None:
        return None
    # Or it fetches a price list from the network, and reads a .env from the working folder.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_OFFLINE_MODE", "true")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    gc.disable()  # a third of the import is garbage collection
    try:
        import litellm  # noqa: PLC0415 - only when a model is configured
        import openai.resources  # noqa: F401, PLC0415 - or litellm's first call does, for most of a second
    finally:
        gc.enable()
    litellm.suppress_debug_info = True
    litellm.drop_params = True
    return Llm(litellm, settings, prompt)


def _provider(litellm: Any, model: str) -> str:
    """Who serves a model of this name. Raises `Misconfigured` where litellm cannot tell."""
    try:
        return str(litellm.get_llm_provider(model)[1])
    except litellm.exceptions.BadRequestError as exc:
        raise Misconfigured(
            "LLM_MODEL", f"{model!r} names no provider that litellm knows", f"openai/{model} for a server of your own"
        ) from exc


def bounded(answer: Answer, enriched: EnrichedAnomaly, match: Evidence | None, sure: Trust) -> float:
    """The model's own confidence, at most what the evidence allows: a statement is no probability.

    For a recommendation that is `pipeline.nearest.confidence_in` its evidence; an escalation has that of the nearest.
    """
    if match is None or answer.verdict == "escalate":
        return sure.right
    bound = confidence_in(enriched.evidence.index(match), enriched.evidence, sure)
    return round(max(min(answer.confidence, bound), 0.0), 4)


def _doubted(advice: Advice) -> Advice:
    """Ask a human, and say what the model would have done."""
    why = f"The model would {advice.action.name}, but that is only {advice.confidence:.0%} sure. {advice.rationale}"
    action = Action(ESCALATE, advice.action.target)
    return replace(advice, verdict="escalate", action=action, matched_incident=None, rationale=why)


def failure(exc: BaseException) -> str:
    """Why a call failed, short and stable: by status and types, never by what the error says."""
    names = {cls.__name__ for error in _causes(exc) for cls in type(error).__mro__}
    status = getattr(exc, "status_code", None)
    # litellm calls it 500 when there was no answer at all, or none that it could read.
    if status == 500 and "HTTPStatusError" not in names:  # noqa: PLR2004
        gone = names & {"TransportError", "ClientConnectionError", "ConnectionError"}
        return "the model's server refused or dropped the connection" if gone else "the model call gave nothing to read"
    return f"the model answered {status}" if status else f"the model call failed: {type(exc).__name__}"


class _Tally:
    """All calls of one decision, and what they cost: None as soon as the cost of one call is not known."""

    def __init__(self, calls: list[ModelCall]) -> None:
        self.usage = Usage(0, 0, 0.0)
        self.calls = calls

    def add(self, response: Any) -> str:
        counts = getattr(response, "usage", None)
        cost = (getattr(response, "_hidden_params", None) or {}).get("response_cost") or None  # 0 means unknown, too
        text = (response.choices[0].message.content if response.choices else None) or ""
        asked, said = (getattr(counts, name, 0) or 0 for name in ("prompt_tokens", "completion_tokens"))
        self.calls[-1].answer, self.calls[-1].usage = text, Usage(asked, said, cost)
        total = None if cost is None or self.usage.cost_usd is None else self.usage.cost_usd + cost
        self.usage = Usage(self.usage.prompt_tokens + asked, self.usage.completion_tokens + said, total)
        return text


def _read(text: str, enriched: EnrichedAnomaly, catalogue: Catalogue) -> tuple[Answer, Action, Evidence | None]:
    answer = parse(text)
    return answer, *checked(answer, enriched, catalogue)


def _form(rung: int, schema: dict[str, Any]) -> dict[str, Any]:
    if _RUNGS[rung] == "json_schema":
        return {"type": "json_schema", "json_schema": {"name": "advice", "schema": schema, "strict": False}}
    return {"type": "json_object"} if _RUNGS[rung] == "json_object" else {}


def _pause(exc: BaseException, left: float) -> float | None:
    """Seconds that a 429 asks us to wait, if it says so and they are fewer than are ``left``."""
    if getattr(exc, "status_code", None) != 429:  # noqa: PLR2004
        return None
    headers = getattr(exc, "litellm_response_headers", None) or {}
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < left else None


def _causes(exc: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = exc
    for _ in range(10):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {_clean(str(key)): _cleaned(item) for key, item in list(value.items())[:_MAX_ITEMS]}
    return [_cleaned(item) for item in value[:_MAX_ITEMS]] if isinstance(value, list) else value


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text[:_MAX_TEXT])


def _line(text: str) -> str:
    return " ".join(_clean(text).split())[:_MAX_REASON]
