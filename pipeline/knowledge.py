"""Files of past incidents to `Incident`s: JSON, JSON Lines, YAML, CSV, and post-mortems in Markdown, HTML and text.

A post-mortem's fields are found by rules (`pipeline.postmortems`). What they do not find is left empty, and told; a
model may say where the page tells it (`completed`).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pipeline.errors import Rejected
from pipeline.postmortems import confluence, plain, table
from pipeline.postmortems.outline import Outline, Section, outline
from pipeline.postmortems.rules import TOLD, Filled, filled, tells
from pipeline.stages.fingerprints import digest
from pipeline.stages.ingest import check_texts
from pipeline.words import fault_of
from schemas import Incident

_WANTED = (
    "service", "error_type", "fault_class", "symptoms", "diagnosis", "root_cause", "mitigation", "action", "outcome",
    "recovery_minutes", "occurred_at",
)  # fmt: skip
_FIELDS = frozenset(Incident.__struct_fields__)
_NO_POST_MORTEM = "no section tells of symptoms, cause or mitigation: not taken for a post-mortem"

_Properties = Sequence[tuple[str, str]]
_EVERYWHERE = frozenset(["index", "readme"])
"""Names of files that say nothing of what is in them."""


@dataclass(frozen=True, slots=True)
class Page:
    """What somebody wrote in a form that is not ours: its ``text``, and what the rules made of it.

    Its ``incident`` is None where it is taken for no post-mortem.
    """

    text: str
    fields: dict[str, Any]
    incident: Incident | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file's incidents, and what was ``said`` of it. Without incidents its `notes` say why, or ``fault`` does.

    ``fault`` is why nothing of the file could be read; None where it was. ``pages`` are those that rules had to read.
    """

    file: Path
    incidents: list[Incident]
    said: list[str] = field(default_factory=list)
    fault: str | None = None
    pages: list[Page] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What to tell of it: which pages are no post-mortems, and what was said."""
        return [*(_NO_POST_MORTEM for page in self.pages if page.incident is None), *self.said]

    def unfilled(self) -> list[str]:
        """The fields that some of its incidents lack, most telling first; where not all do, with how many."""
        lacking = {name: sum(_is_empty(incident, name) for incident in self.incidents) for name in _WANTED}
        every = len(self.incidents)
        return [name if n == every else f"{name} ({n} of {every})" for name, n in lacking.items() if n]


@dataclass(frozen=True, slots=True)
class _Source:
    """A file to read. ``name`` is its path below the folder that was named, without suffix: an id where it has none."""

    file: Path
    name: str
    notes: list[str] = field(default_factory=list)
    alike: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By what a note says without what it quotes: the first such note of a row, and how many there are."""

    def tell(self, row: str, notes: Iterable[str]) -> None:
        """Of one row of many: what is told of several in the same words is told once, of the first."""
        for note in notes:
            kind = re.sub("'.*'", "", note, flags=re.DOTALL)
            first, number = self.alike.get(kind, (f"{row}: {note}", 0))
            self.alike[kind] = first, number + 1

    def told(self) -> list[str]:
        """All notes."""
        rows = self.alike.values()
        return [*self.notes, *(first if n == 1 else f"{first} (and {n - 1} more like it)" for first, n in rows)]

    @property
    def title(self) -> str:
        """What to call an incident that names itself nowhere."""
        stem = self.file.parent.name if self.file.stem.lower() in _EVERYWHERE and "/" in self.name else self.file.stem
        return re.sub(r"[ _-]+[0-9a-f]{32}$", "", stem)  # Notion puts a page's id behind its title


@dataclass(frozen=True, slots=True)
class _Row:
    """One of a file's incidents as its fields, or what is none (``taken``); ``page``: the text that rules read."""

    fields: Any
    page: str | None = None
    taken: bool = True


def refuse(loaded: Loaded) -> None:
    """A file that cannot be read is refused. Raises `Rejected`."""
    raise Rejected(f"{loaded.file}: {loaded.fault}")


def read_incidents(path: Path, unread: Callable[[Loaded], None] = refuse) -> list[Incident]:
    """Every incident in a file, or in the files of a folder, as `read_files`; ``unread`` takes each file's fault."""
    files = read_files(path)
    for loaded in files:
        if loaded.fault:
            unread(loaded)
    return [incident for loaded in files for incident in loaded.incidents]


def read_files(path: Path) -> list[Loaded]:
    """Each file with its incidents, as `look_through`; one that is named by itself must have some, as `insist`."""
    return insist(path, look_through(path))


