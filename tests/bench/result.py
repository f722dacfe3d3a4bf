"""What a case found: rows for a table, a chart, and one line of JSON."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.table import Table

from tests.bench import chart
from tests.program import ROOT

Kind = Literal["ours", "peers", "floor"]
FOLDER = ROOT / ".bench"


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant. ``value`` None: it could not be measured, and ``note`` says why."""

    kind: Kind
    name: str
    value: float | None
    cpu_us: float | None = None
    note: str = ""
    compared: bool = True
    """Whether a ratio with it means something."""


@dataclass
class Result:
    """A case's rows, ours first. ``unit`` is that of the values."""

    case: str
    says: str
    unit: str
    scale: float
    rows: list[Row] = field(default_factory=list)
    against: str = ""
    """The row of ours that ratios are taken of; none: the first."""

    def add(
        self, kind: Kind, name: str, value: float | None, *, cpu_us: float | None = None, note: str = "",
        compared: bool = True,
    ) -> None:  # fmt: skip
        self.rows.append(Row(kind, name, value, cpu_us, note, compared))
        print(f"  {kind}: {name}: {'not measured' if value is None else shown(value)} {note}".rstrip(), flush=True)

    @property
    def basis(self) -> Row | None:
        """Whom everybody is compared with."""
        measured = [row for row in self.rows if row.kind == "ours" and row.value is not None]
        return next((row for row in measured if row.name == self.against), next(iter(measured), None))

    def ratio(self, row: Row) -> float | None:
        """Ours divided by this row's value."""
        basis = self.basis
        if basis is None or row is basis or basis.value is None or not row.value or not row.compared:
            return None
        return basis.value / row.value

    def line(self) -> str:
        """The last line of a run: one JSON object."""
        found: dict[str, dict[str, float]] = {"ours": {}, "peers": {}, "floor": {}}
        for row in self.rows:
            if row.value is not None:
                found[row.kind][row.name] = rounded(row.value)
        ratios = {row.name: ratio for row in self.rows if (ratio := self.ratio(row)) is not None}
        return json.dumps(
            {"case": self.case, "unit": self.unit, "scale": self.scale}
            | found
            | {
                "ratios": {name: rounded(ratio) for name, ratio in ratios.items()},
                "processor_us": {row.name: rounded(row.cpu_us) for row in self.rows if row.cpu_us is not None},
                "missing": {row.name: row.note for row in self.rows if row.value is None},
                "cpus": os.cpu_count(), "commit": commit(),
            }
        )  # fmt: skip

    def show(self, console: Console) -> None:
        """Print the table, and draw the chart."""
        table = Table(title=f"{self.case}: {self.says}", title_justify="left")
        basis = self.basis
        table.add_column("")
        table.add_column("contestant")
        table.add_column(self.unit, justify="right")
        table.add_column(f"{basis.name} / this" if basis else "ratio", justify="right")
        table.add_column("processor µs each", justify="right")
        table.add_column("note")
        for row in self.rows:
            ratio = self.ratio(row)
            table.add_row(
                row.kind, row.name, "not measured" if row.value is None else shown(row.value),
                "" if ratio is None else f"{ratio:.2f}", "" if row.cpu_us is None else f"{row.cpu_us:.0f}", row.note,
            )  # fmt: skip
        console.print(table)
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"{self.case}.svg"
        path.write_text(chart.bars(self.case, self.says, self.unit, self._bars()))
        console.print(f"chart: {path.relative_to(ROOT)}", highlight=False)

    def _bars(self) -> Sequence[chart.Bar]:
        return [chart.Bar(row.kind, row.name, row.value, shown(row.value)) for row in self.rows if row.value]


def shown(value: float) -> str:
    """Three digits are more than a shared machine can promise."""
    return f"{rounded(value):,.0f}" if value >= 100 else f"{rounded(value):g}"


def rounded(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")


def commit() -> str:
    """Which commit this is; a plus sign: with changes. A copy without git does not know."""
    asked = ["git", "describe", "--always", "--abbrev=10", "--dirty=+"]
    try:
        told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return told.stdout.strip() or "unknown"
