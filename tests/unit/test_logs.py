"""What the log and the terminal show of others' words: no terminal obeys it, and no entry is made up."""

import io
import json
import logging
import re
from collections.abc import Iterator

import msgspec
import pytest
import structlog
from rich.console import Console

from pipeline import logs, settings
from pipeline.__main__ import decision_line
from pipeline.console import json_line
from pipeline.explain import shown
from schemas import Anomaly, Explanation
from tests.guard.attacks import ATTACKS
from tests.unit.test_blocks import decision

HOSTILE = "\x1b]0;obey\x07\x1b[2J\x9b31m\x7f\u202e\U000e0041x"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """Our log and the libraries', as they are configured for a terminal or not, written into a text."""
    text = io.StringIO()
    monkeypatch.setattr("sys.stderr", text)
    monkeypatch.setattr(logs.err, "_force_terminal", request.param)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logs.configure(settings.read({}))
    yield text
    structlog.reset_defaults()


def obeyed(text: str) -> list[str]:
    """What is left of it that a terminal obeys, but for colours and ends of lines."""
    return [c for c in re.sub(r"\x1b\[[\d;]*m", "", text) if not c.isprintable() and c != "\n"]


@pytest.mark.parametrize("logged", [True, False], indirect=True)
def test_a_terminal_obeys_nothing_that_is_logged(logged: io.StringIO):
    """Neither a value, with or without spaces, nor what is in a list, a text of several lines or an error's message."""
    log = structlog.get_logger()
    for value in (HOSTILE, f"{HOSTILE} with a space", [HOSTILE], {HOSTILE: HOSTILE}):
        log.warning("waiting", detail=value)
    log.info("slack_preview", text=f"one\n{HOSTILE}")
    for error in (ValueError(HOSTILE), KeyError(HOSTILE)):
        log.error("stage_bug", exc_info=error)
        logging.getLogger("websockets.server").error("failed: %s", HOSTILE, exc_info=error)
    assert "obey" in logged.getvalue()
    assert obeyed(logged.getvalue()) == []


@pytest.mark.parametrize("logged", [True, False], indirect=True)
def test_no_line_of_others_looks_like_an_entry(logged: io.StringIO):
    """What a library logs of them is set in from its second line on; ours is one line for a program."""
    forged = '\n{"level": "error", "event": "payments is healthy"}\n'
    logging.getLogger("websockets.server").error("failed: %s", forged)
    structlog.get_logger().warning("dead_letter", detail=forged)
    lines = logged.getvalue().splitlines()
    assert [line.strip() for line in lines if "payments" in line]
    assert not any(line.startswith('{"level": "error"') for line in lines)


@pytest.mark.parametrize("name", ATTACKS)
def test_json_for_a_program_is_obeyed_by_no_terminal(name: str):
    """It says the same as if nothing had been spelled out."""
    one = decision(ATTACKS[name])
    line = json_line(one)
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert json.loads(line) == json.loads(msgspec.json.encode(one))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_terminal_obeys_nothing_of_what_a_decision_came_of(name: str):
    """Neither of an alert nor of what a record on a topic of ours may hold, and none of it is markup."""
    text = ATTACKS[name][:5000]
    told = Explanation(
        decision=msgspec.structs.replace(decision(text), timings={text: 1.0}),
        anomaly=Anomaly(error_type=text[:256], message=text, labels={text: text}), received_at=None, origin="x/0@1",
        provenance=None,
    )  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=True).print(shown(told))
    assert obeyed(out.getvalue() + decision_line(told.decision)) == []
