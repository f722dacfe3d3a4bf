"""A post-mortem in plain text as Markdown: what people write above their paragraphs becomes headings."""

import re

_LONGEST = 60
_LONGEST_TITLE = 120
_RULE = re.compile(r"\s*([=\-~*_])\1{2,}\s*")
_LABELLED = re.compile(r"\s*([A-Za-z][A-Za-z /_-]{1,40}):\s*(\S.*)?")

_KIND = re.compile(
    r"(post.?mortem|incident|outage|rca|retrospective)( (report|review|summary|analysis))?", re.IGNORECASE
)
"""A first line "Post-mortem: …" is a title, where "Date: …" is a property."""


def as_markdown(text: str) -> str:
    """Its first line as title, unless that is as long as a paragraph; its headings as ``##``.

    A heading is a short line that is underlined, all in capitals, or ends in a colon with nothing behind it. A line
    ``Root cause: …`` that begins a paragraph of several lines is one, too, with that paragraph below it.
    """
    lines = text.splitlines()
    out: list[str] = []
    titled = False
    for number, line in enumerate(lines):
        after = lines[number + 1] if number + 1 < len(lines) else ""
        if _RULE.fullmatch(line):
            continue
        if not titled and line.strip():
            titled = True
            labelled = _LABELLED.fullmatch(line)
            if len(line.strip()) <= _LONGEST_TITLE and (
                not labelled or (labelled.group(2) and _KIND.fullmatch(labelled.group(1)))
            ):
                out += [f"# {line.strip()}", ""]
                continue
        if _is_heading(line, after):
            out += ["", f"## {line.strip().rstrip(':').capitalize()}"]
        elif (label := _paragraph(lines, number)) is not None:
            out += ["", f"## {label[0]}", label[1]]
        else:
            out.append(f" {line}" if line.startswith("#") else line)
    return "\n".join(out)


def _is_heading(line: str, after: str) -> bool:
    said = line.strip()
    if not said or len(said) > _LONGEST or line[0] in " \t-*•":
        return False
    capitals = said.upper() == said and sum(character.isalpha() for character in said) > 3  # noqa: PLR2004
    return bool(_RULE.fullmatch(after)) or said.endswith(":") or (capitals and ":" not in said)


def _paragraph(lines: list[str], number: int) -> tuple[str, str] | None:
    """Label and first line of a labelled paragraph that goes on for more than this line."""
    found = _LABELLED.fullmatch(lines[number])
    if not found or not found.group(2) or number + 1 >= len(lines):
        return None
    goes_on = lines[number + 1].strip() and not _LABELLED.fullmatch(lines[number + 1])
    return (found.group(1), found.group(2)) if goes_on else None
