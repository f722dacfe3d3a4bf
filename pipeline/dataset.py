"""A dataset of `pulseguard eval`, read from its folder (README.md, "Measure it on your own").

A value in another form than ours is read as what it says; one that says nothing we know is left out, and told.
Only what is no JSON, and an incident that says nothing at all, is refused.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from pipeline.catalogue import ESCALATE
from pipeline.errors import Rejected
from pipeline.knowledge import Loaded, read_incidents, refuse
from pipeline.nearest import UNNAMED
from pipeline.postmortems.rules import TOLD, minutes, when
from schemas import Anomaly, Incident, Metric

T = TypeVar("T")
_TYPES: dict[type[msgspec.Struct], dict[str, Any]] = {
    kind: get_type_hints(kind, include_extras=True) for kind in (Incident, Anomaly)
}
_MOST = {"id": 256, "title": 1024, "service": 256, "error_type": 256, "message": 65536}
"""Characters, as the contracts have them."""
_NAMED = ("incident_id", "id")
_GRADES = ("grade", "score", "relevance", "relevant")
_PROSE = ("description", "message", "text", "summary", "body", "content")
"""Where a row's text stands that has none under our names."""


@dataclass(frozen=True, slots=True)
class Case:
    """One query. ``relevant`` is empty where the right answer is to ask a human; ``action`` None where nobody says.

    ``hidden`` incidents are taken away first.
    """

    id: str
    variant: str
    anomaly: Anomaly
    relevant: frozenset[str]
    action: str | None
    hidden: frozenset[str] = frozenset()


def read_dataset(
    folder: Path, unread: Callable[[Loaded], None] = refuse, noted: Callable[[str], None] = lambda _: None
) -> tuple[list[Incident], list[Case]]:  # fmt: skip
    """The incidents and cases of a folder. Raises `Rejected` naming file and line.

    It holds ``queries.jsonl`` and ``incidents.jsonl``, or a folder ``incidents`` of all that `load` reads. ``unread``
    takes each file of that folder which cannot be read, ``noted`` what was left out, each kind once.
    """
    incidents_file, queries_file = folder / "incidents.jsonl", folder / "queries.jsonl"
    if (folder / "incidents").is_dir():
        incidents = read_incidents(folder / "incidents", unread)
    else:
        notes = _Notes(incidents_file)
        read = _each(_incident, notes)
        incidents = list({incident.id: incident for incident in read}.values())
        if len(incidents) < len(read):
            twice = len(read) - len(incidents)
            noted(f"{incidents_file}: {twice} with the id of another one: of each id the last one counts")
        notes.tell(noted)
    notes = _Notes(queries_file)
    cases = _distinct(_each(_case, notes))
    known = {incident.id for incident in incidents}
    lost = sum(bool(case.relevant) and not case.relevant & known for case in cases)
    if lost:
        noted(f"{queries_file}: {lost} of {len(cases)} queries name relevant incidents of which none is on record")
    notes.tell(noted)
    return incidents, cases


def headline(cases: Sequence[Case]) -> list[Case]:
    """Those to report: a case that is there with and without the alert's name counts once, without."""
    variants = {case.variant for case in cases}
    return [case for case in cases if not (case.variant == "named" and "described" in variants)]


class _Notes:
    """What was left out of a file's rows: each kind with how often, and where first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, list[int]] = {}

    def add(self, what: str, number: int) -> None:
        self._lines.setdefault(what, []).append(number)

    def tell(self, noted: Callable[[str], None]) -> None:
        for what, lines in self._lines.items():
            noted(f"{self.path}: line {lines[0]}{f', and {len(lines) - 1} more' if lines[1:] else ''}: {what}")


def _each(build: Callable[[Mapping[str, Any], int, _Notes], T | None], notes: _Notes) -> list[T]:
    found: list[T] = []
    for number, row in _rows(notes.path):
        try:
            built = build(row, number, notes)
        except RecursionError as exc:
            raise Rejected(f"{notes.path}: line {number}: {exc}") from exc
        if built is not None:
            found.append(built)
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object of JSON Lines, or of one JSON list, with its number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise Rejected(f"{path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise Rejected(f"{path}: is not UTF-8, from byte {exc.start} on") from exc
    listed = _list(text)
    if listed is not None:
        yield from enumerate(listed, 1)
        return
    for number, line in enumerate(text.split("\n"), 1):  # not at what else ends a line: JSON has it within texts
        if line.strip():
            try:
                yield number, _decoded(line, dict[str, Any])
            except (ValueError, RecursionError) as exc:
                raise Rejected(f"{path}: line {number}: {exc}") from exc


def _list(text: str) -> list[dict[str, Any]] | None:
    if not text.lstrip().startswith("["):
        return None
    try:
        found: list[dict[str, Any]] = _decoded(text, list[dict[str, Any]])
    except (ValueError, RecursionError):
        return None
    return found


def _decoded(text: str, kind: Any) -> Any:
    """JSON, also with what Python writes and reads beyond it: NaN, and half a character. Raises `ValueError`."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as exc:
        try:
            return msgspec.convert(json.loads(text, parse_constant=lambda _: None), kind)
        except json.JSONDecodeError:
            raise exc from None


