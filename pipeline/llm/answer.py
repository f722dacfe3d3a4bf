"""What a model is asked and how its answer is read and held to evidence and catalogue. Pure functions."""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, TypeVar

import msgspec

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.confidence import Trust
from pipeline.errors import Rejected
from pipeline.nearest import aimed_at, confidence_in
from pipeline.redact import names_secret, redacted, visible
from schemas import Action, EnrichedAnomaly, Evidence, Value

PROMPT_VERSION = "decide-v3"
PROMPT = resources.files("pipeline").joinpath(f"prompts/{PROMPT_VERSION}.md").read_text()
_MAX_TEXT = 2000
_SEEN = 4
"""How many times what is kept of a text is looked at for secrets before it is cut: none is cut in two and so missed."""
_MAX_WORD = 500
_MAX_NAME = 200
"""Characters of a label or of a parameter, its name and its value: there are many of them."""
_MAX_ITEMS = 50
_MAX_REASON = 200
_MAX_ANSWER = 20_000
_UNTOLD = ("id", "occurred_at", "link")
"""Fields of an anomaly that tell a model nothing, and make equal questions different."""
_ID = re.compile(r"(?!evidence-\d)[\w.:/#@+-]{1,100}")
"""What is told of an incident's id as it is: it also stands in the answer's schema, which a model takes for ours."""
_TURN = re.compile(r"<(?=[^\s<])|\[(?=/?(?:[A-Z]|gMASK))")
"""What the marks of a chat template begin with. In JSON outside of a text neither is found."""
# A field that is missing is the form's own: its name is what the next answer needs.
_MADE_UP = re.compile(r"""(action|parameter|(?<!missing required )field|value) (['"`]).*\2""", re.DOTALL)
_LINK = re.compile(
    r"(?:[a-z][a-z0-9+.-]{0,40}:[/\\]{2}|https?:(?=\s{0,4}[/\\]|\S)|www\."
    r"|(?<![a-z])(?:javascript|vbscript|data|mailto|tel|file|slack|sms|sips?|callto|facetime|magnet|intent):(?=\S))[^\s\u2039\u203a)]{0,2000}",
    re.IGNORECASE,
)
T = TypeVar("T")
_MENTION = re.compile(r"[@\uff20\ufe6b](?=\w)")
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
    evidence = [_evidence_told(item, catalogue) for item in enriched.evidence]
    actions = {
        name: {"description": spec.description, "risk": spec.risk, "parameters": msgspec.to_builtins(spec.parameters)}
        for name, spec in ((name, catalogue.get(name)) for name in catalogue.names)
    }
    data = {
        "anomaly": _cleaned({name: value for name, value in anomaly.items() if name not in _UNTOLD}, redact),
        "evidence": [
            {"incident_id": _id_told(place, item)} | _cleaned(told, redact)
            for place, (item, told) in enumerate(zip(enriched.evidence, evidence, strict=True), 1)
        ],
        "actions": actions,
    }
    return as_data(data)


def as_data(data: Mapping[str, Any]) -> str:
    """One JSON object. A server that looks for marks of its chat template finds none: JSON spells them otherwise."""
    return _TURN.sub(lambda found: f"\\u{ord(found[0]):04x}", msgspec.json.encode(data).decode())


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
    ids = list(_by_id(enriched))
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


def parse(text: str, form: type[T]) -> T:
    """The JSON object in the model's text, also inside a code fence, as ``form`` has it. Raises `Unreadable`."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start or len(text) > _MAX_ANSWER:
        raise Unreadable("the answer holds no JSON object" if text.strip() else "the answer is empty")
    try:
        return msgspec.json.decode(text[start : end + 1], type=form)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
        raise Unreadable(unquoted(f"the answer is not of the form: {exc}")) from exc


def repair(reason: str) -> str:
    """What the next question adds. What was wrong is said, what was answered is not repeated: it may hold anything."""
    return f"An earlier answer to this was refused: {unquoted(reason)}. Avoid that. Answer with the JSON object only."


def unquoted(reason: str) -> str:
    """Why an answer is refused, in a line, without the words that it was refused for.

    They go before the line is cut: what is cut off may be the quote that ends them.
    """
    return _line(_MADE_UP.sub(r"\1 \2…\2", reason))


def checked(answer: Answer, enriched: EnrichedAnomaly, catalogue: Catalogue) -> tuple[Action, Evidence | None]:
    """The action and the evidence it rests on. Raises `Rejected` for anything outside evidence or catalogue."""
    evidence = _by_id(enriched)
    if answer.matched_incident is not None and answer.matched_incident not in evidence:
        raise Rejected("matched_incident is none of the evidence")
    if not 0 <= answer.confidence <= 1:
        raise Rejected("confidence is not between 0 and 1")
    if (answer.verdict == "escalate") != (answer.action == ESCALATE):
        raise Rejected(f"verdict {answer.verdict} does not go with the action")
    if answer.verdict == "recommend" and answer.matched_incident is None:
        raise Rejected("a recommendation names no evidence")
    match = evidence.get(answer.matched_incident or "")
    if answer.verdict == "recommend" and not any(_cites(answer.rationale, name) for name in evidence):
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
        if isinstance(value, str) and value not in {*spec.choices, spec.default, *_done_with(name, action, enriched)}:
            raise Rejected(f"{action.name}: {name} is neither the default nor that of the evidence")
    return action, match


def bounded(answer: Answer, enriched: EnrichedAnomaly, match: Evidence | None, sure: Trust) -> float:
    """The model's own confidence, at most what the evidence allows: a statement is no probability.

    For a recommendation that is `pipeline.nearest.confidence_in` the match, and in what did this action: none is lent
    to what was done elsewhere. An escalation has that of the nearest.
    """
    if match is None or answer.verdict == "escalate":
        return sure.right
    bounds = [confidence_in(place, enriched.evidence, sure) for place in range(len(enriched.evidence))]
    of_match = bounds[enriched.evidence.index(match)]
    done = [bound for bound, item in zip(bounds, enriched.evidence, strict=True) if _did(answer.action, item)]
    of_action = of_match if match.action is None else max(done, default=0.0)
    return round(max(0.0, min(answer.confidence, of_match, of_action)), 4)  # 0.0 first: it is chosen before -0.0


def tamed(rationale: str) -> str:
    """A model's words without links, mentions and markup: whoever wrote the anomaly may have written them."""
    text = _clean(rationale).translate(_MARKUP)  # first: what takes the place of markup must not make a link
    return _MENTION.sub("(at)", _LINK.sub("(link removed)", text))


