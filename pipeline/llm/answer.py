"""What a model is asked and how its answer is read and held to evidence and catalogue. Pure functions."""

import re
from importlib import resources
from typing import Any, Literal

import msgspec

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.confidence import Trust
from pipeline.errors import Rejected
from pipeline.nearest import aimed_at, confidence_in
from pipeline.redact import names_secret, redacted, visible
from schemas import Action, EnrichedAnomaly, Evidence, Value

PROMPT_VERSION = "decide-v2"
PROMPT = resources.files("pipeline").joinpath(f"prompts/{PROMPT_VERSION}.md").read_text()
_MAX_TEXT = 2000
_MAX_SEEN = 8000
"""Characters of a text that are looked at for secrets before it is cut: none is cut in two and so missed."""
_MAX_ITEMS = 50
_MAX_REASON = 200
_MAX_ANSWER = 20_000
_UNTOLD = ("id", "occurred_at", "link")
"""Fields of an anomaly that tell a model nothing, and make equal questions different."""
_MADE_UP = re.compile(r"""(action|parameter|field|value) (['"`]).*\2""", re.DOTALL)
_PLAIN_NAME = re.compile(r"[\w -]{1,60}", re.ASCII)
_LINK = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{1,15}://|(?:javascript|vbscript|data|mailto|tel|file|slack):|www\.)[^\s<>|)\]]{0,2000}",
    re.IGNORECASE,
)
_MENTION = re.compile(r"[@\uff20](?=\w)")
_MARKUP = str.maketrans("<>|`*~[]\uff1c\uff1e", "\u2039\u203a/'    \u2039\u203a")


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model must answer."""

    verdict: Literal["recommend", "escalate"]
    action: str
    parameters: dict[str, Value] = {}
    matched_incident: str | None = None
    confidence: float
    rationale: str


class Unreadable(Rejected):
    """The reply holds no answer of the form that was asked for, whatever it says."""


def question(enriched: EnrichedAnomaly, catalogue: Catalogue, *, redact: bool = True) -> str:
    """The user turn: one JSON object of data, its texts and lists cut, without what cannot be seen, and redacted."""
    anomaly = msgspec.to_builtins(enriched.anomaly)
    evidence = msgspec.to_builtins(enriched.evidence)
    ids = [item.pop("incident_id") for item in evidence]  # an answer must name them as they are
    actions = {
        name: {"description": spec.description, "risk": spec.risk, "parameters": msgspec.to_builtins(spec.parameters)}
        for name, spec in ((name, catalogue.get(name)) for name in catalogue.names)
    }
    data = {
        "anomaly": _cleaned({name: value for name, value in anomaly.items() if name not in _UNTOLD}, redact),
        "evidence": [{"incident_id": name} | item for name, item in zip(ids, _cleaned(evidence, redact), strict=False)],
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
    if answer.verdict == "recommend" and not any(name in answer.rationale for name in evidence):
        raise Rejected("the rationale cites none of the evidence")
    then = match.action.target if match and match.action else None
    action = Action(answer.action, aimed_at(enriched.anomaly, then), answer.parameters)
    catalogue.check(action)
    if match and match.outcome == "failed" and match.action and match.action.name == action.name:
        raise Rejected("the action failed in the incident that it is said to rest on")
    if match and action.name != ESCALATE and not _grounded(action, match, enriched, catalogue):
        raise Rejected("the action worked in none of the evidence")
    for name, value in action.parameters.items():
        # A free text is the one place where a model could put words into the recommendation.
        spec = catalogue.get(action.name).parameters[name]
        free = isinstance(value, str) and value not in spec.choices and value != spec.default
        if free and not _PLAIN_NAME.fullmatch(str(value)):
            raise Rejected(f"{action.name}: {name} is not a plain name")
    return action, match


def bounded(answer: Answer, enriched: EnrichedAnomaly, match: Evidence | None, sure: Trust) -> float:
    """The model's own confidence, at most what the evidence allows: a statement is no probability.

    For a recommendation that is `pipeline.nearest.confidence_in` its evidence; an escalation has that of the nearest.
    """
    if match is None or answer.verdict == "escalate":
        return sure.right
    bound = confidence_in(enriched.evidence.index(match), enriched.evidence, sure)
    return round(max(min(answer.confidence, bound), 0.0), 4)


def tamed(rationale: str) -> str:
    """A model's words without links, mentions and markup: whoever wrote the anomaly may have written them."""
    text = _LINK.sub("(link removed)", _clean(rationale))
    return _MENTION.sub("(at)", text).translate(_MARKUP)


def _grounded(action: Action, match: Evidence, enriched: EnrichedAnomaly, catalogue: Catalogue) -> bool:
    """Whether some evidence did that and it did not fail, or the match tells in words alone what was done."""
    if match.action is None:
        return catalogue.get(action.name).risk != "high"
    return any(
        item.action is not None and item.action.name == action.name and item.outcome != "failed"
        for item in enriched.evidence
    )


def _cleaned(value: Any, redact: bool) -> Any:  # noqa: FBT001 - the setting
    if isinstance(value, str):
        return _told(value, redact)
    if isinstance(value, dict):
        return {
            _told(str(key), redact): "[redacted:secret]"
            if redact and isinstance(item, str) and names_secret(str(key))
            else _cleaned(item, redact)
            for key, item in list(value.items())[:_MAX_ITEMS]
        }
    return [_cleaned(item, redact) for item in value[:_MAX_ITEMS]] if isinstance(value, list) else value


def _told(text: str, redact: bool) -> str:  # noqa: FBT001
    seen = visible(text[:_MAX_SEEN])
    return (redacted(seen) if redact else seen)[:_MAX_TEXT]


def _clean(text: str) -> str:
    return visible(text[:_MAX_TEXT])


def _line(text: str) -> str:
    return " ".join(_clean(text).split())[:_MAX_REASON]