def _incident(row: Mapping[str, Any], number: int, notes: _Notes) -> Incident:
    given = {name: value for name, value in row.items() if name in _TYPES[Incident] and name != "source"}
    if not any(given.get(name) for name in TOLD):
        given["symptoms"] = _prose(row)
    fields = _fitting(Incident, given, number, notes)
    title = next((text for name in ("title", *TOLD, "error_type") if (text := fields.get(name, "").strip())), None)
    if title is None:
        raise Rejected(f"{notes.path}: line {number}: it has no title, and says nothing")
    if not fields.get("id"):
        notes.add("has no id: its line is its name", number)
    own = {"id": fields.get("id") or f"line {number}", "title": title.split("\n")[0][: _MOST["title"]]}
    incident: Incident = msgspec.convert(fields | own, Incident)
    return incident


def _case(row: Mapping[str, Any], number: int, notes: _Notes) -> Case | None:
    """None for one that says nothing: whatever is found for it, right or none, would be measured for no question."""
    fields = _fitting(
        Anomaly,
        {
            "error_type": row.get("alertname") or row.get("error_type"),
            "message": _prose(row),
            "labels": row.get("labels"),
            "service": row.get("service"),
            "spike_percentage": row.get("spike_percentage"),
        },
        number,
        notes,
    )
    metrics = " ".join(_names(row.get("metrics"), "name", "metric"))
    if not fields and not metrics:
        notes.add("says nothing that could be asked: left out", number)
        return None
    anomaly = msgspec.convert({"error_type": "alert"} | fields, Anomaly)
    if metrics:
        anomaly = msgspec.structs.replace(anomaly, metric=Metric(name=metrics))
    relevant = frozenset(name[: _MOST["id"]] for name in _names(_graded(row.get("relevant")), *_NAMED))
    action = next(iter(_names(row.get("action"), "name")), None if relevant else ESCALATE)
    name = _text(row.get("id")) or f"line {number}"
    return Case(name, _text(row.get("variant")), anomaly, relevant, action)


def _distinct(cases: Sequence[Case]) -> list[Case]:
    """The cases, each under a name of its own: one query may be there under one id in several variants."""
    held: dict[str, int] = {}  # and how far is counted of each
    found = []
    for case in cases:
        name, again = case.id, held.get(case.id, 1)
        while name in held:
            again += 1
            name = f"{case.id}#{again}"
        held[case.id] = again
        held.setdefault(name, 1)
        found.append(Case(name, case.variant, case.anomaly, case.relevant, case.action))
    return found


def _fitting(kind: type[msgspec.Struct], given: Mapping[str, Any], number: int, notes: _Notes) -> dict[str, Any]:
    """Each value as its field has it, by the first of its readings that fits; without those that say nothing."""
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == "":
            continue
        for reading in _readings(name, value, given):
            try:
                fields[name] = msgspec.to_builtins(msgspec.convert(reading, _TYPES[kind][name], strict=False))
            except msgspec.ValidationError:
                continue
            break
        else:
            notes.add(f"{name} was not understood, and left out: {_text(value)[:60]!r}", number)
    return fields


def _readings(name: str, value: Any, given: Mapping[str, Any]) -> Iterator[Any]:
    """What a value may be meant as, as it stands first: a text that JSON holds whole, or a part of it."""
    if name == "labels":
        yield _labels(value)
    elif name == "action":
        called = {"target": _text(given.get("service")) or UNNAMED}
        yield called | value if isinstance(value, dict) else called | {"name": _text(value)}
    elif name == "occurred_at":
        yield value
        found = when(_text(value))[0]
        yield from () if found is None else (found,)
    elif name == "spike_percentage":
        yield _text(value).strip(" %+")
    elif name == "recovery_minutes":
        took = minutes(_text(value))
        yield from () if took is None else (took,)
    elif name == "outcome":
        yield _text(value).strip().lower()
    else:
        yield _text(value)[: _MOST.get(name)]


def _labels(value: Any) -> dict[str, str]:
    """A mapping; a list of texts ``name=value``, or of objects with a name and a value."""
    if isinstance(value, Mapping):
        return {_text(name): text for name, item in value.items() if (text := _text(item))}
    found: dict[str, str] = {}
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            name = _text(item.get("name", item.get("key")))
            found |= {name: _text(item.get("value"))} if name else _labels(item)
        else:
            name, _, said = _text(item).partition("=")
            found[name] = said.strip('"') or name
    return found


def _names(value: Any, *keys: str) -> list[str]:
    """The names in a value: a text is one and not its letters; of a mapping what one of ``keys`` says, or its keys."""
    if value is False:
        return []
    if isinstance(value, Mapping):
        own = next((value[key] for key in keys if value.get(key)), None)
        return [_text(name) for name in value] if own is None else _names(own, *keys)
    if isinstance(value, list):
        return [name for item in value for name in _names(item, *keys)]
    text = _text(value).strip()
    return [text] if text else []


def _graded(relevant: Any) -> Any:
    """Without what has a grade of 0 or less, and is not relevant: in mappings of names, or objects that hold one."""
    if isinstance(relevant, list):
        return [_graded(item) for item in relevant]
    if not isinstance(relevant, Mapping):
        return relevant
    if any(relevant.get(key) for key in _NAMED):
        return None if any(_is_zero(relevant.get(name)) for name in _GRADES) else relevant
    return {name: grade for name, grade in relevant.items() if grade and not _is_zero(grade)}


def _is_zero(grade: Any) -> bool:
    try:
        return float(grade) <= 0
    except (TypeError, ValueError, OverflowError):
        return False


def _prose(row: Mapping[str, Any]) -> str:
    return next((text for name in _PROSE if (text := _text(row.get(name)).strip())), "")


def _text(value: Any) -> str:
    """What a value says, as a text."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # half a character is none
    if isinstance(value, list):
        return "\n".join(text for item in value if (text := _text(item)))
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {text}" for name, item in value.items() if (text := _text(item)))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
