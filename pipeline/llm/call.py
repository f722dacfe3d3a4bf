"""One call of one model. The only module that speaks to litellm, whose errors are told apart here by status and type.

litellm is heavy and is imported only when a model is configured. Its retries, timeouts, router and cache are off.
"""

import asyncio
import gc
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import structlog

from pipeline.errors import Misconfigured
from pipeline.later import retry_after
from pipeline.llm.breaker import Breaker
from pipeline.llm.connections import Connections
from pipeline.settings import Settings

MAX_ANSWER_TOKENS = 400
_MOST_TOKENS = 10_000_000
"""Of one call: more than any model takes. A server that counts more, or nothing asked, is not believed."""
_OK_WITHOUT = {400, 413, 422}
"""Statuses that speak of this question, and not of the server."""
# What litellm lets through from its own parsing of an answer that lacks what it expects.
_UNCHECKED = (AttributeError, KeyError, IndexError, TypeError, ValueError, OSError)
_SHUT_OUT = {401, 403}
_NOT_NOW = {429, 503, 529}
"""Too many, away for a while, overloaded (Anthropic's): statuses that may say when to ask again."""
_READ = range(200, 300)
_GONE = {"TransportError", "ClientConnectionError", "ConnectionError"}
_NEVER_THERE = {"ClientConnectorError", "ConnectionRefusedError", "TimeoutException"}
"""Of a connection that did not come about, or on which nothing came: no second try mends that."""
_MISREADINGS = 3
"""First answers in a row that cannot be read before a plainer form is asked for at once."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call gave and cost; ``cost_usd`` is None where the price is not known."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None


class FormRefused(Exception):
    """The server answered 400: it may not know this response_format."""


class CallFailed(Exception):
    """No reply. ``pause``: seconds until it may be asked again. ``cost`` is what it may have cost nevertheless."""

    def __init__(self, reason: str, pause: float | None = None, cost: Reply | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause = pause
        self.cost = cost


class Model:
    """One model at one server. ``litellm`` is the imported module; ``rung`` is the engine's, see there.

    ``connections`` are those of all models.

    ``lacks`` are the variables of which one should hold its provider's key, and none does.
    """

    def __init__(
        self, litellm: Any, name: str, api_base: str | None, settings: Settings, connections: Connections
    ) -> None:  # fmt: skip
        self.name = name
        self._connections = connections
        self.rung = 0
        self._misread = 0
        self.breaker = Breaker(settings.llm_breaker_failures, settings.llm_breaker_seconds)
        self._litellm = litellm
        self._timeout = settings.llm_timeout + 1
        self._least = settings.llm_timeout / (1 + len(settings.llm_fallbacks)) / 2
        self._base = {"api_base": api_base} if api_base else {}
        if api_base and _provider(litellm, name) == "openai":
            # A local server asks for no key, the client insists on one. Other providers read their own variables.
            self._base["api_key"] = settings.openai_api_key or "none"
        self.lacks = [] if api_base else _lacks(litellm, name)
        if self.lacks:
            log.warning(
                "model_key_missing", model=name, mend=f"set {' or '.join(self.lacks)}; until then the rule decides"
            )
        self._price = _price(litellm, name, settings)
        if self._price is None and settings.llm_daily_usd:
            log.warning("model_price_unknown", model=name, mend="LLM_INPUT_USD and LLM_OUTPUT_USD, or it counts as 0")

    @property
    def keyless(self) -> str | None:
        """Why it can hardly answer, in the words of a reason; None where it has its key or needs none."""
        return f"no key for its provider: {' or '.join(self.lacks)} is not set" if self.lacks else None

    def misread(self, next_rung: int) -> None:
        """It gave no answer in its form. After `_MISREADINGS` in a row the next question begins with a plainer one."""
        self._misread += 1
        if self._misread >= _MISREADINGS:
            self.rung, self._misread = max(self.rung, next_rung), 0

    def understood(self, least: int, *, at_once: bool) -> None:
        """It answered. Forms below ``least`` the server has refused. ``at_once``: without a repair."""
        self.rung = max(self.rung, least)
        if at_once:
            self._misread = 0

    async def ask(self, turns: list[dict[str, str]], form: dict[str, Any], deadline: float) -> Reply:
        """The reply, before ``deadline`` of the loop's clock. Raises `FormRefused` and `CallFailed`.

        Any reply closes the circuit, nonsense too: who writes an alert must not be able to open it for everybody.
        Silence for less than half of its share of LLM_TIMEOUT does not open it: the rest went by in a queue of ours.
        """
        seconds = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._ask(turns, form)
        except TimeoutError as exc:
            if seconds >= self._least:
                self.breaker.failed()
            raise CallFailed(f"the model gave no answer within {seconds:.1f} s", cost=self._guess(turns)) from exc
        except (*self._litellm.LITELLM_EXCEPTION_TYPES, *_UNCHECKED) as exc:
            status = getattr(exc, "status_code", None)
            if status not in _OK_WITHOUT:
                self.breaker.failed()
            refused = type(exc).__name__ in {"BadRequestError", "UnsupportedParamsError"}  # not: context, policy
            if form and refused and status in {400, 422}:
                raise FormRefused from exc
            raise CallFailed(failure(exc, self.keyless), _pause(exc)) from exc
        self.breaker.succeeded()
        return reply

    async def _ask(self, turns: list[dict[str, str]], form: dict[str, Any]) -> Reply:
        wish = {"response_format": form} if form else {}
        # litellm's own timeout misses slow answers, and ours is always the first. The same in each call: litellm opens
        # another client, with connections of its own, for each other value.
        response = await self._litellm.acompletion(
            model=self.name, messages=turns, temperature=0, max_tokens=MAX_ANSWER_TOKENS,
            timeout=self._timeout, max_retries=0, num_retries=0, shared_session=self._connections.session(),
            **wish, **self._base,
        )  # fmt: skip
        if response is None:  # what litellm gives where the server answered 422 to the question and to its repetition
            raise FormRefused if form else CallFailed("the model answered 422")
        text = (response.choices[0].message.content if response.choices else None) or ""
        counts = getattr(response, "usage", None)
        asked, answered = (getattr(counts, f"{kind}_tokens", 0) or 0 for kind in ("prompt", "completion"))
        if not (0 < asked <= _MOST_TOKENS and 0 <= answered <= _MOST_TOKENS):
            return replace(self._guess(turns), text=text)
        cost = (getattr(response, "_hidden_params", None) or {}).get("response_cost") or None  # 0 means unknown, too
        return Reply(text, asked, answered, self._cost(asked, answered) if cost is None else cost)

    def _cost(self, asked: int, answered: int) -> float | None:
        return None if self._price is None else asked * self._price[0] + answered * self._price[1]

    def _guess(self, turns: list[dict[str, str]]) -> Reply:
        """What a call is charged with that was given up, or whose count cannot be: all that it could have written."""
        asked = tokens_in(turns)
        return Reply("", asked, MAX_ANSWER_TOKENS, self._cost(asked, MAX_ANSWER_TOKENS))

    async def close(self) -> None:
        """Close all models' connections, and litellm's own: it would take a client that is closed for the next one."""
        await self._litellm.close_litellm_async_clients()
        self._litellm.in_memory_llm_clients_cache.flush_cache()
        await self._connections.close()


def open_models(settings: Settings) -> list[Model]:
    """The configured models, the first choice first; none where LLM_MODEL is not set. The import takes some seconds.

    Raises `Misconfigured` for a model that no provider known to litellm serves.
    """
    if settings.llm_model is None:
        return []
    # Or it fetches a price list from the network, and reads a .env from the working folder.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_OFFLINE_MODE", "true")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    # Its own are 500 to a server and 1,000 in all: what is in flight beyond them would wait in its deadline.
    for limit in ("AIOHTTP_CONNECTOR_LIMIT", "AIOHTTP_CONNECTOR_LIMIT_PER_HOST"):
        os.environ.setdefault(limit, str(max(1000, settings.llm_in_flight)))
    gc.disable()  # a third of the import is garbage collection
    try:
        import litellm  # noqa: PLC0415 - only when a model is configured
        import openai.resources  # noqa: F401, PLC0415 - or litellm's first call does, for most of a second
    finally:
        gc.enable()
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.WARNING)  # Faust lowers the root's: a line for each call, else
    litellm.drop_params = True
    _provider(litellm, settings.llm_model)
    known = litellm.constants
    connections = Connections(
        limit=known.AIOHTTP_CONNECTOR_LIMIT, limit_per_host=known.AIOHTTP_CONNECTOR_LIMIT_PER_HOST,
        keepalive_timeout=known.AIOHTTP_KEEPALIVE_TIMEOUT, ttl_dns_cache=known.AIOHTTP_TTL_DNS_CACHE,
    )  # fmt: skip
    models = [Model(litellm, settings.llm_model, settings.llm_api_base, settings, connections)]
    for name, server in settings.llm_fallbacks:
        _provider(litellm, name, "LLM_FALLBACK_MODELS")
        models.append(Model(litellm, name, server, settings, connections))
    return models


def tokens_in(turns: list[dict[str, str]]) -> int:
    """About how many tokens a question has: four characters each."""
    return sum(len(turn["content"]) for turn in turns) // 4


def _provider(litellm: Any, model: str, variable: str = "LLM_MODEL") -> str:
    """Who serves a model of this name. Raises `Misconfigured` where litellm cannot tell."""
    try:
        return str(litellm.get_llm_provider(model)[1])
    except litellm.exceptions.BadRequestError as exc:
        raise Misconfigured(
            variable, f"{model!r} names no provider that litellm knows", f"openai/{model} for a server of your own"
        ) from exc


def _lacks(litellm: Any, model: str) -> list[str]:
    """Only keys: what else a provider may want (a region, a role), litellm cannot tell from the environment alone."""
    missing = litellm.validate_environment(model)["missing_keys"]
    return missing if all(name.endswith("_API_KEY") for name in missing) else []


def _price(litellm: Any, model: str, settings: Settings) -> tuple[float, float] | None:
    """US dollars for a token asked and answered: as set, else as litellm knows."""
    if settings.llm_input_usd or settings.llm_output_usd:
        return settings.llm_input_usd / 1e6, settings.llm_output_usd / 1e6
    known = litellm.model_cost.get(model) or litellm.model_cost.get(model.split("/", 1)[-1]) or {}
    asked, answered = known.get("input_cost_per_token"), known.get("output_cost_per_token")
    return (asked, answered) if asked and answered else None


def failure(exc: BaseException, keyless: str | None = None) -> str:
    """Why a call failed, short and stable: by status and types, never by what the error says.

    A provider's client that has no key fails before it asks, with the same types as over an answer that nobody can
    read, or is refused: where ``keyless`` says that there is none, that is why.
    """
    status = getattr(exc, "status_code", None)
    if _unanswered(exc):
        if _names(exc) & _GONE:
            return "the model's server refused or dropped the connection"
        return f"the model cannot be asked: {keyless}" if keyless else "the model call gave nothing to read"
    if keyless and status in _SHUT_OUT:
        return f"the model answered {status}: {keyless}"
    return f"the model answered {status}" if status else f"the model call failed: {type(exc).__name__}"


def _unanswered(exc: BaseException) -> bool:
    """No answer at all, or none that litellm could read: it calls them 500, or by the status that came with it."""
    status = getattr(exc, "status_code", None)
    return status in _READ or (status == 500 and "HTTPStatusError" not in _names(exc))  # noqa: PLR2004


def _pause(exc: BaseException) -> float | None:
    """What it asks for. No time where the server let go of a connection: it may have thought that one idle."""
    if _unanswered(exc) and (names := _names(exc)) & _GONE and not names & _NEVER_THERE:
        return 0.0
    if getattr(exc, "status_code", None) not in _NOT_NOW:
        return None
    return retry_after(getattr(exc, "litellm_response_headers", None) or {})


def _names(exc: BaseException) -> set[str]:
    return {cls.__name__ for error in _causes(exc) for cls in type(error).__mro__}


def _causes(exc: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = exc
    for _ in range(10):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__
