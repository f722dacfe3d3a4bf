"""What Slack's answers mean, and what is shown where there is no Slack."""

import io
import json
from typing import Any

import msgspec
import pytest
import structlog

from pipeline import logs, settings
from pipeline.errors import Unavailable
from pipeline.sinks.blocks import Member, render, render_digest, render_update
from pipeline.sinks.slack import _fault, open_slack
from schemas import Evidence
from tests.unit.test_blocks import decision

TOLD = msgspec.structs.replace(
    decision("<db> is *slow* & `x`\x1b[2J"),
    evidence=[Evidence("inc-1", "Pool <exhausted>", 0.81, outcome="resolved")],
)
BOTH = [Member("one", going_on=True), Member("two", going_on=False)]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Our log, as it is configured for a terminal or not, written into a text."""
    text = io.StringIO()
    monkeypatch.setattr("sys.stderr", text)
    monkeypatch.setattr(logs.err, "_force_terminal", request.param)
    logs.configure(settings.read({}))
    monkeypatch.setattr("pipeline.sinks.slack.log", structlog.get_logger())
    yield text
    structlog.reset_defaults()


@pytest.mark.parametrize("logged", [False], indirect=True)
@pytest.mark.parametrize(
    "payload",
    [render(TOLD, BOTH, buttons=True), render_update([TOLD], TOLD, BOTH), render_digest([TOLD, TOLD])],
    ids=["head", "update", "digest"],
)
async def test_without_slack_the_log_has_each_message_in_one_line(logged: io.StringIO, payload: dict[str, Any]):
    """All that Slack would show, as text; nothing of how it would be marked up."""
    await open_slack(settings.read({})).post("log", payload, None)
    (line,) = logged.getvalue().splitlines()
    said = json.loads(line)
    assert (said["event"], "blocks" in said) == ("slack_preview", False)
    lines = said["text"].splitlines()
    assert lines[0] == payload["blocks"][0]["text"]["text"]
    assert all(text.startswith("    ") and text.strip() for text in lines[1:])
    assert not any(mark in said["text"] for mark in ("&lt;", "*Symptom*", "`dec_1`", "\x1b"))


@pytest.mark.parametrize("logged", [True], indirect=True)
async def test_without_slack_a_terminal_shows_the_message_line_by_line(logged: io.StringIO):
    await open_slack(settings.read({})).post("log", render(TOLD, BOTH), None)
    lines = logged.getvalue().splitlines()
    assert "slack_preview" in lines[0]
    assert lines[1] == render(TOLD, BOTH)["blocks"][0]["text"]["text"]
    wanted = [
        "    Symptom", "    Recommended action", "    Evidence",
        "    • inc-1: Pool <exhausted> (resolved; alike in meaning 0.81)", "    Situation 2 episodes, 1 going on",
    ]  # fmt: skip
    assert [line for line in lines if line in wanted] == wanted, lines


@pytest.mark.parametrize(
    ("named", "wait"),
    [("0", 0), ("30", 30), ("300", 300), ("301", 300), ("86400", 300), ("9" * 400, 300), ("soon", None), ("", None)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_nobody_waits_longer_than_five_minutes_for_an_answer(status: int, named: str, wait: float | None):
    """A Retry-After is honoured up to there, in whatever case its name is written."""
    fault = _fault(status, "", {"RETRY-AFTER": named})
    assert isinstance(fault, Unavailable)
    assert fault.retry_after == wait
