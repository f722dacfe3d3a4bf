"""Which part of a post-mortem is which field of an incident. By rules; what no rule finds stays empty, and is told."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from pipeline.postmortems.outline import Outline, Section, properties

# A heading is of the first field that it has a sign of; of several such headings the one with the earlier sign counts.
_HEADINGS: dict[str, tuple[str, ...]] = {
    "root_cause": (r"root causes?", r"causes?", r"why did (it|this) happen", r"contributing factors?", r"triggers?"),
    "symptoms": (r"symptoms?", r"summary", r"impact", r"what happened", r"detection", r"overview", r"description"),
    "diagnosis": (r"diagnosis", r"investigation", r"analysis"),
    "mitigation": (
        r"mitigations?",
        r"resolution",
        r"fix(es|ed)?",
        r"recovery",
        r"remediations?",
        r"how .{0,100}resolved",
    ),
}
LONGEST_TARGET = 256
"""Characters, as the contract has it."""
_LATER = re.compile(r"\b(follow.?ups?|lessons?|action items|prevent\w*|long.term|next steps|improvements?)\b")
"""What is planned is not what was done."""
_NAMES: dict[str, tuple[str, ...]] = {
    "id": ("incident id", "incident number", "incident key"),
    "title": ("title", "subject", "name", "headline", "short description"),
    "service": ("service", "affected service", "impacted service", "services", "affected services",
                "impacted services", "component", "system", "application"),
    "error_type": ("error type", "alert name", "alertname", "alert"),
    "fault_class": ("fault class", "root cause category", "cause category", "category"),
    "occurred_at": ("occurred at", "started at", "incident start", "start time", "started", "start", "incident date",
                    "date of incident", "date", "opened at", "opened"),
    "outcome": ("outcome", "status"),
    "recovery_minutes": ("recovery minutes", "recovery time", "time to recovery", "time to recover"),
    "duration": ("duration", "incident duration", "outage duration", "downtime", "time to resolve",
                 "time to resolution", "mttr"),
    "action": ("action", "action taken"),
    "source": ("source", "url", "link"),
    "severity": ("severity", "incident severity", "priority"),
}  # fmt: skip
_NOTHING = re.compile(r"\W*+(n/?a|tbd|tbc|todo|none|unknown|not applicable)?\W*+", re.IGNORECASE)
_FEWEST_WORDS = 3
_SAYS_ITSELF = re.compile(
    r"(root )?causes?|symptoms?|summary|description|what happened|diagnosis|investigation|analysis|mitigations?|"
    r"resolution|fix(es)?|remediations?"
)
"""Names under which two words tell something. *Impact* and *recovery* are as often a degree, or a time."""
_STATE = re.compile(
    r"(un)?resolved|fixed|done|closed?|open|completed?|mitigated|won.?t (do|fix)|yes|no|\d+", re.IGNORECASE
)
_OUTCOMES = {"resolved", "mitigated", "failed"}
_ZONE = re.compile(r"\s*\(?(?:Z|(?:UTC|GMT)(?:([+-])(\d{1,2})(?::?(\d{2}))?)?)\)?$")
_DAYS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%Y/%m/%d", "%d.%m.%Y")
_HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p")
_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?) ?h(?:ours?|rs?)?)?[ ,]*(?:(\d+(?:\.\d+)?) ?m(?:in(?:ute)?s?)?)?", re.IGNORECASE
)
TOLD = ("symptoms", "diagnosis", "root_cause", "mitigation")
"""The fields that are prose. What has none of them is no post-mortem."""


@dataclass(frozen=True, slots=True)
class Filled:
    """Fields of an incident as they go into it, and what a reader should know about how they were read."""

    fields: dict[str, Any]
    notes: list[str]


def filled(found: Outline, more: Sequence[tuple[str, str]] = ()) -> Filled:
    """The fields of a post-mortem; ``more`` are properties that stand elsewhere, and come first."""
    told, rest = _sections(found.sections)
    named: dict[str, str] = {}
    for name, value in [*more, *properties("\n".join([found.preamble, *rest]))]:
        if not _NOTHING.fullmatch(value):
            named.setdefault(name, value)
    for name, value in named.items():  # a row "Root cause | ..." is as good as a section
        kind = _kind(name)
        if kind and kind[0] not in told and name not in _NAMES["fault_class"] and tells(name, value):
            told[kind[0]] = value
    return _typed(({"title": found.title} if found.title else {}) | told, _picked(named))


def when(text: str) -> tuple[datetime | None, str | None]:
    """A time that is written as people write it, and a note where something about it had to be taken for granted.

    A range begins with its beginning. A date like 03/05/2024 is two dates, and so is none.
    """
    plain = " ".join(re.split("→|\u2013| - | to ", text)[0].replace("\u202f", " ").replace(" at ", " ").split())
    zone = _ZONE.search(plain)
    bare = plain[: zone.start()] if zone else plain
    offset = timedelta(0)
    if zone and zone.group(1):
        size = timedelta(hours=int(zone.group(2)), minutes=int(zone.group(3) or 0))
        offset = size if zone.group(1) == "+" else -size
    found = _iso(bare)
    for form in () if found else (day + hour for day in _DAYS for hour in _HOURS):
        try:
            found = datetime.strptime(bare, form)  # noqa: DTZ007 - its zone is put to it below
        except ValueError:
            continue
        break
    if found is None or abs(offset) >= timedelta(days=1):
        return None, f"the time {text[:60]!r} was not understood"
    if found.tzinfo is not None:
        return found, None
    return found.replace(tzinfo=timezone(offset)), None if zone else f"the time {bare!r} names no zone: read as UTC"


def minutes(text: str) -> float | None:
    """A duration like ``45``, ``45 min``, ``1h 20m`` or ``2 hours``, in minutes."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        return None
    return float(found.group(1) or 0) * 60 + float(found.group(2) or 0)