def _grounded(action: Action, match: Evidence, enriched: EnrichedAnomaly, catalogue: Catalogue) -> bool:
    """Whether some evidence did that and it did not fail, or the match tells in words alone what was done."""
    if match.action is None:
        return catalogue.get(action.name).risk != "high"
    return any(_did(action.name, item) for item in enriched.evidence)


def _did(action: str, item: Evidence) -> bool:
    return item.action is not None and item.action.name == action and item.outcome != "failed"


def _done_with(parameter: str, action: Action, enriched: EnrichedAnomaly) -> list[Value | None]:
    """What that parameter of the action was in the evidence."""
    return [
        item.action.parameters.get(parameter) for item in enriched.evidence if item.action and _did(action.name, item)
    ]


def _cites(rationale: str, name: str) -> bool:
    """Whether it names just that: inc-10 is not inc-1."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", rationale) is not None


def _by_id(enriched: EnrichedAnomaly) -> dict[str, Evidence]:
    """The evidence by the ids that the model is told."""
    found: dict[str, Evidence] = {}
    for place, item in enumerate(enriched.evidence, 1):
        found.setdefault(_id_told(place, item), item)
    return found


def _id_told(place: int, item: Evidence) -> str:
    """The id as it is, for an answer must name it so; its place instead, where it is no plain name or is a secret."""
    plain = _ID.fullmatch(item.incident_id) and _told(item.incident_id, redact=True) == item.incident_id
    return item.incident_id if plain else f"evidence-{place}"


def _evidence_told(item: Evidence, catalogue: Catalogue) -> dict[str, Any]:
    """Without its id; and without parameters that the catalogue does not let anybody repeat."""
    shown: dict[str, Any] = msgspec.to_builtins(item)
    del shown["incident_id"]
    if item.action is not None and catalogue.fault(item.action):
        shown["action"]["parameters"] = {}
    return shown


def _cleaned(value: Any, redact: bool, most: int = _MAX_TEXT) -> Any:  # noqa: FBT001 - the setting
    """Texts of up to ``most`` characters; what is in a mapping within one is a name or a value, and shorter."""
    if isinstance(value, str):
        return _told(value, redact, most)
    if isinstance(value, dict):
        return {
            _told(str(key), redact, _MAX_NAME): _told_as(visible(str(key)), item, most)
            if redact and isinstance(item, str)
            else _cleaned(item, redact, _MAX_NAME if isinstance(item, dict) else most)
            for key, item in list(value.items())[:_MAX_ITEMS]
        }
    return [_cleaned(item, redact) for item in value[:_MAX_ITEMS]] if isinstance(value, list) else value


def _told_as(name: str, text: str, most: int) -> str:
    """What the model is told of a text that is called so: the name says of some what no look at them does."""
    if names_secret(name):
        return "[redacted:secret]"
    called = f"{name[:_MAX_NAME]}: "
    both = _told(called + text, redact=True, most=len(called) + most)
    return both.removeprefix(called) if both.startswith(called) else _told(text, redact=True, most=most)


def _told(text: str, redact: bool, most: int = _MAX_TEXT) -> str:  # noqa: FBT001
    """What the model is told of a text. Of a long one the last word may be a secret cut in two: it goes."""
    seen = most * _SEEN
    if len(text) > seen:
        text = text[: max(text.rfind(" ", 0, seen), text.rfind("\n", 0, seen), seen - _MAX_WORD)]
    return _seen(text, redact)[:most]


@lru_cache(2048)
def _seen(text: str, redact: bool) -> str:  # noqa: FBT001
    """Remembered: evidence is told again and again, and some thirty patterns look at each of its texts."""
    seen = visible(text)
    return (redacted(seen) if redact else seen)[: _MAX_TEXT + _MAX_NAME + 2]


def _clean(text: str) -> str:
    return visible(text[:_MAX_TEXT])


def _line(text: str) -> str:
    return " ".join(_clean(text).split())[:_MAX_REASON]
