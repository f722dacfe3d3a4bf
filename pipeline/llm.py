"""Advice by a language model: asked with data, checked against evidence and catalogue, within a deadline.

The only module that speaks to litellm, which is heavy and is imported only when a model is configured. Its retries and
timeouts are off: this module owns the deadline. Whatever goes wrong is `EngineFailed`, and the rule decides.
"""

import asyncio
import gc
import os
from importlib import resources
from typing import Any, Literal

import msgspec

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.errors import EngineFailed, Rejected
from pipeline.nearest import Advice
from pipeline.settings import Settings
from schemas import Action, EnrichedAnomaly, Evidence, Usage

PROMPT_VERSION = "decide-v1"
_MAX_TEXT = 2000
_MAX_ANSWER_TOKENS = 400
_BAD_REQUEST = 400


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model must answer."""

    verdict: Literal["recommend", "escalate"]
    action: str
    parameters: dict[str, float | int | str | bool] = {}
    matched_incident: str | None = None
    confidence: float
    rationale: str


def question(enriched: EnrichedAnomaly, catalogue: Catalogue) -> str:
    """The user turn: one JSON object of data, its texts cut and without control characters."""
    actions = {
        name: {"description": spec.description, "risk": spec.risk, "parameters": msgspec.to_builtins(spec.parameters)}
        for name, spec in ((name, catalogue.get(name)) for name in catalogue.names)
    }
    data = {
        "anomaly": msgspec.to_builtins(enriched.anomaly),
        "evidence": msgspec.to_builtins(enriched.evidence),
        "actions": actions,
    }
    return msgspec.json.encode(_cleaned(data)).decode()


def parse(text: str) -> Answer:
    """The JSON object in the model's text, also inside a code fence. Raises `Rejected`."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise Rejected("the answer holds no JSON object")
    try:
        return msgspec.json.decode(text[start : end + 1], type=Answer)
    except msgspec.MsgspecError as exc:
        raise Rejected(f"the answer is not of the form: {exc}"[:200]) from exc


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
    return action, match


class Llm:
    """A configured model. ``litellm`` is the imported module."""

    def __init__(self, litellm: Any, settings: Settings) -> None:
        self._litellm = litellm
        self._model = settings.llm_model or ""
        self._timeout = settings.llm_timeout
        self._slots = asyncio.Semaphore(settings.llm_in_flight)
        self._prompt = resources.files("pipeline").joinpath(f"prompts/{PROMPT_VERSION}.md").read_text()
        self._base = {"api_base": settings.llm_api_base} if settings.llm_api_base else {}
        if settings.llm_api_base and self._model.startswith(("openai/", "hosted_vllm/")):
            self._base["api_key"] = (
                settings.openai_api_key or "none"
            )  # a local server asks for none, the client insists
        self._form: dict[str, Any] | None = {"type": "json_object"}

    async def advise(self, enriched: EnrichedAnomaly, catalogue: Catalogue) -> Advice:
        """Ask, check, and once ask for a repair; all within the deadline. Raises `EngineFailed`."""
        try:
            async with self._slots, asyncio.timeout(self._timeout):
                return await self._advise(enriched, catalogue)
        except TimeoutError as exc:
            raise EngineFailed(f"the model gave no answer within {self._timeout:g} s") from exc

    async def _advise(self, enriched: EnrichedAnomaly, catalogue: Catalogue) -> Advice:
        turns = [
            {"role": "system", "content": self._prompt},
            {"role": "user", "content": question(enriched, catalogue)},
        ]
        text, usage = await self._ask(turns)
        try:
            answer = parse(text)
            action, match = checked(answer, enriched, catalogue)
        except Rejected as first:
            # What was wrong is said, what was answered is not repeated: it may hold anything.
            turns.append({"role": "user", "content": f"That answer was refused: {first.reason}. Answer again."})
            text, more = await self._ask(turns)
            usage = _sum(usage, more)
            try:
                answer = parse(text)
                action, match = checked(answer, enriched, catalogue)
            except Rejected as second:
                raise EngineFailed(f"the model's answer was refused: {second.reason}") from second
        # A model's own statement is no probability: the similarity of what it relies on bounds it.
        bound = match.score if match else 1.0
        return Advice(
            verdict=answer.verdict,
            action=action,
            matched_incident=answer.matched_incident,
            confidence=round(max(min(answer.confidence, bound), 0.0), 4),
            rationale=_clean(answer.rationale),
            engine="llm",
            model=self._model,
            prompt_version=PROMPT_VERSION,
            usage=usage,
        )

    async def _ask(self, turns: list[dict[str, str]]) -> tuple[str, Usage]:
        try:
            response = await self._call(turns)
        except (*self._litellm.LITELLM_EXCEPTION_TYPES, OSError) as exc:
            status = getattr(exc, "status_code", None)
            if status == _BAD_REQUEST and self._form is not None:
                self._form = None  # this server knows no response_format: the prompt alone must do
                return await self._ask(turns)
            raise EngineFailed(f"the model answered {status or type(exc).__name__}") from exc
        text = response.choices[0].message.content if response.choices else None
        if not text:
            raise EngineFailed("the model's answer is empty")
        counts = getattr(response, "usage", None)
        return text, Usage(
            prompt_tokens=getattr(counts, "prompt_tokens", 0) or 0,
            completion_tokens=getattr(counts, "completion_tokens", 0) or 0,
            cost_usd=response._hidden_params.get("response_cost") or None,  # noqa: SLF001 - where litellm puts it
        )

    async def _call(self, turns: list[dict[str, str]]) -> Any:
        form = {"response_format": self._form} if self._form else {}
        return await self._litellm.acompletion(
            model=self._model, messages=turns, temperature=0, max_tokens=_MAX_ANSWER_TOKENS,
            timeout=self._timeout, max_retries=0, num_retries=0, **form, **self._base,
        )  # fmt: skip

    async def close(self) -> None:
        """Close the model's connections."""
        await self._litellm.close_litellm_async_clients()


def open_llm(settings: Settings) -> Llm | None:
    """The configured model, or None. Imports litellm, which takes about two seconds."""
    if settings.llm_model is None:
        return None
    # Or it fetches a price list from the network, and reads a .env from the working folder.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_OFFLINE_MODE", "true")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    gc.disable()  # a third of the import is garbage collection
    try:
        import litellm  # noqa: PLC0415 - only when a model is configured
    finally:
        gc.enable()
    litellm.suppress_debug_info = True
    litellm.drop_params = True
    return Llm(litellm, settings)


def _sum(one: Usage, other: Usage) -> Usage:
    cost = None if one.cost_usd is None or other.cost_usd is None else one.cost_usd + other.cost_usd
    return Usage(one.prompt_tokens + other.prompt_tokens, one.completion_tokens + other.completion_tokens, cost)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {_clean(str(key)): _cleaned(item) for key, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


def _clean(text: str) -> str:
    return "".join(c for c in text[:_MAX_TEXT] if c.isprintable() or c == "\n")
