"""The benchmarks run, and say what they found; how fast anything is, nobody asserts."""

import asyncio
import json
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from tests.bench import chart, deciding, fanout  # noqa: F401 - they register
from tests.bench.__main__ import CASES
from tests.bench.environments import PEERS
from tests.bench.result import Result
from tests.program import ROOT


async def test_the_storm_is_counted_and_told_in_one_line() -> None:
    """A small storm without peers: ours is measured, nothing is missing, and the last line is JSON."""
    command = [sys.executable, "-m", "tests.bench", "storm", "--scale", "0.01", "--no-peers", "--json"]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert {"case", "ours", "peers", "floor", "ratios"} <= told.keys()
    assert told["case"] == "storm"
    assert told["missing"] == {}
    assert list(told["ours"]) == ["run worker"]
    assert told["ours"]["run worker"] > 0


def test_ratios_are_ours_by_theirs() -> None:
    """Twice as fast as a peer is 2; who could not be measured has no number, and a reason."""
    result = Result("storm", "a storm", "anomalies/s", 1.0)
    result.add("ours", "run worker", 1000.0)
    result.add("peers", "slow", 500.0)
    result.add("peers", "absent", None, note="not installable here")
    result.add("floor", "bare", 4000.0)
    told = json.loads(result.line())
    assert told["ratios"] == {"slow": 2.0, "bare": 0.25}
    assert told["missing"] == {"absent": "not installable here"}
    assert told["peers"] == {"slow": 500.0}


def test_the_chart_is_svg_and_shows_each() -> None:
    """Each bar has its name, escaped, and a longer one stands for a larger value."""
    rows = [chart.Bar("ours", "a < b", 10.0, "10"), chart.Bar("floor", "bare", 1000.0, "1,000")]
    picture = chart.bars("title", "What it says.", "anomalies/s", rows)
    root = ET.fromstring(picture)
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {"a < b", "bare", "1,000", "title", "What it says."} <= texts
    widths = [float(e.get("width", "0")) for e in root.iter() if e.tag.endswith("rect") and e.get("height") == "18"]
    assert widths[0] < widths[1]


@pytest.mark.parametrize(("values", "expected"), [([], (0, 1)), ([5.0, 50.0], (0, 2)), ([1000.0], (2, 3))])
def test_the_scale_holds_every_bar(values: list[float], expected: tuple[int, int]) -> None:
    """Whole decades, below the least and not below the most."""
    assert chart.decades(values) == expected


def test_every_case_says_what_it_measures() -> None:
    """`--list` has a sentence for each case."""
    assert set(CASES) == {"storm", "workers", "backlog", "unique", "model", "latency", "relay"}
    assert all(case.says.endswith(".") for case in CASES.values())


def test_the_peers_are_pinned() -> None:
    """Each package of a peer has one exact version, and the lock of Node's names no registry."""
    for name in ("requirements.txt", "requirements-quix.txt"):
        lines = [line for line in (PEERS / name).read_text().splitlines() if not line.startswith("#")]
        assert lines
        assert all("==" in line for line in lines)
    assert "http" not in (PEERS / "package-lock.json").read_text()
