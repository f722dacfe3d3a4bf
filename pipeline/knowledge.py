"""Files of past incidents to `Incident`s: JSON, JSON Lines and YAML, and post-mortems in Markdown, HTML and plain text.

A post-mortem's fields are found by rules (`pipeline.postmortems`). What they do not find is left empty, and told.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pipeline.errors import Rejected
from pipeline.postmortems import confluence, plain
from pipeline.postmortems.outline import Outline, Section, outline
from pipeline.postmortems.rules import TOLD, filled, is_prose
from schemas import Incident

_WANTED = (
    "service", "error_type", "fault_class", "symptoms", "diagnosis", "root_cause", "mitigation", "action", "outcome",
    "recovery_minutes", "occurred_at",
)  # fmt: skip
_FIELDS = frozenset(Incident.__struct_fields__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file's incidents, and what was noted over it. Without incidents the notes say why."""

    file: Path
    incidents: list[Incident]
    notes: list[str] = field(default_factory=list)

    def unfilled(self) -> list[str]:
        """The fields that some of its incidents lack, most telling first; where not all do, with how many."""
        lacking = {name: sum(_is_empty(incident, name) for incident in self.incidents) for name in _WANTED}
        every = len(self.incidents)
        return [name if n == every else f"{name} ({n} of {every})" for name, n in lacking.items() if n]


def read_incidents(path: Path) -> list[Incident]:
    """Every incident in a file, or in the files of a folder but its READMEs and hidden ones. As `read_files`."""
    return [incident for loaded in read_files(path) for incident in loaded.incidents]


def read_files(path: Path) -> list[Loaded]:
    """Each file with its incidents. A page of a folder that is no post-mortem has none.

    Raises `Rejected`: the file, and what is wrong in it.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_knowledge(file.relative_to(path)))
    elif path.suffix.lower() in _READERS:
        files = [path]
    else:
        raise Rejected(f"{path}: neither a folder nor one of {', '.join(sorted(_READERS))}")
    held: set[str] = set()
    found = [_read(file) for file in files]
    for loaded in found:
        for incident in loaded.incidents:
            if incident.id in held:
                raise Rejected(f"{loaded.file}: the id {incident.id} is there twice")
            held.add(incident.id)
        if not loaded.incidents and not path.is_dir():
            raise Rejected(f"{loaded.file}: {'; '.join(loaded.notes) or 'holds no incident'}")
    return found


def _is_knowledge(file: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.parts)
    return file.suffix.lower() in _READERS and file.stem.lower() != "readme" and not hidden


def _read(file: Path) -> Loaded:
    notes: list[str] = []
    try:
        rows = list(_READERS[file.suffix.lower()](file.read_text(encoding="utf-8-sig"), file, notes))
    except (OSError, ValueError, yaml.YAMLError, msgspec.MsgspecError) as exc:
        raise Rejected(f"{file}: {exc}") from exc
    incidents = []
    for number, row in enumerate(rows, 1):
        try:
            incidents.append(msgspec.convert(row, Incident, strict=False))
        except msgspec.ValidationError as exc:
            raise Rejected(f"{file}: incident {number}: {exc}") from exc
    return Loaded(file, incidents, notes)


def _is_empty(incident: Incident, name: str) -> bool:
    return getattr(incident, name) in {None, "", "unknown"} if name != "action" else incident.action is None


def _json(text: str, file: Path, notes: list[str]) -> Iterable[Any]:
    value = msgspec.json.decode(text)
    if isinstance(value, list):
        return [_understood(row, None, notes) for row in value]
    return [_understood(value, file.stem, notes)]


def _json_lines(text: str, file: Path, notes: list[str]) -> Iterable[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = msgspec.json.decode(line)
            except msgspec.DecodeError as exc:
                raise Rejected(f"{file}: line {number}: {exc}") from exc
            yield _understood(row, None, notes)


def _yaml(text: str, _: Path, __: list[str]) -> Iterable[Any]:
    value = yaml.safe_load(text)
    return value if isinstance(value, list) else [value]


def _markdown(text: str, file: Path, notes: list[str]) -> Iterable[Any]:
    front = re.match(r"\A---\s*\n(.*?)\n---\s*\n", text, re.DOTALL)
    fields = yaml.safe_load(front.group(1)) if front else {}
    if not isinstance(fields, dict):
        raise Rejected(f"{file}: the front matter is no mapping")
    return _post_mortem(outline(text[front.end() :] if front else text), file, notes, fields)


def _html(text: str, file: Path, notes: list[str]) -> Iterable[Any]:
    return _post_mortem(outline(confluence.as_markdown(text)), file, notes, {})


def _plain(text: str, file: Path, notes: list[str]) -> Iterable[Any]:
    return _post_mortem(outline(plain.as_markdown(text)), file, notes, {})


def _post_mortem(found: Outline, file: Path, notes: list[str], given: dict[str, Any]) -> Iterable[Any]:
    """One row, or none where nothing tells of an incident. What is ``given`` in so many words counts."""
    read = filled(found)
    if not given and not any(name in read.fields for name in TOLD):
        notes.append("no section tells of symptoms, cause or mitigation: not taken for a post-mortem")
        return []
    notes += read.notes
    # Notion puts a page's id behind its title.
    title = re.sub(r"[ _-]+[0-9a-f]{32}$", "", file.stem)
    return [{"id": file.stem, "title": title} | read.fields | given]


def _understood(row: Any, name: str | None, notes: list[str]) -> Any:
    """A row of JSON as it is, and what it says under other names than ours by the same rules as a post-mortem's."""
    if not isinstance(row, dict) or row.keys() <= _FIELDS:
        return row
    ours = {key: value for key, value in row.items() if key in _FIELDS}
    other = {key: _words(key) for key in row if key not in _FIELDS}
    texts = [(said, row[key]) for key, said in other.items() if isinstance(row[key], str)]
    found = Outline(None, "", [Section(2, said, text) for said, text in texts if is_prose(text)])
    read = filled(found, [(said, text) for said, text in texts if text.strip()])
    known = {"id": name} if name else {}
    notes += read.notes if name else [f"{row.get('id', 'without an id')}: {note}" for note in read.notes]
    return known | read.fields | ours | ({"id": str(row["id"])} if isinstance(row.get("id"), int) else {})


def _words(key: str) -> str:
    """``rootCause`` and ``root_cause`` as ``root cause``."""
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+", " ", key).split()).lower()


_READERS: dict[str, Callable[[str, Path, list[str]], Iterable[Any]]] = {
    ".json": _json, ".jsonl": _json_lines, ".yaml": _yaml, ".yml": _yaml, ".md": _markdown, ".html": _html,
    ".htm": _html, ".txt": _plain,
}  # fmt: skip
