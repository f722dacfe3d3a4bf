"""Files of past incidents to `Incident`s: JSON, JSON Lines, YAML, and Markdown post-mortems with front matter."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pipeline.errors import Rejected
from schemas import Incident

_SECTIONS = {
    "symptoms": ("symptom", "summary", "impact", "what happened", "detection"),
    "diagnosis": ("diagnosis", "investigation"),
    "root_cause": ("root cause", "cause"),
    "mitigation": ("mitigation", "resolution", "fix", "recovery", "remediation"),
}


def read_incidents(path: Path) -> list[Incident]:
    """Every incident in a file, or in the files of a folder but its READMEs and hidden ones.

    Raises `Rejected`: the file, and what is wrong in it.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_knowledge(file.relative_to(path)))
    elif path.suffix.lower() in _READERS:
        files = [path]
    else:
        raise Rejected(f"{path}: neither a folder nor one of {', '.join(sorted(_READERS))}")
    incidents: dict[str, Incident] = {}
    for file in files:
        for incident in _read(file):
            if incident.id in incidents:
                raise Rejected(f"{file}: the id {incident.id} is there twice")
            incidents[incident.id] = incident
    return list(incidents.values())


def _is_knowledge(file: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.parts)
    return file.suffix.lower() in _READERS and file.stem.lower() != "readme" and not hidden


def _read(file: Path) -> list[Incident]:
    try:
        rows = list(_READERS[file.suffix.lower()](file.read_text(encoding="utf-8-sig"), file))
    except (OSError, ValueError, yaml.YAMLError, msgspec.MsgspecError) as exc:
        raise Rejected(f"{file}: {exc}") from exc
    incidents = []
    for number, row in enumerate(rows, 1):
        try:
            incidents.append(msgspec.convert(row, Incident, strict=False))
        except msgspec.ValidationError as exc:
            raise Rejected(f"{file}: incident {number}: {exc}") from exc
    return incidents


def _json(text: str, _: Path) -> Iterable[Any]:
    value = msgspec.json.decode(text)
    return value if isinstance(value, list) else [value]


def _json_lines(text: str, file: Path) -> Iterable[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield msgspec.json.decode(line)
            except msgspec.DecodeError as exc:
                raise Rejected(f"{file}: line {number}: {exc}") from exc


def _yaml(text: str, _: Path) -> Iterable[Any]:
    value = yaml.safe_load(text)
    return value if isinstance(value, list) else [value]


def _markdown(text: str, file: Path) -> Iterable[Any]:
    front = re.match(r"\A---\s*\n(.*?)\n---\s*\n", text, re.DOTALL)
    fields = yaml.safe_load(front.group(1)) if front else {}
    if not isinstance(fields, dict):
        raise Rejected(f"{file}: the front matter is no mapping")
    title, sections = _outline(text[front.end() :] if front else text)
    found: dict[str, Any] = {"id": file.stem, "title": title or file.stem}
    for heading, content in sections:
        for name, signs in _SECTIONS.items():
            if name not in found and any(sign in heading.lower() for sign in signs):
                found[name] = content
                break
    return [found | fields]


def _outline(body: str) -> tuple[str | None, list[tuple[str, str]]]:
    """The first title, and each second-level heading with what stands below it: deeper headings, code and all."""
    title: str | None = None
    sections: list[tuple[str, list[str]]] = []
    fence = ""
    for line in body.splitlines():
        mark = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if mark and not fence:
            fence = mark.group(1)
        elif mark and mark.group(1).startswith(fence):
            fence = ""
        heading = None if fence else re.match(r"(##?)\s+(.+?)(?:\s+#+)?\s*$", line)
        if heading and heading.group(1) == "#":
            title = title or heading.group(2)
        elif heading:
            sections.append((heading.group(2), []))
        elif sections:
            sections[-1][1].append(line)
    return title, [(heading, "\n".join(lines).strip()) for heading, lines in sections]


_READERS: dict[str, Callable[[str, Path], Iterable[Any]]] = {
    ".json": _json, ".jsonl": _json_lines, ".yaml": _yaml, ".yml": _yaml, ".md": _markdown,
}  # fmt: skip
