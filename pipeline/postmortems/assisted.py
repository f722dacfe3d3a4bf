"""What the rules did not find in a post-mortem, by a model: it says where the page tells it, and never tells it itself.

So nothing can be made up. Prose is paragraphs of the page, which the model names by number; a name, a time or a
duration must stand in the page. What it judges, outcome and action, must rest on a mitigation that the page tells.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.errors import EngineFailed
from pipeline.llm.answer import as_data, parse
from pipeline.llm.engine import Llm, Question
from pipeline.postmortems.rules import LONGEST_TARGET, TOLD, Filled, minutes, when
from pipeline.redact import redacted, visible
from schemas import Action, Usage

_PROMPT = resources.files("pipeline").joinpath("prompts/read-v1.md").read_text()
_QUOTED = ("service", "error_type", "occurred_at", "recovery_minutes")
_JUDGED = ("outcome", "action")
HELPED = (*TOLD, *_QUOTED, *_JUDGED)
"""The fields that a model may be asked for."""
_LONGEST_PARAGRAPH = 1500
_MOST_SHOWN = 24_000
"""Characters of a page that a model is shown: about 6,000 tokens."""
_MAX_QUOTE = 60

_Numbers = Annotated[list[int], Meta(max_length=100)] | None
_Quote = Annotated[str, Meta(max_length=1024)] | None
_Outcome = Literal["resolved", "mitigated", "failed"]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the model must answer, of what is wanted."""

    post_mortem: bool
    symptoms: _Numbers = None
    diagnosis: _Numbers = None
    root_cause: _Numbers = None
    mitigation: _Numbers = None
    service: _Quote = None
    error_type: _Quote = None
    occurred_at: _Quote = None
    recovery_minutes: _Quote = None
    outcome: _Outcome | None = None
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Helped:
    """What a model found in a page, at what ``usage``; ``model`` is its name, None where it was not of help.

    ``reading`` is what it answered.
    """

    found: Filled
    usage: Usage
    model: str | None = None
    reading: Reading | None = None


NO_HELP = Helped(Filled({}, []), Usage())
"""Where no model is asked."""


async def helped(llm: Llm, page: str, known: Mapping[str, Any], catalogue: Catalogue, *, redact: bool) -> Helped:
    """What a page tells of the fields that are not ``known``; where the model fails, a note says why."""
    wanted = wanted_of(known)
    parts, cut = _shown(page)
    asked = Question(_PROMPT, _told(parts, wanted, catalogue, redact), _schema(wanted, catalogue), _read)
    try:
        model, reading = await llm.ask(asked)
    except EngineFailed as exc:
        return Helped(Filled({}, [f"no help of the model: {exc.reason}"]), exc.usage)
    found = taken(reading, parts, wanted, known, catalogue)
    notes = [f"the model was shown the first {len(parts)} paragraphs"] if cut else []
    return Helped(Filled(found.fields, [*found.notes, *notes]), asked.usage, model, reading)


def recalled(reading: Reading, page: str, known: Mapping[str, Any], catalogue: Catalogue) -> Filled:
    """What an earlier answer about the same page tells of the fields that are not ``known`` today."""
    found = taken(reading, _shown(page)[0], wanted_of(known), known, catalogue)
    return Filled(found.fields, ["what the model answered before counts", *found.notes])


def wanted_of(known: Mapping[str, Any]) -> list[str]:
    """The fields that a model is asked for: those that are empty."""
    return [name for name in HELPED if known.get(name) in (None, "", "unknown")]


