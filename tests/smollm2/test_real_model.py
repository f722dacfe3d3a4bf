"""A real model, however small, behind `up`: the prompt, the schema and the checks meet what no test has written.

It is no decision-maker. 135 million parameters fill in the form, and what they say there seldom agrees with itself,
such as a recommendation to ask a human: that is refused, the rule decides, and the reason is told. Either is right.
"""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import websockets
import yaml

from pipeline.catalogue import ESCALATE, load_catalogue
from schemas import Action
from tests.program import ROOT, free_port, open_folder, until
from tests.stack import Stack

HERE = Path(__file__).parent
SECONDS = 600
PATIENCE = 240.0
"""Seconds for one answer: two on an idle machine, a hundred times that on one whose cores are all taken."""


def python_of(requirements: Path) -> str:
    """A Python of its own with these packages, under .bench/; skips, saying why, where they cannot be had."""
    folder = ROOT / ".bench" / f"smollm2-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:10]}"
    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", str(requirements)]
        for command in ([sys.executable, "-m", "venv", str(folder)], install):
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
                pytest.skip(f"the model's packages could not be installed: {said[-1][:200]}")
        (folder / ".complete").touch()
    return str(python)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api_base() -> AsyncIterator[str]:
    """The API base of a running SmolLM2."""
    port, log = free_port(), open_folder() / "model.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [python_of(HERE / "requirements.txt"), str(HERE / "serve.py"), str(port)], stdout=file, stderr=file
        )
    try:

        async def up() -> bool:
            assert server.poll() is None, log.read_text(errors="replace")
            return "listening at" in log.read_text(errors="replace")

        await until(up, 120, "the model's server")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(log.parent)


@pytest.mark.asyncio(loop_scope="module")
async def test_whatever_a_real_model_says_the_decision_is_valid(api_base: str) -> None:
    """One anomaly through `up`: the model answers, and out come an action of the catalogue and known evidence."""
    stack = Stack(open_folder())
    stack.environment["ACTIONS_FILE"] = str(actions := stack.home / "actions.yaml")
    known = yaml.safe_load((ROOT / "deploy" / "actions.yaml").read_text())
    # A short catalogue is a short prompt: a small model on a busy machine reads ten tokens a second.
    actions.write_text(
        yaml.safe_dump({name: known[name] for name in ("failover_database", "restart_service", ESCALATE)})
    )
    stack.environment |= {
        "LLM_MODEL": "openai/smollm2", "LLM_API_BASE": api_base, "OPENAI_API_KEY": "none",
        "LLM_TIMEOUT": str(PATIENCE), "MIN_CONFIDENCE": "0",
    }  # fmt: skip
    async with stack.up(), websockets.connect(f"{stack.feed}?types=decision") as feed:
        stack.publish(json.dumps({"error_type": "database_timeout", "service": "payments-db"}).encode())
        async with asyncio.timeout(PATIENCE + 30):
            while (event := json.loads(await feed.recv()))["type"] != "decision":
                pass
        decision = event["data"]
    refused = (decision["fallback_reason"] or "").startswith("the model's answer was refused: ")
    assert (decision["engine"], refused) in {("llm", False), ("nearest", True)}, decision["fallback_reason"]
    action = decision["action"]
    load_catalogue(actions).check(Action(action["name"], action["target"], action["parameters"]))
    shown = {item["incident_id"] for item in decision["evidence"]}
    assert decision["matched_incident"] in shown | {None}
    assert decision["usage"]["prompt_tokens"] > 0