def tells(name: str, text: str) -> bool:
    """Whether it tells anything: "Impact: high" does not, nor "Resolution: done", but "Root cause: bad zone" does."""
    if len(text.split()) >= _FEWEST_WORDS:
        return True
    return bool(_SAYS_ITSELF.fullmatch(name)) and not _STATE.fullmatch(text.strip(" .!"))


def _sections(sections: Sequence[Section]) -> tuple[dict[str, str], list[str]]:
    """Prose by field, and the texts of sections that are of none.

    A deeper heading inside a section of a field belongs to it, whatever it says.
    """
    ranked: dict[str, tuple[int, str]] = {}
    rest: list[str] = []
    kind, inside, level = None, "", 0
    for section in [*sections, Section(0, "", "")]:
        if kind and section.level > level:
            inside += f"\n{'#' * section.level} {section.heading}\n{section.text}"
            continue
        if kind and not _NOTHING.fullmatch(inside) and kind[1] < ranked.get(kind[0], (99, ""))[0]:
            ranked[kind[0]] = (kind[1], inside.strip())
        kind, inside, level = _kind(section.heading), section.text, section.level
        if kind is None:
            rest.append(section.text)
    return {field: text for field, (_, text) in ranked.items()}, rest


def _kind(heading: str) -> tuple[str, int] | None:
    """The field that a heading is of, and how good a sign it bears: 0 is the best."""
    said = heading.lower()
    if _LATER.search(said):
        return None
    for field, signs in _HEADINGS.items():
        for rank, sign in enumerate(signs):
            if re.search(rf"\b{sign}\b", said):
                return field, rank
    return None


def _picked(named: Mapping[str, str]) -> dict[str, str]:
    """Each field's value by the best of its names."""
    return {
        field: next(named[name] for name in names if name in named)
        for field, names in _NAMES.items()
        if any(name in named for name in names)
    }


def _typed(fields: dict[str, Any], said: Mapping[str, str]) -> Filled:
    """The properties as the incident's types have them; what does not fit one is left out, and noted."""
    notes: list[str] = []
    fields |= {name: said[name] for name in ("id", "error_type", "fault_class", "source") if name in said}
    if "title" in said:
        fields.setdefault("title", said["title"])
    if "severity" in said:
        fields["labels"] = {"severity": said["severity"]}
    if "service" in said:
        named = " ".join(_unlinked(said["service"]).split())  # each blank of a long run would be a beginning
        services = [part for part in re.split(r"\s*[,;]\s*|\s+and\s+", named) if part]
        if len(services) == 1:
            fields["service"] = services[0]
        else:
            notes.append(f"several services: {', '.join(services)}")
    if "occurred_at" in said:
        moment, note = when(said["occurred_at"])
        fields |= {"occurred_at": moment} if moment else {}
        notes += [note] if note else []
    if said.get("outcome", "").lower() in _OUTCOMES:
        fields["outcome"] = said["outcome"].lower()
    if "recovery_minutes" in said:
        took = minutes(said["recovery_minutes"])
        fields |= {} if took is None else {"recovery_minutes": took}
        notes += [f"the duration {said['recovery_minutes'][:60]!r} was not understood"] if took is None else []
    elif "duration" in said:
        notes.append(
            f"the duration {said['duration'][:60]!r} is of the whole: how long the mitigation took is not told"
        )
    if said.get("action"):
        action, fault = _action(said["action"], fields.get("service", ""))
        fields |= {"action": action} if action else {}
        notes += [fault] if fault else []
    return Filled(fields, notes)


def _action(text: str, target: str) -> tuple[dict[str, Any] | None, str | None]:
    """An action by its name, with parameters or without: ``scale_out(replicas=3)``, ``scale_out replicas=3, zone=b``.

    Or why it is none.
    """
    name, _, told = re.sub(r"[(:]", " ", text.removesuffix(")"), count=1).strip().partition(" ")
    given = [part.partition("=") for part in re.split("[,;]", told) if part.strip()]
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name) or not all(key.strip() and value for key, _, value in given):
        return None, f"{text[:60]!r} is no name of an action"
    if not 0 < len(target) <= LONGEST_TARGET:
        return None, f"the action {name} has no service to aim at"
    parameters = {key.strip(): _number(value.strip().strip("\"'")) for key, _, value in given}
    return {"name": name, "target": target, "parameters": parameters}, None


def _number(text: str) -> float | str:
    return float(text) if re.fullmatch(r"-?\d{1,15}(\.\d{1,15})?", text) else text


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _unlinked(text: str) -> str:
    """Without the addresses that Notion puts behind a name, and Markdown's brackets around it."""
    return re.sub(r"\[([^\[\]]*+)\]\([^)\[]*+\)|\(https?://[^)]{0,2048}\)", r"\1", text).strip()