def look_through(path: Path) -> list[Loaded]:
    """Each file with its incidents; those of a folder are all but its own README and what is hidden.

    A page that is no post-mortem has none, nor has a file that cannot be read. Raises `Rejected` where there is none.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_knowledge(file.relative_to(path)))
    elif not path.exists():
        raise Rejected(f"{path}: there is no such file or folder")
    elif path.suffix.lower() in _READERS:
        files = [path]
    else:
        raise Rejected(f"{path}: neither a folder nor one of {', '.join(sorted(_READERS))}")
    top = path if path.is_dir() else path.parent
    return _distinct(_read(_Source(file, file.relative_to(top).with_suffix("").as_posix())) for file in files)


def of_no_kind(path: Path) -> list[str]:
    """What else is in a folder, and is of no kind that is read: each kind with how many files are of it."""
    files = path.rglob("*") if path.is_dir() else []
    kinds = Counter(file.suffix.lower() or "without a suffix" for file in files if _is_other(path, file))
    return [f"{number} {kind}" for kind, number in sorted(kinds.items())]


def insist(path: Path, files: list[Loaded]) -> list[Loaded]:
    """The files. Raises `Rejected` for one that is named by itself and has no incident: the file, and what is wrong."""
    for loaded in files if not path.is_dir() else []:
        if not loaded.incidents:
            raise Rejected(f"{loaded.file}: {loaded.fault or '; '.join(loaded.notes) or 'holds no incident'}")
    return files


def completed(files: Iterable[Loaded], found: Callable[[Page], Filled]) -> list[Loaded]:
    """The files with what was ``found`` in their pages beside what the rules found.

    A page that these took for no post-mortem is one if it tells of symptoms, cause or mitigation after all. Where what
    was found is nothing that an incident may hold, a page stays as it was, and a note says so.
    """
    return _distinct(_completed(loaded, found) for loaded in files)


def _completed(loaded: Loaded, found: Callable[[Page], Filled]) -> Loaded:
    incidents, said, pages = list(loaded.incidents), list(loaded.said), []
    for page in loaded.pages:
        more = found(page)
        several = f"{page.fields.get('id', 'without an id')}: " if len(loaded.pages) > 1 else ""
        said += [f"{several}{note}" for note in more.notes]
        incident = page.incident
        fields = page.fields | more.fields
        if more.fields and any(name in fields for name in TOLD):
            try:
                incident = _incident(fields, 1)
            except Rejected as exc:
                said.append(f"left out, for it does not hold: {exc.reason}")
        if page.incident is not None:
            incidents[incidents.index(page.incident)] = incident or page.incident
        elif incident is not None:
            incidents.append(incident)
        pages.append(replace(page, incident=incident))
    return Loaded(loaded.file, incidents, said, loaded.fault, pages)


def _is_knowledge(file: Path) -> bool:
    about = len(file.parts) == 1 and file.stem.lower() == "readme"
    return file.suffix.lower() in _READERS and not about and not _is_hidden(file)


def _is_other(folder: Path, file: Path) -> bool:
    return file.suffix.lower() not in _READERS and not _is_hidden(file.relative_to(folder)) and file.is_file()


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _distinct(files: Iterable[Loaded]) -> list[Loaded]:
    """The files; one with an id that is there already is at fault, and none of its incidents counts."""
    held: dict[str, Path] = {}
    found = []
    for loaded in files:
        own: dict[str, Path] = {}
        for incident in loaded.incidents:
            other = own.get(incident.id) or held.get(incident.id)
            if other is not None:
                where = "there twice" if other == loaded.file else f"in {other}, too"
                loaded = Loaded(loaded.file, [], loaded.notes, f"the id {incident.id} is {where}")  # noqa: PLW2901
                break
            own[incident.id] = loaded.file
        else:
            held |= own
        found.append(loaded)
    return found


def _read(source: _Source) -> Loaded:
    try:
        text = source.file.read_text(encoding="utf-8-sig")
        incidents, pages = [], []
        for number, row in enumerate(_READERS[source.file.suffix.lower()](text, source), 1):
            fields = _given(row.fields, source)
            incident = _incident(fields, number) if row.taken else None
            incidents += [incident] if incident else []
            if row.page and row.page.strip():
                pages.append(Page(row.page, fields, incident))
            elif not row.taken:
                source.notes.append(_NO_POST_MORTEM)
    except UnicodeDecodeError as exc:
        fault = f"is not UTF-8, from byte {exc.start} on"
    except Rejected as exc:
        fault = exc.reason
    except OSError as exc:
        fault = exc.strerror or str(exc)
    except (ValueError, yaml.YAMLError, msgspec.MsgspecError, RecursionError) as exc:
        fault = str(exc)
    else:
        return Loaded(source.file, incidents, source.told(), pages=pages)
    return Loaded(source.file, [], source.told(), fault)


def _given(row: Any, source: _Source) -> Any:
    """A row without what is null: an export names every field. Where it comes from may be told in a text only.

    One of several that names no id is called by its file and by its title and time: its place may change.
    """
    if not isinstance(row, dict):
        return row
    if isinstance(row.get("source"), dict | list):
        row = row | {"source": None}
        note = "a source that is no text was left out"
        source.notes.extend([] if note in source.notes else [note])
    row = {name: value for name, value in row.items() if value is not None}
    if "id" not in row and isinstance(row.get("title"), str):
        row["id"] = f"{source.name}#{digest([row['title'], row.get('occurred_at')])[:12]}"
    return row


def _incident(row: Any, number: int) -> Incident:
    try:
        incident = msgspec.convert(row, Incident, strict=False)
        check_texts(incident)
    except (msgspec.ValidationError, Rejected) as exc:
        raise Rejected(f"incident {number}: {exc}") from exc
    return incident


def _is_empty(incident: Incident, name: str) -> bool:
    return getattr(incident, name) in {None, "", "unknown"} if name != "action" else incident.action is None


def _json(text: str, source: _Source) -> Iterable[_Row]:
    value = msgspec.json.decode(text)
    if isinstance(value, list):
        return [_understood(row, None, source) for row in value]
    return [_understood(value, source.name, source)]


def _json_lines(text: str, source: _Source) -> Iterable[_Row]:
    for number, line in enumerate(text.split("\n"), 1):  # not at what else ends a line: JSON has it within texts
        if line.strip():
            try:
                row = msgspec.json.decode(line)
            except msgspec.DecodeError as exc:
                raise Rejected(f"line {number}: {exc}") from exc
            yield _understood(row, None, source)


def _csv(text: str, source: _Source) -> Iterable[_Row]:
    return (_understood(row, None, source) for row in table.rows(text))


def _yaml(text: str, _: _Source) -> Iterable[_Row]:
    value = yaml.safe_load(text)
    return map(_Row, value if isinstance(value, list) else [value])


def _markdown(text: str, source: _Source) -> Iterable[_Row]:
    front = re.match(r"\A---[^\S\n]*+\n(.*?)\n---[^\S\n]*+\n", text, re.DOTALL)
    fields = yaml.safe_load(front.group(1)) if front else {}
    if not isinstance(fields, dict):
        raise Rejected("the front matter is no mapping")
    return [_post_mortem(text[front.end() :] if front else text, source, *_parted(fields))]


def _html(text: str, source: _Source) -> Iterable[_Row]:
    return [_post_mortem(confluence.as_markdown(text), source, {})]


def _plain(text: str, source: _Source) -> Iterable[_Row]:
    return [_post_mortem(plain.as_markdown(text), source, {})]


def _post_mortem(markdown: str, source: _Source, given: dict[str, Any], more: _Properties = ()) -> _Row:
    """What is ``given`` in so many words counts."""
    read = filled(outline(markdown), more)
    fields = {"id": source.name, "title": source.title} | read.fields | given
    if not given and not any(name in read.fields for name in TOLD):
        return _Row(fields, markdown, taken=False)
    source.notes.extend(read.notes)
    return _Row(fields, markdown)


def _understood(row: Any, name: str | None, source: _Source) -> _Row:
    """A row of JSON as it is, and what it says under other names than ours by the same rules as a post-mortem's."""
    if not isinstance(row, dict):
        return _Row(row)
    ours, texts = _parted(row)
    known = {"id": name, "title": source.title} if name else {}
    if ours == row:
        return _Row(known | row)
    found = Outline(None, "", [Section(2, said, text) for said, text in texts if tells(said, text)])
    read = filled(found, texts)
    if name:
        source.notes.extend(read.notes)
    else:
        source.tell(str(row.get("id", "without an id")), read.notes)
    fields = known | read.fields | ours | ({"id": str(row["id"])} if isinstance(row.get("id"), int) else {})
    if "error_type" in fields:
        fields.setdefault("title", fault_of(fields["error_type"], fields.get("service")))
    said = ((_words(str(key)), _text(value)) for key, value in row.items())
    return _Row(fields, "\n\n".join(f"{key}: {text}" for key, text in said if text))


