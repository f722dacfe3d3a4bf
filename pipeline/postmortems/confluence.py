"""A page of Confluence's HTML export, or any other HTML page, as Markdown with its title first."""

import re
from html.parser import HTMLParser

_BREAKS = frozenset(
    ["article", "blockquote", "dd", "div", "dl", "dt", "footer", "header", "hr", "main", "ol", "p", "section", "table",
     "ul"]
)  # fmt: skip
_SILENT = frozenset(["script", "style", "head", "template"])
_UNSEEN = re.compile(
    r"<(script|style)\b(?![^>]{0,2048}+(?<=/)>).*?(?:</\1\s{0,99}>|\Z)|<!--(?:-?>|.*?(?:--!?>|\Z))|<!\[CDATA\[.*?(?:\]\]>|\Z)"
    r"|<[!?][^>]*+>?",
    re.DOTALL | re.IGNORECASE,
)
_LOOSE = re.compile(
    r"""<(?!/[^<>]*+>|[A-Za-z](?:[^<>]*+>|(?:[^<>"']++|"[^"]*+"|'[^']*+'){0,1000}+>))""",
)
"""A sign that begins no tag. Python's parser looks for its end from each of them on, and where there is none, through
all of the page; of a section that is none it knows, it raises AssertionError."""
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}


def as_markdown(html: str) -> str:
    """The page's content: that of ``main-content`` where there is one, or else all that is not in its head."""
    parser = _Page()
    parser.feed(_LOOSE.sub("&lt;", _UNSEEN.sub("", html)))
    parser.close()
    parser.break_line()
    lines = parser.content if parser.content is not None else parser.lines
    title = " ".join(parser.title.split())
    # Confluence puts the space's name before a page's own.
    own = title.split(" : ", 1)[-1] if parser.content is not None else title
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return f"# {own}\n\n{body}" if own else body


class _Page(HTMLParser):
    """Collects lines; ``content`` those of the element ``main-content``, None where the page has none."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.content: list[str] | None = None
        self.title = ""
        self._line = ""
        self._mark = ""
        self._inside = 0
        self._silent = 0
        self._in_title = False
        self._in_code = False
        self._cells: list[str] | None = None
        self._headers: list[str] = []
        self._is_header = True

    def break_line(self) -> None:
        """What was said so far is a line."""
        text = self._line if self._in_code else " ".join(self._line.split())
        self._line = ""
        if self._cells is not None:
            self._line = text + " " if text else ""  # a cell is one line, whatever is in it
        elif text:
            mark, self._mark = self._mark, ""
            # No text of the page's may look like a heading of ours.
            self._write(f"{mark} {text}" if mark else f" {text}" if text.startswith("#") else text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a block, a heading, an item or a cell."""
        given = dict(attrs)
        if tag == "title":
            self._in_title = True
        if tag in _SILENT:
            self._silent += 1
        if tag == "body":
            self._silent = 0  # a head need not be closed
        if tag == "div" and (self._inside or given.get("id") == "main-content"):
            self.break_line()
            self._inside += 1
            self.content = [] if self.content is None else self.content
        if tag == "time" and given.get("datetime"):
            self._line += f" {given['datetime']} "
            self._silent += 1  # what it shows is the same for people
        elif tag in _HEADINGS or tag == "li":
            self.break_line()
            self._mark = _HEADINGS.get(tag, "-")
        elif tag in _BREAKS or tag == "br":
            self.break_line()
        elif tag == "pre":
            self.break_line()
            self._write("```")
            self._in_code = True
        elif tag == "tr":
            self.break_line()
            self._cells, self._is_header = [], True
        elif tag in {"td", "th"}:
            self._line = ""
            self._is_header = self._is_header and tag == "th"

    def handle_endtag(self, tag: str) -> None:
        """End it."""
        if tag == "title":
            self._in_title = False
        if tag in _SILENT or tag == "time":
            self._silent = max(self._silent - 1, 0)
        if tag == "pre" and self._in_code:
            for line in self._line.strip("\n").splitlines():
                self._write(line)
            self._line, self._in_code = "", False
            self._write("```")
        elif tag in {"td", "th"} and self._cells is not None:
            self._cells.append(" ".join(self._line.replace("|", "/").split()))
            self._line = ""
        elif tag == "tr" and self._cells is not None:
            self._row(self._cells)
            self._cells = None
        elif tag == "table":
            self._headers = []
        elif tag in _HEADINGS or tag in _BREAKS or tag == "li":
            self.break_line()
            if tag in _HEADINGS or tag in {"p", "ul", "ol"}:
                self._mark = ""
                self._write("")
        if tag == "div" and self._inside:
            self._inside -= 1

    def handle_data(self, data: str) -> None:
        """Text, of the title or of the page."""
        if self._in_title:
            self.title += data
        elif not self._silent:
            self._line += data

    def _row(self, cells: list[str]) -> None:
        """A row as Markdown; under a header of more than two columns, each cell with its column's name, too."""
        if self._is_header and len(cells) > 2:  # noqa: PLR2004 - two cells are a name and a value
            self._headers = cells
        elif self._headers and len(self._headers) == len(cells):
            for name, cell in zip(self._headers, cells, strict=True):
                self._write(f"| {name} | {cell} |")
        else:
            self._write(f"| {' | '.join(cells)} |")

    def _write(self, line: str) -> None:
        self.lines.append(line)
        if self._inside and self.content is not None:
            self.content.append(line)
