"""`pulseguard backtest` on a history of one's own, and shadow mode through a running `up`."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import websockets

from pipeline.backtest import samples
from pipeline.settings import Settings
from tests.model_server import good, model_server
from tests.program import Program, command, open_folder, until
from tests.stack import Stack, next_decision


async def backtest(history: Path, **environment: str) -> tuple[int, str]:
    return await run(history, "backtest", str(history), "--json", **environment)


async def run(history: Path, *words: str, **environment: str) -> tuple[int, str]:
    return await command(words, {"PULSEGUARD_HOME": str(history.parent / "home"), "COLUMNS": "160"} | environment)


def incident(name: str, day: str | None, **fields: Any) -> dict[str, Any]:
    row = {
        "id": name, "title": f"The matter of {name}", "service": "doors", "error_type": "badge_reader_silent",
        "symptoms": "badge readers at the doors do not answer, doors stay locked", "outcome": "resolved",
        "action": {"name": "restart_service", "target": "doors"},
    }  # fmt: skip
    return row | ({"occurred_at": f"{day}T08:00:00Z"} if day else {}) | fields


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Listed against time: a fault that comes again, one that is new, one without a time."""
    new = {"error_type": "clock_skew", "service": "ntp", "symptoms": "tokens refused because clocks run apart"}
    rows = [
        incident("again", "2026-03-01"),
        incident("first", "2026-01-01"),
        incident("new", "2026-02-01", action={"name": "correct_clock", "target": "ntp"}, **new),
        incident("undated", None),
    ]
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


async def test_a_history_is_replayed_with_only_the_past_known(history: Path):
    """What comes again is recommended as it was done; nothing rests on what was later, or on itself."""
    code, said = await backtest(history)
    assert code == 0, said
    told = json.loads(said.splitlines()[-1])
    assert [one["incident"] for one in told["tries"]] == ["first", "new", "again"]
    assert [one["verdict"] for one in told["tries"]] == ["escalate", "escalate", "recommend"]
    assert (told["tries"][2]["matched_incident"], told["tries"][2]["right"]) == ("first", True)
    figures = {name: told[name] for name in ("incidents", "without_a_time", "asked", "recommended", "same_action")}
    assert figures == {"incidents": 4, "without_a_time": 1, "asked": 3, "recommended": 1, "same_action": 1}
    assert (told["decided_by"], told["cost_usd"]) == ("the nearest-incident rule", 0)
    assert "would have said" in said


async def test_a_model_s_answers_are_counted(history: Path):
    """With a model, it is asked with the same evidence, and its tokens are told; a cost that is not known says so."""
    async with model_server(good) as server:
        history.write_text("".join(line for line in history.read_text().splitlines(keepends=True) if "new" not in line))
        code, said = await backtest(history, LLM_MODEL="openai/played", LLM_API_BASE=server.url)
        assert code == 0, said
        told = json.loads(said.splitlines()[-1])
        asked = [json.loads(question["messages"][1]["content"]) for question in server.asked]
    assert told["decided_by"] == "openai/played"
    # On the first one there is no evidence, which the played model stumbles over: the rule decides.
    assert (told["prompt_tokens"], told["cost_usd"], told["same_action"]) == (700, None, 1)
    evidence = [[item["incident_id"] for item in question["evidence"]] for question in asked]
    assert sorted(evidence) == [[], ["first"]]  # asked at once, in no order
    assert not any("The matter of again" in json.dumps(question) for question in asked)


async def test_a_file_that_cannot_be_read_is_passed_over_and_told(history: Path):
    """As `incidents load` does: what is said is of the others, and the exit code is 1."""
    folder = history.parent / "post-mortems"
    folder.mkdir()
    history.rename(folder / "all.jsonl")
    (folder / "bad.md").write_bytes(b"# Outage \xff\n")
    (folder / "nul.json").write_text('{"id": "nul", "title": "a \\u0000"}')
    code, said = await backtest(folder)
    assert code == 1, said
    assert "bad.md: is not UTF-8, from byte 9 on" in said
    assert "nul.json: incident 1: a string holds a NUL character" in said
    assert json.loads(next(line for line in said.splitlines() if line.startswith("{")))["incidents"] == 4
    assert "\nerror 2 files could not be read" in said


async def test_a_past_that_the_confidence_does_not_hold_for_refits_it(tmp_path: Path):
    """Faults that come again and again, and that something else helped each time, are no longer advised on.

    Of the nearest incident only: each names another action than the one before it. The fit says that it is better on
    what it has not seen, and the same past replayed under it gives less advice.
    """
    path, fitted = tmp_path / "history.jsonl", tmp_path / "fitted.json"
    rows = [
        incident(f"inc-{day:03}", f"{date(2026, 1, 1) + timedelta(day):%Y-%m-%d}", service=f"doors-{day % 5}",
                 action={"name": ("restart_service", "scale_out", "rollback_deploy")[day % 3], "target": "doors"})
        for day in range(45)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, before = await backtest(path)
    assert code == 0, before
    assert f"pulseguard calibrate --history {path}" in before
    code, said = await run(path, "calibrate", "--history", str(path), "--write", str(fitted))
    assert code == 0, said
    assert "it is better." in said
    code, after = await backtest(path, CALIBRATION_FILE=str(fitted))
    first, then = (json.loads(told.splitlines()[-1]) for told in (before, after))
    assert then["recommended"] < first["recommended"] / 2
    code, said = await run(path, "calibrate", "--history", str(path), "--dataset", ".", "--write", str(fitted))
    assert (code, "one of them" in said) == (2, True), said


async def test_a_history_without_times_is_refused(tmp_path: Path):
    """It says how many of how many have one."""
    path = tmp_path / "history.json"
    path.write_text(json.dumps([incident("a", None), incident("b", "2026-01-01")]))
    code, said = await backtest(path)
    assert code == 2
    assert "1 of 2 incidents say when they were" in " ".join(said.split())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trial() -> AsyncIterator[tuple[Stack, Program]]:
    """One `up` with SHADOW, and a Slack webhook that a real server of ours answers."""
    stack = Stack(open_folder())
    stack.environment["SHADOW"] = "yes"
    async with stack.webhook(), stack.up() as program:
        yield stack, program


@pytest.mark.asyncio(loop_scope="module")
async def test_in_shadow_all_is_decided_and_nobody_notified(trial: tuple[Stack, Program]):
    """The decision is on feed, topic and table and says shadow; Slack passes over it, and has read it."""
    up, program = trial
    async with websockets.connect(up.feed) as feed:
        await asyncio.to_thread(up.publish, b'{"error_type": "database_timeout", "service": "payments-db"}')
        decision = await next_decision(feed, "database_timeout")
    assert decision["shadow"] is True
    (record,) = await asyncio.to_thread(up.read, "decisions")
    assert json.loads(record.value()) == decision

    async def muted() -> bool:
        rows = await up.rows("SELECT state, detail FROM notifications")
        return [(row["state"], row["detail"]) for row in rows] == [("muted", "shadow")]

    await until(muted, 30, "the muted notification")
    assert up.slack == []
    assert "SHADOW is set" in program.output


async def test_what_comes_again_is_on_one_side_of_a_split(history: Path):
    """Else a fit would be judged on what it has seen: the same fault, a month later."""
    found = await samples(Settings(), history)
    assert [(one.group, one.right) for one in found] == [("clock skew ntp", False), ("badge reader silent doors", True)]
