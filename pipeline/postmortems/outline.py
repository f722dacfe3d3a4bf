"""A post-mortem's outline: title, properties, sections, out of Markdown. The other formats are made Markdown first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PROPERTY = re.compile(r"[\s>*+•-]*([A-Za-z][A-Za-z0-9 /_-]{1,40}?)\s*[*_]{0,2}:[*_]{0,2}\s+(\S.*)")
_HEADING = re.compile(r"(#{1,6})\s+(\S.*)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of a level (1 is the highest), and what stands below it up to the next one."""

    level: int
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Outline:
    """``title`` is the first heading of the first level; ``preamble`` what stands before all sections."""

    title: str | None
    preamble: str
    sections: list[Section]


def outline(markdown: str) -> Outline:
    """The outline of a text. Headings in code are none."""
    title: str | None = None
    preamble: list[str] = []
    sections: list[tuple[int, str, list[str]]] = []
    for line, in_code in _lines(markdown):
        heading = None if in_code else _HEADING.match(line)
        if heading is None:
            (sections[-1][2] if sections else preamble).append(line)
        elif title is None and len(heading.group(1)) == 1:
            title = _bare(heading.group(2))
        else:
            sections.append((len(heading.group(1)), _bare(heading.group(2)), []))
    return Outline(
        title,
        "\n".join(preamble).strip(),
        [Section(level, heading, "\n".join(lines).strip()) for level, heading, lines in sections],
    )


def properties(text: str) -> Iterator[tuple[str, str]]:
    """Each ``name: value`` line, a list's item too, and each row of a table that has two cells. Names in lower case."""
    for line, in_code in _lines(text):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.strip().startswith("|") else []
        found = None if in_code or cells else _PROPERTY.match(line)
        if found:
            yield _named(found.group(1)), found.group(2).strip().strip("*").strip()
        elif len(cells) == 2 and cells[1].strip(":- "):  # noqa: PLR2004
            yield _named(cells[0]), cells[1].strip("*").strip()


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is in a block of code."""
    fence = ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark.group(1)
        elif mark and mark.group(1).startswith(fence):
            fence = ""
        yield line, bool(fence or mark)


def _bare(heading: str) -> str:
    """Without the signs that may close it, and those that make it bold."""
    said = heading.rstrip()
    opened = said.rstrip("#")
    closed = opened != said and opened[-1:].isspace()
    return (opened if closed else said).strip().strip("*_:").strip()


def _named(name: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9]+", " ", name.lower()).split())
