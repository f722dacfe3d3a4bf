"""A table as spreadsheets and ticket systems export it: a line of names, and a row an incident."""

import csv
import io
from collections.abc import Iterator

from pipeline.errors import Rejected

_BETWEEN = ",;\t"
"""What may part the cells: a spreadsheet writes what its country's numbers leave free."""


def rows(text: str) -> Iterator[dict[str, str]]:
    """Each row's cells by their columns' names, without the empty ones. Raises `Rejected`.

    Of several columns with one name the first that says something counts. A row with more or fewer cells than names
    is refused: nobody knows which of them is which.
    """
    between = max(_BETWEEN, key=text.partition("\n")[0].count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=between)
    try:
        names = [name.strip() for name in next(lines, [])]
        for cells in lines:
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(names):
                raise Rejected(f"line {lines.line_num}: cells: {len(cells)}, columns: {len(names)}")
            row: dict[str, str] = {}
            for name, cell in zip(names, cells, strict=True):
                if cell.strip():
                    row.setdefault(name, cell.strip())
            yield row
    except csv.Error as exc:
        raise Rejected(f"line {lines.line_num}: {exc}") from exc