def taken(
    reading: Reading, parts: Sequence[str], wanted: Sequence[str], known: Mapping[str, Any], catalogue: Catalogue
) -> Filled:  # fmt: skip
    """What of an answer holds, and a note over what does not. ``parts`` are the page's paragraphs."""
    if not reading.post_mortem:
        return Filled({}, ["the model takes it for no post-mortem"])
    fields: dict[str, Any] = {}
    notes: list[str] = []
    for name in (name for name in wanted if name in TOLD):
        numbers = sorted({number for number in getattr(reading, name) or [] if 1 <= number <= len(parts)})
        if numbers:
            fields[name] = "\n\n".join(parts[number - 1] for number in numbers)
    for name in (name for name in wanted if name in _QUOTED):
        said = (getattr(reading, name) or "").strip()
        quote = _standing(said, parts) if said else None
        if quote is not None:
            value, note = _typed(name, quote)
            fields |= {} if value is None else {name: value}
            notes += [note] if note else []
        elif said:
            notes.append(f"the model's {name} {said[:_MAX_QUOTE]!r} stands nowhere in the page")
    told = {**known, **fields}
    if told.get("mitigation"):
        if "outcome" in wanted and reading.outcome:
            fields["outcome"] = reading.outcome
        if "action" in wanted and reading.action:
            action, note = _action(reading.action, str(told.get("service") or ""), catalogue)
            fields |= {"action": action} if action else {}
            notes += [note] if note else []
    if fields:
        notes.insert(0, f"by the model: {', '.join(fields)}")
    return Filled(fields, notes)


def paragraphs(page: str) -> Iterator[str]:
    """The blocks between blank lines; one that is very long in parts, at the ends of lines."""
    block: list[str] = []
    for line in [*page.splitlines(), ""]:
        if block and (not line.strip() or sum(map(len, block)) + len(block) + len(line) > _LONGEST_PARAGRAPH):
            yield "\n".join(block)
            block = []
        if line.strip():
            block.append(line.rstrip())


def _shown(page: str) -> tuple[list[str], bool]:
    """The paragraphs that a model is shown, and whether there are more."""
    parts: list[str] = []
    left = _MOST_SHOWN
    for part in paragraphs(page):
        left -= len(part)
        if left < 0:
            return parts or [part[:_MOST_SHOWN]], True
        parts.append(part)
    return parts, False


def _told(parts: Sequence[str], wanted: Sequence[str], catalogue: Catalogue, redact: bool) -> str:  # noqa: FBT001
    clean = [visible(part) for part in parts]
    data: dict[str, Any] = {
        "paragraphs": {str(n): redacted(part) if redact else part for n, part in enumerate(clean, 1)},
        "wanted": wanted,
        "actions": {name: catalogue.get(name).description for name in _names(catalogue)} if "action" in wanted else {},
    }
    return as_data(data)


def _schema(wanted: Sequence[str], catalogue: Catalogue) -> dict[str, Any]:
    kinds: dict[str, Any] = {"post_mortem": {"type": "boolean"}}
    for name in wanted:
        if name in TOLD:
            kinds[name] = {"type": "array", "items": {"type": "integer"}}
        elif name in _QUOTED:
            kinds[name] = {"anyOf": [{"type": "string"}, {"type": "null"}]}
        else:
            choices = list(get_args(_Outcome)) if name == "outcome" else _names(catalogue)
            kinds[name] = {"anyOf": [{"type": "string", "enum": choices}, {"type": "null"}]}
    return {"type": "object", "properties": kinds, "required": list(kinds), "additionalProperties": False}


def _names(catalogue: Catalogue) -> list[str]:
    return [name for name in catalogue.names if name != ESCALATE]


def _read(text: str) -> Reading:
    return parse(text, Reading)


def _standing(said: str, parts: Sequence[str]) -> str | None:
    """The words as the model was shown them; None where they do not stand by themselves, on a line or over two."""
    words = r"\s+".join(re.escape(word) for word in said.split())
    pattern = re.compile(rf"(?<![\w-]){words}(?![\w-])", re.IGNORECASE)
    found = next((match for part in parts if (match := pattern.search(visible(part)))), None)
    return " ".join(found[0].split()) if found else None


def _typed(name: str, quote: str) -> tuple[Any, str | None]:
    """A quote as its field has it, and a note where something about it had to be taken for granted or did not fit."""
    if name == "occurred_at":
        return when(quote)
    if name == "recovery_minutes":
        took = minutes(quote)
        return took, None if took is not None else f"the duration {quote[:_MAX_QUOTE]!r} was not understood"
    return quote, None


def _action(name: str, service: str, catalogue: Catalogue) -> tuple[Action | None, str | None]:
    if name not in _names(catalogue):
        return None, f"the model's action {name[:_MAX_QUOTE]!r} is not in the catalogue"
    if not service or len(service) > LONGEST_TARGET:
        return None, f"the action {name} has no service to aim at"
    return Action(name, service), None
