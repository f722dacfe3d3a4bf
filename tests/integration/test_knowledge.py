"""What teams teach: incidents and verdicts by Kafka and HTTP, and the commands beside a running `up`."""

import asyncio
import json
import re
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets
from aiohttp import web
from confluent_kafka import Producer

from tests.model_server import completion, model_server
from tests.program import ROOT, command, until
from tests.stack import Stack, next_decision

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def run(up: Stack, *arguments: str, given: bytes = b"", **more: str) -> tuple[int, str]:
    """Exit code and output of `pulseguard ARGUMENTS`, run beside ``up`` with nothing but its home, and ``more``."""
    return await command(arguments, {"PULSEGUARD_HOME": str(up.home)} | more, given)


def publish(up: Stack, topic: str, key: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": up.kafka})
    producer.produce(topic, value, key)
    assert producer.flush(30) == 0


async def decided(up: Stack, anomaly: dict[str, Any]) -> dict[str, Any]:
    """Publish, and wait for the decision."""
    async with websockets.connect(f"{up.feed}?types=decision") as feed:
        await asyncio.to_thread(up.publish, json.dumps(anomaly).encode())
        return await next_decision(feed, anomaly["error_type"])


def incident(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": name, "title": "Badge readers at the doors stopped answering", "service": "doors",
        "error_type": "badge_reader_silent", "symptoms": "badge readers silent, doors stay locked",
        "root_cause": "firmware hung after a time change", "mitigation": "readers were restarted",
        "action": {"name": "restart_service", "target": "doors"}, "outcome": "resolved",
    } | changes  # fmt: skip


async def found(up: Stack, name: str, query: str) -> None:
    """Wait until the search finds the incident first."""

    async def first() -> bool:
        async with (
            aiohttp.ClientSession(up.http) as client,
            client.get("/v1/incidents/search", params={"q": query}) as answer,
        ):
            hits = await answer.json()
        return bool(hits) and hits[0]["incident_id"] == name

    await until(first, 30, f"{name} in the search")


async def test_an_incident_on_the_topic_is_searchable_within_seconds_and_decides(up: Stack):
    """What nobody knew escalates; once its incident is published, the same fault gets that incident's action."""
    fault = {"error_type": "badge_reader_silent", "service": "doors-north", "message": "badge readers do not answer"}
    assert (await decided(up, fault))["verdict"] == "escalate"
    lesson = incident("doors-1")
    await asyncio.to_thread(publish, up, "incidents", lesson["id"], json.dumps(lesson).encode())
    await found(up, "doors-1", "badge readers silent, doors locked")
    decision = await decided(up, fault | {"service": "doors-south"})
    assert (decision["verdict"], decision["matched_incident"]) == ("recommend", "doors-1")
    assert decision["action"] == {"name": "restart_service", "target": "doors-south", "parameters": {}}


async def test_an_incident_by_http_replaces_the_older_one(up: Stack):
    """202, and soon the list and the search show the newer text."""
    async with aiohttp.ClientSession(up.http) as client:
        lesson = incident("printer-1", title="Label printer out of ribbon", symptoms="labels come out blank")
        async with client.post("/v1/incidents", json=lesson) as answer:
            assert (answer.status, await answer.json()) == (202, {"id": "printer-1"})
        await found(up, "printer-1", "labels come out blank")
        async with client.post("/v1/incidents", json=lesson | {"title": "Ribbon of the label printer torn"}) as answer:
            assert answer.status == 202

        async def replaced() -> bool:
            async with client.get("/v1/incidents/search", params={"q": "labels come out blank"}) as hits:
                return bool((await hits.json())[0]["title"] == "Ribbon of the label printer torn")

        await until(replaced, 30, "the newer title")
        unknown = {"id": "x", "title": "y", "action": {"name": "rm_rf", "target": "z"}}
        for broken in ({"id": "x"}, {"title": "y"}, {"id": "x", "title": "y", "outcome": "maybe"}, unknown):
            async with client.post("/v1/incidents", json=broken) as answer:
                assert answer.status == 400, broken


async def test_a_verdict_becomes_a_row_and_a_wrong_one_is_refused(up: Stack):
    """Feedback by HTTP and by Kafka is written once by its id; what cannot be right is 400, 404 or a dead letter."""
    decision = await decided(up, {"error_type": "database_timeout", "service": "feedback", "spike_percentage": 450})
    path = f"/v1/decisions/{decision['id']}/feedback"
    async with aiohttp.ClientSession(up.http) as client:
        async with client.post(path, json={"verdict": "accept", "author": "on-call", "worked": True}) as answer:
            assert answer.status == 202, await answer.text()
        for broken in ({}, {"verdict": "maybe"}, {"verdict": "correct", "action": {"name": "rm_rf", "target": "x"}}):
            async with client.post(path, json=broken) as answer:
                assert answer.status == 400, broken
        async with client.post("/v1/decisions/dec_none/feedback", json={"verdict": "accept"}) as answer:
            assert answer.status == 404
    verdict = {
        "id": "fb_twice", "decision_id": decision["id"], "verdict": "reject", "created_at": "2026-01-01T00:00:00Z"
    }  # fmt: skip
    for value in (verdict, verdict, verdict | {"id": "fb_lost", "decision_id": "dec_none"}):
        await asyncio.to_thread(publish, up, "feedback", str(value["decision_id"]), json.dumps(value).encode())
    await asyncio.to_thread(publish, up, "feedback", "x", b"{")

    async def settled() -> bool:
        return len(await asyncio.to_thread(up.read, "anomalies.dlq")) >= 2

    await until(settled, 30, "two dead letters")
    rows = await up.rows(f"SELECT verdict FROM feedback WHERE decision_id = '{decision['id']}' ORDER BY verdict")
    assert [row["verdict"] for row in rows] == ["accept", "reject"]
    letters = {
        dict(letter.headers())["pulseguard_message"] for letter in await asyncio.to_thread(up.read, "anomalies.dlq")
    }
    assert any(b"no decision dec_none" in reason for reason in letters), letters


async def test_one_correction_is_enough(up: Stack):
    """A fault that nobody knows is escalated; a human says what helped; the next one like it is advised just that.

    Retired, it is advised no more.
    """
    fault = {
        "error_type": "turnstile_jam", "message": "turnstile motors draw current and do not turn, the queue grows",
    }  # fmt: skip
    first = await decided(up, fault | {"service": "gate-east"})
    assert first["verdict"] == "escalate"
    said = {
        "verdict": "correct", "author": "ada", "worked": True, "comment": "restarted the motor controller",
        "action": {"name": "restart_service", "target": "gate-east"},
    }  # fmt: skip
    async with aiohttp.ClientSession(up.http) as client:
        async with client.post(f"/v1/decisions/{first['id']}/feedback", json=said) as answer:
            assert answer.status == 202
        name = f"inc-{first['episode_id']}"
        await found(up, name, "turnstile motors do not turn")
        second = await decided(up, fault | {"service": "gate-west"})
        assert (second["verdict"], second["matched_incident"]) == ("recommend", name)
        assert (second["action"]["name"], second["action"]["target"]) == ("restart_service", "gate-west")
        for status in (202, 404):
            async with client.delete(f"/v1/incidents/{name}") as answer:
                assert answer.status == status

            async def gone() -> bool:
                return not await up.rows(f"SELECT 1 FROM incidents WHERE id = '{name}'")

            await until(gone, 20, "the retired incident to be gone")
    third = await decided(up, fault | {"service": "gate-north"})
    assert third["matched_incident"] != name
    code, output = await run(up, "incidents", "retire", name)
    assert (code, f"no incident {name}" in output) == (2, True), output


async def test_an_incident_that_cannot_be_read_any_more_can_be_retired(up: Stack):
    """One of an earlier release, which knew no limits: the log names it, and it can be had out of the way."""
    await up.rows("""INSERT INTO incidents (id, body) VALUES ('untold', '{"id": "untold", "title": ""}')""")
    async with aiohttp.ClientSession(up.http) as client, client.delete("/v1/incidents/untold") as answer:
        assert answer.status == 202

    async def gone() -> bool:
        return not await up.rows("SELECT 1 FROM incidents WHERE id = 'untold'")

    await until(gone, 20, "the retired incident to be gone")


async def test_what_is_learned_reaches_the_episode_that_goes_on(up: Stack):
    """A fault that nobody knows is escalated; what is learned then is a second revision, and retired, a third."""
    text = "escalator handrail runs slower than its steps"
    first = await decided(up, {"error_type": "handrail_drift", "service": "hall-2", "message": text})
    assert (first["verdict"], first["revision"]) == ("escalate", 1)

    async def revision(number: int) -> dict[str, Any]:
        query = f"SELECT published FROM decisions WHERE episode_id = '{first['episode_id']}' AND revision = {number}"

        async def there() -> bool:
            return bool(await up.rows(query))

        await until(there, 60, f"revision {number}")
        told: dict[str, Any] = json.loads((await up.rows(query))[0]["published"])
        return told

    lesson = incident(
        "handrail-1", title="Handrail slower than steps", error_type="handrail_drift", symptoms=text,
        action={"name": "restart_service", "target": "hall-1"}, outcome="resolved",
    )  # fmt: skip
    async with aiohttp.ClientSession(up.http) as client:
        async with client.post("/v1/incidents", json=lesson) as answer:
            assert answer.status == 202
        second = await revision(2)
        assert (second["verdict"], second["matched_incident"]) == ("recommend", "handrail-1")
        assert second["anomaly_id"] == first["anomaly_id"]
        assert second["latency_ms"] < 10_000  # from when it was learned
        async with client.delete("/v1/incidents/handrail-1") as answer:
            assert answer.status == 202
        assert (await revision(3))["verdict"] == "escalate"
    await asyncio.sleep(1)
    published = [json.loads(record.value()) for record in await asyncio.to_thread(up.read, "decisions")]
    told = [one["revision"] for one in published if one["episode_id"] == first["episode_id"]]
    assert told == [1, 2, 3]


async def test_what_is_proposed_becomes_knowledge_when_it_is_approved(up: Stack):
    """By command and by HTTP; what is dismissed does not, and what was never proposed is said to be not there."""
    for name in ("one", "two", "three", "four"):
        body = {"id": f"inc-ep_{name}", "title": f"Turnstile {name}", "symptoms": f"turnstile {name} is stuck"}
        await up.rows("INSERT INTO proposals (incident_id, body) VALUES ($1, $2)", body["id"], json.dumps(body))
    code, output = await run(up, "incidents", "proposed", "--json")
    assert [json.loads(line)["id"] for line in output.splitlines()] == [
        "inc-ep_one", "inc-ep_two", "inc-ep_three", "inc-ep_four"
    ]  # fmt: skip
    code, output = await run(up, "incidents", "approve", "inc-ep_one", "inc-ep_none")
    assert (code, "inc-ep_one is approved" in output) == (2, True), output
    assert "nothing is proposed as inc-ep_none" in output
    code, output = await run(up, "incidents", "dismiss", "inc-ep_two")
    assert (code, "inc-ep_two is dismissed" in output) == (0, True), output
    async with aiohttp.ClientSession(up.http) as client:
        async with client.get("/v1/proposals") as answer:
            assert [incident["id"] for incident in await answer.json()] == ["inc-ep_three", "inc-ep_four"]
        for method, name, status in (
            ("POST", "three", 202), ("POST", "three", 404), ("DELETE", "four", 200), ("DELETE", "four", 404)
        ):  # fmt: skip
            async with client.request(method, f"/v1/proposals/inc-ep_{name}") as answer:
                assert answer.status == status
    await found(up, "inc-ep_one", "turnstile one is stuck")
    await found(up, "inc-ep_three", "turnstile three is stuck")
    known = await up.rows("SELECT id FROM incidents WHERE body->>'title' LIKE 'Turnstile%' ORDER BY id")
    assert [row["id"] for row in known] == ["inc-ep_one", "inc-ep_three"]
    assert await up.rows("SELECT 1 FROM proposals") == []


async def reads(_: web.Request, question: dict[str, Any], __: int) -> web.StreamResponse:
    """A model that finds what the pages below tell, and what they do not."""
    asked = json.loads(question["messages"][1]["content"])
    if "Run the script" in asked["paragraphs"]["2"]:
        return completion('{"post_mortem": false}')
    said = {
        "post_mortem": True, "symptoms": [2], "mitigation": [3], "service": "sluice-api",
        "error_type": "FloodGateStuck", "action": "restart_service", "outcome": "resolved",
        "recovery_minutes": "12 min", "occurred_at": "yesterday",
    }  # fmt: skip
    return completion(json.dumps(said))


async def test_a_model_finds_in_a_page_what_no_rule_does(up: Stack, tmp_path: Path):
    """A page of free prose becomes an incident by its own paragraphs; what it does not tell stays empty."""
    (tmp_path / "flood.txt").write_text(
        "FLOOD AT THE SLUICE\n\nsluice-api closed no gate, and FloodGateStuck fired.\n\n"
        "We restarted sluice-api; 12 min later it was dry.\n"
    )
    (tmp_path / "rotate.txt").write_text("Rotate certificates\n\nRun the script, then wait.\n")
    code, output = await run(up, "incidents", "load", str(tmp_path))
    assert (code, "0 read" in output) == (0, True), output
    async with model_server(reads) as server:
        model = {"LLM_MODEL": "openai/played", "LLM_API_BASE": server.url}
        code, output = await run(up, "incidents", "load", str(tmp_path), "--no-model", **model)
        assert (code, server.asked) == (0, []), output
        code, output = await run(up, "incidents", "load", str(tmp_path), **model)
    assert (code, "1 read, 1 new or changed" in output) == (0, True), output
    assert "openai/played answered about 2 of 2 pages: 1,520 tokens" in output
    assert "the model's occurred_at 'yesterday' stands nowhere in the page" in output
    assert "the model takes it for no post-mortem" in output
    (row,) = await up.rows("SELECT body FROM incidents WHERE id = 'flood'")
    told = json.loads(row["body"])
    assert told["symptoms"] == "sluice-api closed no gate, and FloodGateStuck fired."
    assert told["action"] == {"name": "restart_service", "target": "sluice-api", "parameters": {}}
    assert (told["recovery_minutes"], told["outcome"], "occurred_at" in told) == (12, "resolved", False)


async def test_what_a_model_found_stays_while_the_text_does(up: Stack, tmp_path: Path):
    """Loaded again where the model fails, or is not asked, a page keeps what was found; the table says so.

    A changed page is another one: what rules read of it is what there is. What people write down counts, as ever.
    """
    page = tmp_path / "lock.md"
    text = "# Lock gate\n\nsluice-api closed no gate, and FloodGateStuck fired.\n\nWe restarted sluice-api; 12 min.\n"
    page.write_text(text + "\n## Root cause\n\nA relay was wet.\n")

    async def load(*more: str, **model: str) -> tuple[str, dict[str, Any]]:
        code, output = await run(up, "incidents", "load", str(tmp_path), *more, **model)
        assert code == 0, output
        (row,) = await up.rows("SELECT body FROM incidents WHERE id = 'lock'")
        return " ".join(output.split()), json.loads(row["body"])

    async with model_server(reads) as server:
        model = {"LLM_MODEL": "openai/played", "LLM_API_BASE": server.url}
        output, told = await load(**model)
    assert (told["service"], told["root_cause"]) == ("sluice-api", "A relay was wet.")
    for more in ([], ["--no-model"]):
        output, again = await load(*more, **model)  # nobody is there
        assert ("1 read, 0 new or changed" in output, again) == (True, told), output
        noted = re.sub(r"[^\w]+", " ", output)
        assert "what the model answered before counts" in noted
        assert ("no help of the model" in noted) is (not more)
    page.write_text("---\nservice: lock-api\n---\n" + page.read_text())
    output, given = await load()
    assert given == told | {"service": "lock-api", "action": told["action"] | {"target": "lock-api"}}
    page.write_text(page.read_text() + "And the pump was dry.\n")
    output, changed = await load(**model)
    assert (changed["service"], "symptoms" in changed) == ("lock-api", False)
    assert "no help of the model" in re.sub(r"[^\w]+", " ", output)


async def test_commands_work_beside_a_running_up(up: Stack, tmp_path: Path):
    """Each command finds the running parts by PULSEGUARD_HOME alone, and says what it did."""
    code, output = await run(up, "env")
    assert code == 0
    assert f"KAFKA_BOOTSTRAP_SERVERS={up.kafka}" in output
    assert f"HTTP_URL={up.http}" in output

    action = "action: {name: rm_rf, target: vending}"
    (tmp_path / "vending.md").write_text(
        f"---\n{action}\n---\n# Vending machine jammed\n## Symptoms\nCoins fall through.\n"
    )
    for expected in ("1 read, 1 new or changed", "1 read, 0 new or changed"):
        code, output = await run(up, "incidents", "load", str(tmp_path))
        assert (code, expected in output) == (0, True), output
        assert "action 'rm_rf' is not in the catalogue" in output
    await found(up, "vending", "coins fall through the vending machine")
    code, output = await run(up, "incidents", "search", "coins fall through")
    assert code == 0
    assert "Vending machine jammed" in output.splitlines()[3]

    (tmp_path / "broken.json").write_text("{")
    code, output = await run(up, "incidents", "load", str(tmp_path))
    assert (code, "not read: Input data was truncated" in output, "1 read, 0 new" in output) == (1, True, True), output
    assert "1 of 2 files could not be read" in output

    code, output = await run(up, "incidents", "reindex")
    assert code == 0, output
    held = await up.rows("SELECT count(*) FROM incidents")
    assert f"{held[0]['count']} incidents indexed" in output

    lines = b'{"error_type": "sent_by_command"}\n{"error_type": "sent_by_command"}\n'
    code, output = await run(up, "send", "-", given=lines)
    assert (code, "2 sent" in output) == (0, True), output

    async def counted() -> bool:
        rows = await up.rows("SELECT occurrences FROM episodes WHERE error_type = 'sent_by_command'")
        return [row["occurrences"] for row in rows] == [2]

    await until(counted, 30, "two occurrences")
    sent = [record for record in await asyncio.to_thread(up.read, "anomalies") if b"sent_by_command" in record.value()]
    rows = await up.rows("SELECT fingerprint FROM episodes WHERE error_type = 'sent_by_command'")
    assert {record.key().decode() for record in sent} == {row["fingerprint"] for row in rows}
    code, output = await run(up, "stats")
    assert code == 0
    assert "decisions" in output
    code, output = await run(up, "stats", "--json")
    assert (code, json.loads(output)["incidents"]) == (0, held[0]["count"]), output
    newest = await up.rows("SELECT id FROM incidents ORDER BY version DESC LIMIT 3")
    code, listed = await run(up, "incidents", "list", "--limit", "3", "--json")
    assert [json.loads(line)["id"] for line in listed.splitlines()] == [row["id"] for row in newest]
    code, output = await run(up, "incidents", "list", "--limit", "3")
    assert all(row["id"] in output for row in newest), output
    (tmp_path / "listed.jsonl").write_text(listed)
    code, output = await run(up, "incidents", "load", str(tmp_path / "listed.jsonl"))
    assert "3 read, 0 new" in output
    code, output = await run(up, "incidents", "search", "--json", json.loads(listed.splitlines()[0])["title"])
    assert json.loads(output.splitlines()[0])["incident_id"] == newest[0]["id"], output
    code, output = await run(up, "doctor")
    assert (code, "fails" in output) == (0, False), output
    states = dict(re.findall(r"role (\w+) +│ (\w+)", output))
    assert states == {"gateway": "ok", "relay": "ok", "worker": "ok", "slack": "ok"}, output


async def test_a_dead_letter_tried_again_keeps_its_identity(up: Stack, tmp_path: Path):
    """Listed, shown, exported; tried again twice it is one anomaly more in the dead letters' own way, never counted."""
    await asyncio.to_thread(up.publish, b"not an anomaly at all")

    async def listed() -> bool:
        code, output = await run(up, "dlq", "list", "--text", "not an anomaly at all", "--json")
        return code == 0 and output.count("\n") == 1

    await until(listed, 60, "the dead letter")
    _, output = await run(up, "dlq", "list", "--text", "not an anomaly at all", "--json")
    row = json.loads(output)
    assert (row["reason"], row["topic"], row["value"]) == ("rejected", "anomalies", "not an anomaly at all")
    code, output = await run(up, "dlq", "show", row["letter"])
    assert (code, "pulseguard_reason: rejected" in output, output.endswith("at all\n")) == (0, True, True), output
    code, output = await run(up, "dlq", "export", str(tmp_path / "letters.jsonl"), "--topic", "anomalies")
    assert code == 0, output
    assert row["letter"] in (tmp_path / "letters.jsonl").read_text()
    code, output = await run(up, "dlq", "retry", row["letter"])
    assert (code, "1 published again" in output) == (0, True), output

    async def back() -> bool:
        letters = await asyncio.to_thread(up.read, "anomalies.dlq")
        return sum(letter.value() == b"not an anomaly at all" for letter in letters) == 2

    await until(back, 30, "the same letter, refused again")
    twice = [x for x in await asyncio.to_thread(up.read, "anomalies.dlq") if x.value() == b"not an anomaly at all"]
    assert len({dict(letter.headers())["pulseguard_origin"] for letter in twice}) == 1
    code, output = await run(up, "dlq", "show", "9@999")
    assert (code, "no dead letter 9@999" in output) == (2, True), output


async def test_a_silence_tells_how_long_it_lasts_and_is_listed_whole(up: Stack):
    """Without --for an hour; into a pipe neither a long matcher nor a time is cut; --json is for programs."""
    matchers = ["service=a-service-with-quite-a-long-name", "severity=~info|warning|error", "team!=the-team-on-call"]
    code, output = await run(up, "silence", "add", *matchers, "--author", "ada", "--comment", "moving the disks")
    assert code == 0, output
    name = output.split()[0]
    code, output = await run(up, "silence", "list", "--json")
    (listed,) = (json.loads(line) for line in output.splitlines())
    starts, ends = (datetime.fromisoformat(listed[field]) for field in ("starts_at", "ends_at"))
    assert (code, listed["id"], listed["matchers"], ends - starts) == (0, name, matchers, timedelta(hours=1))
    code, output = await run(up, "silence", "list")
    row = next(line for line in output.splitlines() if name in line)
    assert all(text in row for text in (" ".join(matchers), f"{ends:%Y-%m-%d %H:%M} UTC", "moving the disks"))
    code, output = await run(up, "silence", "add", "a=b", "--author", "ada", "--for", "2d")
    assert f"until {datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}" in output
    assert " UTC\n" in output


async def test_the_readmes_query_finds_decisions(up: Stack):
    """Whoever copies it sees the newest ones, in columns that a terminal holds."""
    await decided(up, {"error_type": "asked_for_with_psql"})
    (query,) = re.findall(r"-c '(SELECT [^']+)'", (ROOT / "README.md").read_text())
    rows = await up.rows(query)  # what another test taught may have just made a newer one
    assert "asked_for_with_psql" in {row["error_type"] for row in rows}
    assert rows == sorted(rows, key=lambda row: row["created_at"], reverse=True)
    assert not {"body", "published"} & set(rows[0].keys())


async def test_what_is_sent_and_no_anomaly_is_told(up: Stack):
    """It goes to the dead letters, where one who waits for a decision would not look."""
    code, output = await run(up, "send", "-", given=b'{"error_type": 5}\n{"error_type": "sent_beside_none"}\n')
    assert (code, "2 sent" in output) == (0, True), output
    (command_line,) = re.findall("note 1 of these will have no decision, being no anomaly: `(.+)` says why", output)
    assert shlex.split(command_line) == [sys.executable, "-m", "pipeline", "dlq", "list"]  # as it can be typed here
    code, output = await run(up, "send", "-", given=b'{"error_type": "sent_beside_none"}\n')
    assert (code, "no anomal" in output) == (0, False), output


MISTAKES = {
    ("run", "typist"): "not a role",
    ("incidents", "load", "no/such/file.json"): "no/such/file.json",
    ("send", "no/such/file"): "no/such/file: No such file or directory",
    ("send", "deploy"): "deploy: Is a directory",
    ("send", "-"): "nothing to send",
    ("send", "README.md"): "line 1 is not JSON",
    ("incidents", "search", " "): "the query is empty",
    ("frobnicate",): "No such command",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
async def test_a_mistake_is_one_clear_error(up: Stack, arguments: tuple[str, ...]):
    """Exit code 2, what was wrong, and no traceback."""
    code, output = await run(up, *arguments)
    assert code == 2
    assert MISTAKES[arguments] in output
    assert "Traceback" not in output
    assert "Errno" not in output


@pytest.mark.parametrize(("role", "variable"), [("gateway", "HTTP_PORT"), ("relay", "RELAY_PORT")])
async def test_a_role_whose_port_is_taken_says_so_and_never_that_it_is_ready(up: Stack, role: str, variable: str):
    """By the role that `up` runs already."""
    code, output = await run(up, "run", role, **up.ports)
    assert (code, "ready: " in output) == (2, False), output
    assert f"{variable}: port {up.ports[variable]} cannot be used" in output


async def test_a_role_that_may_not_write_says_so_and_never_that_it_is_ready(up: Stack):
    """It would wait for ever for what nobody has taken."""
    await up.rows("CREATE ROLE reader LOGIN PASSWORD 'one'")
    await up.rows("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    try:
        url = f"postgresql://reader:one@127.0.0.1:{up.ports['POSTGRES_PORT']}/pulseguard"
        code, output = await run(up, "run", "slack", DATABASE_URL=url)
    finally:
        await up.rows("DROP OWNED BY reader")
        await up.rows("DROP ROLE reader")
    assert (code, "ready: " in output) == (2, False), output
    assert "DATABASE_URL: this user may not insert in table 'messages' (grant INSERT)" in output
