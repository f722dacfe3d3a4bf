"""`pulseguard eval --engine llm`: a model over the same evidence as the rule, both judged by the same figures."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.model_server import Behaviour, answer_for, completion, good, model_server, with_status
from tests.program import command

INCIDENTS = [
    {"id": "disk", "title": "Disk full", "symptoms": "No space left on the disk of the database.",
     "outcome": "resolved", "action": {"name": "clean_disk", "target": "db"}},
    {"id": "cert", "title": "Certificate expired", "symptoms": "Clients refuse the expired certificate.",
     "outcome": "resolved", "action": {"name": "renew_certificate", "target": "gateway"}},
]  # fmt: skip
QUERIES = [
    {"id": "1", "description": "no space left on the disk of the database", "relevant": ["disk"],
     "action": "clean_disk"},
    {"id": "2", "description": "clients refuse an expired certificate", "relevant": ["cert"],
     "action": "renew_certificate"},
]  # fmt: skip
SMALL = {"LLM_INPUT_USD": "1", "LLM_OUTPUT_USD": "10", "MIN_CONFIDENCE": "0"}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for name, rows in (("incidents", INCIDENTS), ("queries", QUERIES)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


async def evaluated(dataset: Path, *options: str, **environment: str) -> tuple[int, str]:
    home = {"PULSEGUARD_HOME": str(dataset / "home"), "COLUMNS": "160"}
    return await command(["eval", "--dataset", str(dataset), "--json", *options], home | environment)


async def played(behave: Behaviour, dataset: Path) -> dict[str, Any]:
    async with model_server(behave) as server:
        code, said = await evaluated(
            dataset, "--engine", "llm", "--html", str(dataset / "report.html"),
            LLM_MODEL="openai/played", LLM_API_BASE=server.url, **SMALL,
        )  # fmt: skip
    assert code == 0, said
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


async def second(_: web.Request, question: dict[str, Any], __: int) -> web.StreamResponse:
    """Rest the advice on the second incident, whatever the first is."""
    item = json.loads(question["messages"][1]["content"])["evidence"][1]
    name = item["incident_id"]
    changes = {"action": item["action"]["name"], "matched_incident": name, "rationale": f"As in {name}."}
    return completion(answer_for(question, **changes))


@pytest.mark.parametrize(("behave", "share", "failed"), [(good, 1, 0), (second, 0, 0), (with_status(401), 1, 2)])
async def test_a_model_is_judged_by_what_its_advice_rests_on(
    behave: Behaviour, share: int, failed: int, dataset: Path
) -> None:
    """One that follows the evidence is as good as the rule; one that takes the wrong incident is wrong; on a failure
    the rule decides, and it is counted."""
    told = await played(behave, dataset)
    assert (told["recall_at_1"], told["action_accuracy"], told["cost_usd"]) == (1, 1, 0)
    llm = told["llm"]
    assert (llm["figures"]["recall_at_1"], llm["figures"]["action_accuracy"]) == (share, share)
    assert set(llm["figures"]) == set(told) - {"by_variant", "llm"}
    assert (llm["decided_by"], llm["model_failed"]) == ("openai/played", failed)
    drawn = (dataset / "report.html").read_text()
    assert "decided by openai/played</title>" in drawn
    assert f'<td>recall_at_1</td><td class="n">{share}</td><td>' in drawn
    assert llm["figures"]["latency_ms_p50"] > told["latency_ms_p50"]
    compared = llm["compared"]["action_accuracy"]
    assert (compared["before"], compared["after"]) == (1, share)
    assert compared["low"] <= share - 1 <= compared["high"]


async def test_two_prompts_are_compared_case_by_case(dataset: Path) -> None:
    """What --save writes is the model's where a model decides; this one does well where it is told to."""

    async def behave(request: web.Request, question: dict[str, Any], count: int) -> web.StreamResponse:
        does = good if question["messages"][0]["content"].startswith("Do well") else second
        return await does(request, question, count)

    run, prompt = dataset / "run.json", dataset / "prompt.md"
    prompt.write_text("Do well.")
    async with model_server(behave) as server:
        named = {"LLM_MODEL": "openai/played", "LLM_API_BASE": server.url} | SMALL
        assert (await evaluated(dataset, "--engine", "llm", "--save", str(run), **named))[0] == 0
        code, said = await evaluated(dataset, "--prompt", str(prompt), "--against", str(run), **named)
    assert code == 0, said
    found = json.loads(said.splitlines()[-1])
    assert found["llm"]["decided_by"] == "openai/played, prompt prompt.md"
    accuracy = found["against"]["action_accuracy"]
    assert (accuracy["before"], accuracy["after"]) == (1, 0)
    assert accuracy["low"] <= -1 <= accuracy["high"]


async def test_the_cost_of_a_decision_is_told(dataset: Path) -> None:
    """700 tokens asked at 1 and 60 answered at 10 dollars a million."""
    llm = (await played(good, dataset))["llm"]
    assert llm["figures"]["cost_usd"] == pytest.approx(0.0013)
    assert (llm["model_calls"], llm["prompt_tokens"], llm["cost_usd"]) == (2, 1400, pytest.approx(0.0026))


async def test_a_file_that_cannot_be_read_is_passed_over_and_told(dataset: Path) -> None:
    """Of a folder of incidents: the figures are of the others, and the exit code is 1."""
    (dataset / "incidents").mkdir()
    (dataset / "incidents.jsonl").rename(dataset / "incidents" / "all.jsonl")
    (dataset / "incidents" / "bad.md").write_bytes(b"# Outage \xff\n")
    code, said = await evaluated(dataset)
    assert code == 1, said
    assert "bad.md: is not UTF-8, from byte 9 on" in said
    assert json.loads(next(line for line in said.splitlines() if line.startswith("{")))["cases"] == len(QUERIES)
    assert "\nerror 1 file could not be read" in said


@pytest.mark.parametrize("option", ["--against", "--html", "--save", "--prompt"])
async def test_a_file_that_cannot_be_used_is_refused_before_it_is_measured(option: str, dataset: Path) -> None:
    """Not after the minutes that the figures take: nothing is asked, nothing printed."""
    file = dataset / "none" / "file.json"
    code, said = await evaluated(dataset, option, str(file), LLM_MODEL="openai/played")
    assert code == 2
    assert str(file) in said
    assert "recall_at_1" not in said


async def test_a_prompt_that_is_no_text_is_refused_before_it_is_measured(dataset: Path) -> None:
    (dataset / "prompt.md").write_bytes(b"Do well\xff")
    code, said = await evaluated(dataset, "--prompt", str(dataset / "prompt.md"), LLM_MODEL="openai/played")
    assert code == 2
    assert "prompt.md: is not UTF-8, from byte 7 on" in said
    assert "recall_at_1" not in said


async def test_without_a_model_there_is_nothing_to_compare(dataset: Path) -> None:
    code, said = await evaluated(dataset, "--engine", "llm")
    assert code == 2
    assert "LLM_MODEL" in said
    assert "recall_at_1" not in said
