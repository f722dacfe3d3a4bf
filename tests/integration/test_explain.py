"""Provenance: what `explain` shows is what was sent and answered; what `replay` reports is what would change."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import pytest
import pytest_asyncio
import websockets

from pipeline.confidence import load_calibration, trust
from pipeline.explain import explained
from pipeline.stages.provenance import FORGET, provenance_of
from pipeline.stages.record import Record
from schemas import ModelCall, Signals
from tests.integration.test_record import decision as record_of
from tests.model_server import ModelServer, answer_for, completion, good, model_server
from tests.program import command, open_folder, until
from tests.stack import Stack, next_decision

WICKED = "no JSON here: \x1b[31m red, a NUL \x00, half a surrogate \ud83d, [bold]markup[/bold]"
PUT_RIGHT = "An earlier answer to this was refused"


async def behave(request: aiohttp.web.Request, question: dict[str, Any], count: int) -> aiohttp.web.StreamResponse:
    """Wicked at first and then good about stutter_fault; wicked to the end about babble_fault; else good."""
    told, asked = (turn["content"] for turn in question["messages"])
    if "babble_fault" in asked or ("stutter_fault" in asked and PUT_RIGHT not in told):
        return completion(WICKED)
    if "Always escalate" in told:
        answer = {"verdict": "escalate", "action": "escalate_to_human", "parameters": {}, "matched_incident": None}
        return completion(answer_for(question, **answer))
    return await good(request, question, count)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[tuple[Stack, ModelServer]]:
    """One `up` with a model that a real server of ours plays."""
    stack = Stack(open_folder())
    async with model_server(behave) as server:
        stack.environment |= {"LLM_MODEL": "openai/played", "LLM_API_BASE": server.url}
        async with stack.up():
            yield stack, server


async def run(up: Stack, *arguments: str) -> tuple[int, str]:
    """Exit code and output of `pulseguard ARGUMENTS` in the environment of ``up``."""
    return await command(arguments, up.environment)


async def decided(up: Stack, error_type: str, **fields: Any) -> dict[str, Any]:
    """Publish, and wait for the decision."""
    async with websockets.connect(f"{up.feed}?types=decision") as feed:
        await asyncio.to_thread(up.publish, json.dumps({"error_type": error_type} | fields).encode())
        return await next_decision(feed, error_type)


async def last_line(up: Stack, *arguments: str) -> dict[str, Any]:
    code, said = await run(up, *arguments, "--json")
    assert code == 0, said
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


@pytest.mark.asyncio(loop_scope="module")
async def test_the_prompt_and_the_raw_answers_are_kept_as_they_went(running: tuple[Stack, ModelServer]):
    """Each question is the very one that the server got, each answer the raw one, with what the check said of it."""
    up, server = running
    first = len(server.asked)
    decision = await decided(up, "stutter_fault", service="payments-db", message="database timeouts, pool exhausted")
    assert decision["engine"] == "llm"
    explanation = await last_line(up, "explain", decision["id"])
    assert explanation["decision"] == decision
    assert explanation["anomaly"]["message"] == "database timeouts, pool exhausted"
    calls = explanation["provenance"]["calls"]
    assert [call["messages"] for call in calls] == [asked["messages"] for asked in server.asked[first:]]
    assert calls[0]["answer"] == WICKED.replace("\ud83d", "?")
    assert calls[0]["outcome"].startswith("refused: the answer holds no JSON object")
    assert calls[1]["outcome"] == "accepted"
    assert json.loads(calls[1]["answer"])["matched_incident"] == decision["matched_incident"]
    assert [call["usage"]["prompt_tokens"] for call in calls] == [700, 700]
    assert all(call["ms"] > 0 for call in calls)
    async with (
        aiohttp.ClientSession(up.http) as client,
        client.get(f"/v1/decisions/{decision['id']}/explain") as answer,
    ):
        assert await answer.json() == explanation


@pytest.mark.asyncio(loop_scope="module")
async def test_a_terminal_shows_it_all_and_obeys_nothing_in_it(running: tuple[Stack, ModelServer]):
    """Anomaly, evidence, signals, prompt, answers, outcome and timings are there; escapes and markup are only text."""
    up, _ = running
    decision = await decided(up, "stutter_fault", service="orders-db", message="evil \x1b[31m and [bold]text[/bold]")
    code, said = await run(up, "explain", decision["id"])
    assert code == 0
    shown = [
        decision["id"], "stutter_fault", decision["evidence"][0]["title"], "similarity", "is the first right?",
        f"{decision['signals']['margin']:g}", "You advise the engineer on call", "[bold]markup[/bold]", "accepted",
        "refused: the answer holds no JSON object", "700 + 60 tokens", "arrival to decision",
        "the same as in call 1",
    ]  # fmt: skip
    assert [part for part in shown if part not in said] == []
    assert "\x1b[31m" not in said
    assert "\x00" not in said


@pytest.mark.asyncio(loop_scope="module")
async def test_questions_whose_answers_were_not_taken_are_kept(running: tuple[Stack, ModelServer]):
    """Where the rule had to decide, every vain question is there with its reason, and its tokens."""
    up, _ = running
    decision = await decided(up, "babble_fault", service="payments-db", message="database timeouts, pool exhausted")
    assert decision["engine"] == "nearest"
    calls = (await last_line(up, "explain", decision["id"]))["provenance"]["calls"]
    assert [call["form"] for call in calls] == ["json_schema", "json_object"]
    assert all(call["outcome"].startswith("refused: ") and call["answer"] for call in calls)
    assert all(call["usage"]["completion_tokens"] == 60 for call in calls)


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_not_there_is_said(running: tuple[Stack, ModelServer]):
    """An id that nobody gave is refused by the command and by HTTP."""
    up, _ = running
    code, said = await run(up, "explain", "dec_none")
    assert (code, said.strip()) == (2, "error no decision dec_none")
    async with aiohttp.ClientSession(up.http) as client, client.get("/v1/decisions/dec_none/explain") as answer:
        assert answer.status == 404


@pytest.mark.asyncio(loop_scope="module")
async def test_a_replay_says_what_would_change_and_changes_nothing(running: tuple[Stack, ModelServer], tmp_path: Path):
    """Under the same settings nothing differs; under a prompt that always escalates, what was recommended does."""
    up, server = running
    await decided(up, "babble_fault", service="replayed-db", message="database timeouts, pool exhausted")
    decision = await decided(up, "database_timeout", service="payments-db", spike_percentage=450)
    assert decision["verdict"] == "recommend"
    tables = (
        "SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM provenance), (SELECT count(*) FROM episodes)"
    )
    before = await up.rows(tables), len(await asyncio.to_thread(up.read, "decisions"))
    same = await last_line(up, "replay", "--since", "1h")
    assert same["replayed"] >= 2
    # Those that the wicked answers left to the rule ask the model again, and it is as wicked again.
    assert (same["changed"], same["left_out"], same["more"]) == (0, 0, False)
    prompt = tmp_path / "careful.md"
    prompt.write_text("Always escalate.")
    other = await last_line(up, "replay", "--since", "1h", "--prompt", str(prompt), "--limit", "1")
    assert server.asked[-1]["messages"][0]["content"].startswith("Always escalate.")
    assert other["decided_by"] == "openai/played, prompt careful.md"
    assert (other["replayed"], other["changed_verdict"], other["changed_action"], other["more"]) == (1, 1, 1, True)
    assert (other["prompt_tokens"], other["completion_tokens"], other["cost_usd"]) == (700, 60, None)
    (changed,) = other["decisions"]
    assert changed["id"] == decision["id"]
    assert (changed["before"]["verdict"], changed["after"]["verdict"]) == ("recommend", "escalate")
    assert (await up.rows(tables), len(await asyncio.to_thread(up.read, "decisions"))) == before


@pytest.mark.asyncio(loop_scope="module")
async def test_a_replay_may_ask_the_rule_and_search_anew(running: tuple[Stack, ModelServer]):
    """`--model nearest` asks no model; `--fresh` takes what is known now, and finds the incident learned since."""
    up, server = running
    decision = await decided(up, "elevator_stuck", service="tower", message="elevator stuck between floors")
    assert decision["verdict"] == "escalate"
    over = {"error_type": "elevator_stuck", "service": "tower", "status": "resolved"}
    await asyncio.to_thread(up.publish, json.dumps(over).encode())  # one that goes on is decided anew by the worker

    async def ended() -> bool:
        return bool(await up.rows("SELECT FROM episodes WHERE id = $1 AND state = 'resolved'", decision["episode_id"]))

    await until(ended, 20, what="its end")
    row = {
        "id": "inc-lift", "title": "Elevator stuck between floors", "service": "tower", "error_type": "elevator_stuck",
        "symptoms": "elevator stuck between floors", "action": {"name": "restart_service", "target": "tower"},
        "outcome": "resolved",
    }  # fmt: skip
    known = up.home / "lift.json"
    known.write_text(json.dumps(row))
    assert (await run(up, "incidents", "load", str(known)))[0] == 0
    asked = len(server.asked)
    told = await last_line(up, "replay", "--since", "1h", "--limit", "1", "--model", "nearest", "--fresh")
    assert (told["decided_by"], told["model_calls"], len(server.asked)) == ("the nearest-incident rule", 0, asked)
    (changed,) = told["decisions"]
    assert changed["after"]["matched_incident"] == "inc-lift"
    _, said = await run(up, "replay", "--since", "1h", "--limit", "1", "--model", "nearest", "--json")
    assert json.loads(said.splitlines()[-1])["changed_verdict"] == 0
    assert "│ more" not in said  # where there are more, a sentence says so


async def test_the_first_writer_s_provenance_stays(record: Record):
    """Decision and provenance are of one writer; a decision of before has none, and is explained all the same."""
    calibration = load_calibration(None)
    signals = Signals(similarity=0.5)
    for said in ("first", "second"):
        came_of = provenance_of("dec_1", signals, calibration, 0.5, [ModelCall(messages=[], answer=said)])
        await record.save_decisions([(record_of(rationale=said), came_of)])
    found = await explained(record, "dec_1")
    assert found.provenance is not None
    assert (found.decision.rationale, found.provenance.calls[0].answer) == ("first", "first")
    assert found.provenance.right.said == trust(signals, calibration).right
    await record.save_decisions([(record_of("dec_old"), None)])
    assert (await explained(record, "dec_old")).provenance is None


async def test_old_provenance_is_forgotten_and_decisions_stay(record: Record):
    """What is older than the limit goes, the oldest first; what it belonged to is explained without it."""
    calibration = load_calibration(None)
    for name, age in (("dec_old", 100), ("dec_new", 1)):
        made = record_of(name, created_at=datetime.now(UTC) - timedelta(days=age))
        await record.save_decisions([(made, provenance_of(name, Signals(), calibration, 0.5, []))])
    limit = datetime.now(UTC) - timedelta(days=90)
    assert [await record.forget_provenance(limit) for _ in range(2)] == [1, 0]
    assert (await explained(record, "dec_old")).provenance is None
    assert (await explained(record, "dec_new")).provenance is not None


async def test_forgetting_looks_at_no_decision(record: Record):
    """Of those there are ever more, and nearly all have nothing left to forget."""
    async with record.connection() as connection:
        await connection.execute("SET enable_seqscan = off")  # what it may do where the tables are large
        plan = [row[0] for row in await connection.fetch(f"EXPLAIN {FORGET}", datetime.now(UTC))]
        await connection.execute("RESET enable_seqscan")
    assert any("provenance_oldest" in line for line in plan), plan
    assert not any("decisions" in line for line in plan), plan


@pytest.mark.asyncio(loop_scope="module")
async def test_a_load_says_what_it_could_not_fill(running: tuple[Stack, ModelServer], tmp_path: Path):
    """File by file: the fields that stayed empty, what was not understood, and which page is no post-mortem."""
    up, _ = running
    (tmp_path / "moat.txt").write_text("Moat dried up\nDate: 03/05/2024\n\nWhat happened:\nThe moat was empty.\n")
    (tmp_path / "index.html").write_text("<h2>Available Pages:</h2>")
    code, said = await run(up, "incidents", "load", str(tmp_path))
    assert (code, "1 read, 1 new or changed" in said) == (0, True), said
    told = " ".join(said.replace("│", " ").split())
    for part in ("moat.txt", "service, error_type", "root_cause", "'03/05/2024'", "was not understood", "index.html"):
        assert part in told
    (row,) = await up.rows("SELECT body FROM incidents WHERE id = 'moat'")
    assert json.loads(row["body"]) == {"id": "moat", "title": "Moat dried up", "symptoms": "The moat was empty."}