def _parted(row: dict[Any, Any]) -> tuple[dict[str, Any], _Properties]:
    """What stands under our names, and the rest as properties for the rules: also an action that is its bare name.

    Its parameters may stand beside it, as a mapping or in words.
    """
    ours = {key: value for key, value in row.items() if key in _FIELDS}
    rest = {key: value for key, value in row.items() if key not in _FIELDS}
    if isinstance(ours.get("action"), str):
        given = rest.pop("parameters", "")
        told = ", ".join(f"{key}={value}" for key, value in given.items()) if isinstance(given, dict) else _text(given)
        rest |= {"action": f"{ours.pop('action')} {told}".strip(), "service": ours.get("service")}
    return ours, [(_words(str(key)), text) for key, value in rest.items() if (text := _text(value))]


def _text(value: Any) -> str:
    """A value of JSON or YAML as one would write it under a heading; empty where it is of another kind."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(f"- {item}" for item in value)
    return str(value).strip() if isinstance(value, str | int | float | date) and not isinstance(value, bool) else ""


def _words(key: str) -> str:
    """``rootCause`` and ``root_cause`` as ``root cause``."""
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+", " ", key).split()).lower()


_READERS: dict[str, Callable[[str, _Source], Iterable[_Row]]] = {
    ".json": _json, ".jsonl": _json_lines, ".yaml": _yaml, ".yml": _yaml, ".csv": _csv, ".tsv": _csv, ".md": _markdown,
    ".html": _html, ".htm": _html, ".txt": _plain,
}  # fmt: skip
