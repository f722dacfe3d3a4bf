"""The engine: within a deadline and its limits, the configured models are asked in their order. Owns the retries.

Whatever goes wrong is `EngineFailed`, whose reason says which limit or which fault, and the rule decides.

Servers differ in how they take a wish for JSON. The rungs, best first: a JSON schema, any JSON object, plain text; the
two lower ones have the schema in the prompt. A 400 steps one down, for good once an answer came below it. The repair of
an answer that cannot be read is asked for one rung lower; the model steps down itself after several of these in a row.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import msgspec

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.confidence import Trust, percent
from pipeline.errors import EngineFailed, Failure, Rejected
from pipeline.llm.answer import (
    PROMPT,
    PROMPT_VERSION,
    Answer,
    Unreadable,
    bounded,
    checked,
    parse,
    question,
    repair,
    schema_of,
    tamed,
    unquoted,
)
from pipeline.llm.bucket import Bucket
from pipeline.llm.budget import Budget, Spent, nothing_spent
from pipeline.llm.cache import Cache, key_of
from pipeline.llm.call import MAX_ANSWER_TOKENS, CallFailed, FormRefused, Model, Reply, open_models, tokens_in
from pipeline.nearest import Advice
from pipeline.settings import Settings
from schemas import Action, EnrichedAnomaly, ModelCall, Usage

_RUNGS = ("json_schema", "json_object", "text")
_MAX_FAULT = 240
T = TypeVar("T")


@dataclass(slots=True)
class Question(Generic[T]):
    """What is asked, in a system and a user turn, and what its calls have cost so far.

    ``schema`` is the answer's; ``read`` makes it of the reply's text, and raises `Rejected`, or `Unreadable` where it
    is of another form. Each call is added to ``calls`` before it is sent.
    """

    system: str
    text: str
    schema: dict[str, Any]
    read: Callable[[str], T]
    calls: list[ModelCall] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    counted: int = 0

    def told(self) -> str:
        """The schema, for a server that takes none."""
        return msgspec.json.encode(self.schema).decode()

    def add(self, reply: Reply) -> None:
        """The cost is None as soon as that of one call is not known."""
        before = 0.0 if not self.counted else self.usage.cost_usd
        self.counted += 1
        self.usage = Usage(
            self.usage.prompt_tokens + reply.prompt_tokens,
            self.usage.completion_tokens + reply.completion_tokens,
            None if reply.cost_usd is None or before is None else before + reply.cost_usd,
        )


class Llm:
    """The models and what limits them, for one worker."""

    def __init__(
        self, models: Sequence[Model], settings: Settings, spent: Spent, prompt: str = PROMPT
    ) -> None:  # fmt: skip
        self._models = models
        self._prompt = prompt
        self._timeout = settings.llm_timeout
        self._redact = settings.redact
        self._in_flight = settings.llm_in_flight
        self._slots = asyncio.Semaphore(settings.llm_in_flight)
        self._requests = Bucket(settings.llm_requests_per_minute)
        self._tokens = Bucket(settings.llm_tokens_per_minute)
        self._budget = Budget(settings.llm_daily_usd, spent)
        self._cache: Cache[tuple[str, Answer]] = Cache(settings.llm_cache_seconds)

    async def advise(
        self, enriched: EnrichedAnomaly, catalogue: Catalogue, sure: Trust, least: float,
        calls: list[ModelCall] | None = None,
    ) -> Advice:  # fmt: skip
        """Ask, check, and once ask for a repair; all within the deadline. Raises `EngineFailed`.

        Advice that is trusted less than ``least`` becomes an escalation that says what was advised. Each question is
        added to ``calls`` before it is sent: so it is told also where this raises.
        """

        def read(text: str) -> Answer:
            answer = parse(text, Answer)
            checked(answer, enriched, catalogue)
            return answer

        asked = Question(
            self._prompt, question(enriched, catalogue, redact=self._redact), schema_of(enriched, catalogue), read,
            [] if calls is None else calls,
        )  # fmt: skip
        model, answer = await self._answered(asked, enriched.anomaly.service or "")
        action, match = checked(answer, enriched, catalogue)
        advice = Advice(
            verdict=answer.verdict,
            action=action,
            matched_incident=match.incident_id if match else None,
            confidence=bounded(answer, enriched, match, sure),
            rationale=tamed(answer.rationale),
            engine="llm",
            model=model,
            prompt_version=PROMPT_VERSION,
            usage=asked.usage,
        )
        return advice if advice.verdict == "escalate" or advice.confidence >= least else _doubted(advice)

    async def _answered(self, asked: Question[Answer], service: str) -> tuple[str, Answer]:
        """Which model said what, now or to an equal question of a moment ago; equal ones at once are asked once."""
        deadline = _now() + self._timeout
        key = key_of(self._prompt, asked.text, asked.told(), service)
        turn = self._cache.turn(key)
        await self._wait_for_an_equal(turn, deadline)
        try:
            known = self._cache.get(key)
            if known is None:
                known = await self.ask(asked, deadline)
                self._cache.put(key, known)
                return known
        finally:
            turn.release()
        asked.usage = Usage(0, 0, 0.0)
        messages = [{"role": "system", "content": asked.system}, {"role": "user", "content": asked.text}]
        said = msgspec.json.encode(known[1]).decode()
        outcome = "the cached answer to an equal question"
        asked.calls.append(ModelCall(messages=messages, answer=said, outcome=outcome))
        return known

    async def _wait_for_an_equal(self, turn: asyncio.Lock, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await turn.acquire()
        except TimeoutError as exc:
            raise EngineFailed(
                "call", f"an equal question was being asked: no answer within {self._timeout:g} s"
            ) from exc

    async def ask(self, asked: Question[T], deadline: float | None = None) -> tuple[str, T]:
        """Which model said what, within LLM_TIMEOUT or by ``deadline``, and behind the gates that hold for all models.

        Raises `EngineFailed`, with what the calls have cost.
        """
        if deadline is None:
            deadline = _now() + self._timeout
        try:
            await self._check_budget()
            await self._take_slot(deadline)
            try:
                await self._check_budget()  # again: those before it in the queue may have spent the rest
                return await self._first_of_all(asked, deadline)
            finally:
                self._slots.release()
        except EngineFailed as exc:
            raise EngineFailed(exc.failure, exc.reason, asked.usage) from exc

    async def _check_budget(self) -> None:
        if await self._budget.is_spent():
            raise EngineFailed("budget", "the day's budget for the model is spent (LLM_DAILY_USD)")

    async def _take_slot(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError as exc:
            raise EngineFailed(
                "busy",
                f"{self._in_flight} decisions were in flight (LLM_IN_FLIGHT): no answer within {self._timeout:g} s",
            ) from exc

    async def _first_of_all(self, asked: Question[T], deadline: float) -> tuple[str, T]:
        """Each model has an equal share of the time that is left; the last one has all of it."""
        faults: list[str] = []
        last: Failure = "call"
        for place, model in enumerate(self._models):
            until = _now() + (deadline - _now()) / (len(self._models) - place)
            try:
                return model.name, await self._by(model, asked, until)
            except EngineFailed as exc:
                last = exc.failure
                faults.append(exc.reason if len(self._models) == 1 else f"{model.name}: {exc.reason}")
        raise EngineFailed(last, "; ".join(faults))

    async def _by(self, model: Model, asked: Question[T], until: float) -> T:
        """One question and at most one repair: with a plainer wish for a form where the first answer was no answer."""
        rung, mend = model.rung, ""
        refused = rung
        while True:
            form = _form(rung, asked.schema)
            told = "" if rung == 0 else f"\n\nThe answer's JSON Schema: {asked.told()}"
            # The repair in the system turn: some chat templates refuse two user turns in a row.
            turns = [
                {"role": "system", "content": asked.system + told + mend},
                {"role": "user", "content": asked.text},
            ]
            try:
                answer = asked.read(await self._ask(model, turns, form, until, asked))
            except FormRefused:  # never on the last rung, which wishes for no form
                asked.calls[-1].outcome = "the server refused the wish for a form"
                rung = refused = rung + 1
                continue
            except Rejected as exc:
                asked.calls[-1].outcome = f"refused: {exc.reason}"
                if mend:
                    fault = f"the model's answer was refused: {unquoted(exc.reason)}"[:_MAX_FAULT]
                    raise EngineFailed("answer", fault) from exc
                mend = f"\n\n{repair(exc.reason)}"
                if isinstance(exc, Unreadable) and rung < len(_RUNGS) - 1:
                    rung += 1
                    model.misread(rung)
                continue
            asked.calls[-1].outcome = "accepted"
            model.understood(refused, at_once=not mend)
            return answer

    async def _ask(
        self, model: Model, turns: list[dict[str, str]], form: dict[str, Any], until: float, asked: Question[Any]
    ) -> str:
        """The reply's text, maybe empty. Asked once more where it says when, in time, or a connection broke."""
        try:
            try:
                return await self._call(model, turns, form, until, asked)
            except CallFailed as exc:
                if exc.pause is None or exc.pause >= until - _now():
                    raise
                await asyncio.sleep(exc.pause)
                return await self._call(model, turns, form, until, asked)
        except CallFailed as exc:
            raise EngineFailed("call", exc.reason) from exc

    async def _call(
        self, model: Model, turns: list[dict[str, str]], form: dict[str, Any], until: float, asked: Question[Any]
    ) -> str:
        """One call within the rates, the circuit and the time; what it costs is counted whether it succeeds or not."""
        tokens = tokens_in(turns) + MAX_ANSWER_TOKENS
        await self._wait_for(tokens, until)
        if not model.breaker.allows():
            self._requests.give_back(1)
            self._tokens.give_back(tokens)
            why = "the model failed too often in a row and is left alone (LLM_BREAKER_SECONDS)"
            raise EngineFailed("circuit", f"{why}; {model.keyless}" if model.keyless else why)
        call = ModelCall(messages=[dict(turn) for turn in turns], form=form.get("type"))
        asked.calls.append(call)
        started = _now()
        try:
            reply = await model.ask(turns, form, until)
        except CallFailed as exc:
            call.outcome = exc.reason
            if exc.cost is not None:
                self._count(exc.cost, asked)
            raise
        finally:
            call.ms = round((_now() - started) * 1000, 2)
        call.answer = reply.text
        call.usage = Usage(reply.prompt_tokens, reply.completion_tokens, reply.cost_usd)
        self._count(reply, asked)
        self._tokens.give_back(tokens - reply.prompt_tokens - reply.completion_tokens)
        return reply.text

    async def _wait_for(self, tokens: int, until: float) -> None:
        patience = until - _now()
        wait = self._requests.reserve(1, patience)
        if wait is None:
            raise EngineFailed("rate", "too many calls of the model in a minute (LLM_REQUESTS_PER_MINUTE)")
        longer = self._tokens.reserve(tokens, patience)
        if longer is None:
            self._requests.give_back(1)
            raise EngineFailed("rate", "too many tokens for the model in a minute (LLM_TOKENS_PER_MINUTE)")
        await asyncio.sleep(max(wait, longer))

    def _count(self, reply: Reply, asked: Question[T]) -> None:
        asked.add(reply)
        self._budget.add(reply.cost_usd)

    @property
    def lacking(self) -> list[tuple[str, list[str]]]:
        """Each model that has no key, with the variables that may hold it."""
        return [(model.name, model.lacks) for model in self._models if model.lacks]

    async def close(self) -> None:
        """Close the models' connections."""
        await self._models[0].close()


def open_llm(settings: Settings, spent: Spent = nothing_spent, prompt: str | None = None) -> Llm | None:
    """The engine, or None where no model is configured. ``spent`` tells it what the day has cost so far.

    ``prompt`` takes the place of our system prompt.

    Raises `Misconfigured` for a model that no provider known to litellm serves.
    """
    models = open_models(settings)
    return Llm(models, settings, spent, prompt or PROMPT) if models else None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _doubted(advice: Advice) -> Advice:
    """Ask a human, and say what the model would have done."""
    sure = percent(advice.confidence)
    why = f"The model would {advice.action.name}, but that is only {sure} sure. {advice.rationale}"
    action = Action(ESCALATE, advice.action.target)
    return replace(advice, verdict="escalate", action=action, matched_incident=None, rationale=why)


def _form(rung: int, schema: dict[str, Any]) -> dict[str, Any]:
    if _RUNGS[rung] == "json_schema":
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": False}}
    return {"type": "json_object"} if _RUNGS[rung] == "json_object" else {}
