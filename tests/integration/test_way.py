"""The way of an event, through the program as a user runs it: `pulseguard up`, plain clients, one kill, bad input."""

import asyncio
import itertools
import json
import shutil
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import aiohttp.web
import jsonschema
import pytest
import pytest_asyncio
import websockets
from confluent_kafka import Producer
from yarl import URL

from tests.program import Program, open_folder, running, until
from tests.stack import Stack, next_decision
from tests.unit.test_ingest import BAD
from tests.unit.test_webhook_sources import ENDS, FIRES, merged


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[tuple[Stack, Program]]:
    """One `up` with a Slack webhook that a real server of ours answers."""
    stack = Stack(open_folder())
    async with stack.webhook(), stack.up() as program:
        yield stack, program


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("codec", ["none", "gzip", "lz4", "zstd", "snappy"])
async def test_an_anomaly_is_decided_everywhere(stack: tuple[Stack, Program], codec: str):
    """What a plain client publishes, with any codec, is one equal decision on topic, feed, table, HTTP and Slack."""
    up, _ = stack
    name = f"payments-{codec}"
    async with websockets.connect(up.feed) as feed:
        anomaly = {"error_type": "database_timeout", "spike_percentage": 450, "service": name}
        await asyncio.to_thread(up.publish, json.dumps(anomaly).encode(), **{"compression.type": codec})
        decision = await next_decision(feed, "database_timeout")
    assert decision["service"] == name
    assert decision["verdict"] == "recommend"
    assert decision["action"] == {
        "name": "throttle_connections", "target": name, "parameters": {"limit_percent": 30}
    }  # fmt: skip
    assert 0 < decision["confidence_score"] <= 1
    assert decision["track_record"]["times"] >= decision["track_record"]["worked"] >= 1
    async with aiohttp.ClientSession() as client, client.get(f"{up.http}/v1/decisions/{decision['id']}") as answer:
        assert await answer.json() == decision
    rows = await up.rows(f"SELECT body FROM decisions WHERE id = '{decision['id']}'")
    assert json.loads(rows[0]["body"]) == decision

    async def posted() -> bool:
        return sum(decision["id"] in json.dumps(message) for message in up.slack) == 1

    await until(posted, 20, what="one Slack message")


@pytest.mark.asyncio(loop_scope="module")
async def test_bad_input_is_dead_lettered_with_its_bytes_and_the_pipeline_lives(stack: tuple[Stack, Program]):
    """Every kind of bad input is a dead letter with the same bytes and a reason; the next event is decided."""
    up, _ = stack
    # The broker itself refuses records over its own limit; five megabytes is under it.
    await asyncio.to_thread(up.publish, *BAD.values())
    async with websockets.connect(up.feed) as feed:
        await asyncio.to_thread(up.publish, b'{"error_type": "after_the_poison"}')
        assert (await next_decision(feed, "after_the_poison"))["verdict"] in {"recommend", "escalate"}
    letters = await asyncio.to_thread(up.read, "anomalies.dlq")
    assert sorted(letter.value() or b"" for letter in letters) == sorted(value or b"" for value in BAD.values())
    for letter in letters:
        headers = dict(letter.headers())
        assert headers["pulseguard_reason"] == b"rejected"
        assert headers["pulseguard_topic"] == b"anomalies"
        assert len(headers["pulseguard_message"]) > 5


@pytest.mark.asyncio(loop_scope="module")
async def test_a_question_about_a_forgotten_episode_is_a_dead_letter(stack: tuple[Stack, Program]):
    """It may have been decided: delivered again, it gets no second body for the decision's id, and holds up nothing."""
    up, _ = stack
    async with websockets.connect(up.feed) as feed:
        await asyncio.to_thread(up.publish, b'{"error_type": "long_ago"}')
        first = await next_decision(feed, "long_ago")
        for table, column in (("anomalies", "episode_id"), ("revisions", "episode_id"), ("decisions", "episode_id"),
                              ("episodes", "id")):  # fmt: skip
            await up.rows(f"DELETE FROM {table} WHERE {column} = $1", first["episode_id"])
        asked = await asyncio.to_thread(up.read, "anomalies.enriched")
        (question,) = [record for record in asked if b"long_ago" in record.value()]
        producer = Producer({"bootstrap.servers": up.kafka})
        producer.produce("anomalies.enriched", question.value(), question.key())
        assert await asyncio.to_thread(producer.flush, 30) == 0

        async def buried() -> bool:
            letters = await asyncio.to_thread(up.read, "anomalies.dlq")
            found = [dict(letter.headers()) for letter in letters if letter.value() == question.value()]
            return [b"not on record" in headers["pulseguard_message"] for headers in found] == [True]

        await until(buried, 20, what="one dead letter")
        await asyncio.to_thread(up.publish, b'{"error_type": "after_the_forgotten"}')
        await next_decision(feed, "after_the_forgotten")
    made = [record.value() for record in await asyncio.to_thread(up.read, "decisions") if b"long_ago" in record.value()]
    assert [json.loads(body)["id"] for body in made] == [first["id"]]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_storm_is_one_episode_with_exact_occurrences(stack: tuple[Stack, Program]):
    """Two thousand equal anomalies, one of them sent twice: one episode, 2,000 occurrences, and few decisions.

    Each one after the first speaks of ten times as many as the one before it.
    """
    up, _ = stack
    events = [json.dumps({"error_type": "disk_full", "service": "storm", "id": f"storm-{n}"}) for n in range(2000)]
    await asyncio.to_thread(up.publish, *(event.encode() for event in [*events, events[0]]))

    async def counted() -> bool:
        rows = await up.rows("SELECT occurrences FROM episodes WHERE service = 'storm'")
        return [row["occurrences"] for row in rows] == [2000]

    await until(counted, 30, what="2,000 occurrences")
    decisions = await up.rows(
        "SELECT (body->>'occurrences')::int AS spoke_of FROM decisions WHERE service = 'storm' ORDER BY revision"
    )
    spoke_of = [row["spoke_of"] for row in decisions]
    assert 1 <= len(spoke_of) <= 4
    assert all(later >= 10 * before for before, later in itertools.pairwise(spoke_of))


@pytest.mark.asyncio(loop_scope="module")
async def test_the_gateway_answers(stack: tuple[Stack, Program]):
    """Ready; publishes after acknowledgement; refuses bad anomalies whole; finds incidents; serves its pages."""
    up, _ = stack
    async with aiohttp.ClientSession(up.http) as client:
        for path in (
            "/healthz",
            "/readyz",
            "/metrics",
            "/docs",
            "/docs/openapi.json",
            "/",
            "/static/app.js",
            "/v1/stats",
            "/v1/situations",
        ):
            async with client.get(path) as answer:
                assert answer.status == 200, (path, await answer.text())
            async with client.head(path) as bare:
                assert (bare.status, bare.headers["content-type"], await bare.read()) == (
                    200, answer.headers["content-type"], b""
                ), path  # fmt: skip
        async with client.post(
            "/v1/anomalies", data=b'[{"error_type": "by_http"}, {"error_type": "by_http"}]'
        ) as answer:
            assert (answer.status, await answer.json()) == (202, {"accepted": 2})
        for body in (b"", b"[]", b'[{"error_type": "x"}, {}]', b"{", b'{"error_type": 1}'):
            async with client.post("/v1/anomalies", data=body) as answer:
                assert answer.status == 400, body
        async with client.get("/v1/incidents/search", params={"q": "certificate has expired"}) as answer:
            assert (await answer.json())[0]["incident_id"].startswith("inc-cert-")
        for path, status in (("/v1/decisions/none", 404), ("/v1/decisions?limit=0", 400), ("/nowhere", 404)):
            async with client.get(path) as answer:
                assert answer.status == status, path


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_posted_of_one_fault_keeps_its_order(stack: tuple[Stack, Program]):
    """Else `resolved` could overtake what it ends, in another partition; single or in a list, and told as an event."""
    up, _ = stack
    fault = {"error_type": "posted_in_order", "service": "a"}
    events: list[tuple[object, dict[str, str]]] = [
        (fault, {}),
        (fault | {"message": "still"}, {"ce-id": "1", "ce-source": "s"}),
        ([fault | {"status": "resolved"}], {}),
    ]
    async with aiohttp.ClientSession(up.http) as client:
        for body, headers in events:
            async with client.post("/v1/anomalies", json=body, headers=headers) as answer:
                assert answer.status == 202
    everything = await asyncio.to_thread(up.read, "anomalies")
    records = [record for record in everything if b"posted_in_order" in (record.value() or b"")]
    assert len(records) == len(events)
    assert len({(record.key(), record.partition()) for record in records}) == 1
    assert records[0].key()

    async def ended() -> bool:
        rows = await up.rows("SELECT state FROM episodes WHERE error_type = 'posted_in_order'")
        return [row["state"] for row in rows] == ["resolved"]

    await until(ended, 20, "the end of the episode")


@pytest.mark.asyncio(loop_scope="module")
async def test_alertmanagers_notification_is_decided(stack: tuple[Stack, Program]):
    """Each alert of it is counted, a repetition is not, and what is no notification publishes nothing."""
    up, _ = stack
    labels = {"alertname": "KubePodCrashLooping", "service": "by-webhook", "severity": "critical"}
    alerts = [
        {"labels": labels | {"pod": f"p{number}"}, "startsAt": "2026-11-24T10:00:00Z", "fingerprint": f"f{number}"}
        for number in range(3)
    ]
    async with aiohttp.ClientSession(up.http) as client:
        for _ in range(2):
            async with client.post("/v1/webhooks/alertmanager", json={"version": "4", "alerts": alerts}) as answer:
                assert (answer.status, await answer.json()) == (202, {"accepted": 3})
        for source, sent, status in (("alertmanager", b"{}", 400), ("pager", b"{}", 404)):
            async with client.post(f"/v1/webhooks/{source}", data=sent) as answer:
                assert (answer.status, (await answer.json())["error"]) == (status, status)

    async def counted() -> bool:
        rows = await up.rows("SELECT count(*) AS n FROM anomalies WHERE body->>'service' = 'by-webhook'")
        return bool(rows[0]["n"] == 3) and bool(await up.rows("SELECT 1 FROM decisions WHERE service = 'by-webhook'"))

    await until(counted, 30, "the alerts to be counted and decided")
    rows = await up.rows("SELECT occurrences, severity FROM episodes WHERE service = 'by-webhook'")
    assert [(row["occurrences"], row["severity"]) for row in rows] == [(3, "critical")]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("source", list(FIRES))
async def test_a_senders_fault_is_counted_once_and_ends(stack: tuple[Stack, Program], source: str):
    """Told twice it is one occurrence; its end ends it, and a repetition that comes after that is known by its id."""
    up, _ = stack
    fires, ends = FIRES[source], merged(FIRES[source], ENDS[source])

    async def tell(payload: object, state: str) -> None:
        async with aiohttp.ClientSession() as client:
            for _ in range(2):
                async with client.post(f"{up.http}/v1/webhooks/{source}", json=payload) as answer:
                    assert (answer.status, await answer.json()) == (202, {"accepted": 1})

        async def counted() -> bool:
            rows = await up.rows(
                "SELECT DISTINCT state, occurrences FROM episodes JOIN anomalies ON anomalies.episode_id = episodes.id "
                "WHERE anomalies.body->>'source' = $1", source,
            )  # fmt: skip
            return [(row["state"], row["occurrences"]) for row in rows] == [(state, 1)]

        await until(counted, 20, f"{source}: {state}, one occurrence")

    await tell(fires, "open")
    await tell(ends, "resolved")
    await tell(fires, "resolved")
    values = [record.value() or b"" for record in await asyncio.to_thread(up.read, "anomalies")]
    records = [json.loads(value) for value in values if f'"{source}"'.encode() in value]  # others' may be no JSON
    told = [record["id"] for record in records if record.get("source") == source]
    assert (len(told), len(set(told))) == (6, 2)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_alert_that_was_called_resolved_too_early_fires_again(stack: tuple[Stack, Program]):
    """Though it began when it began before: its episode is open again, a reminder is none the more, and it ends."""
    up, _ = stack
    alert = {
        "labels": {"alertname": "Flaps", "service": "flapping"}, "startsAt": "2026-11-24T10:00:00Z", "fingerprint": "f",
    }  # fmt: skip
    over = {"status": "resolved", "endsAt": "2026-11-24T11:00:00Z"}

    async def tell(changed: dict[str, str], state: str, occurrences: int) -> None:
        async with aiohttp.ClientSession() as client:
            for _ in range(2):  # it and its repetition
                url = f"{up.http}/v1/webhooks/alertmanager"
                async with client.post(url, json={"alerts": [alert | changed]}) as answer:
                    assert answer.status == 202

                async def counted() -> bool:
                    rows = await up.rows("SELECT state, occurrences FROM episodes WHERE service = 'flapping'")
                    return [(row["state"], row["occurrences"]) for row in rows] == [(state, occurrences)]

                await until(counted, 20, f"{state}, {occurrences} occurrences")

    await tell({}, "open", 1)
    await tell(over, "resolved", 1)
    await tell({}, "open", 2)
    await tell(over | {"endsAt": "2026-11-24T12:00:00Z"}, "resolved", 2)


REFUSED = {
    ("GET", "/v1/decisions?limit=0", None): "limit: expected an integer from 1 to 500",
    ("GET", "/v1/decisions?limit=x", None): "limit: expected an integer from 1 to 500",
    ("GET", "/v1/decisions?service=%00", None): "service: a NUL is no text",
    ("GET", "/v1/decisions/%00", None): "path: a NUL is no text",
    ("GET", "/v1/situations?status=open", None): "status: is not known, only limit, episodes, id",
    ("GET", "/v1/stats/?limit=5", None): "limit: is not known, nor is any other here",
    ("GET", "/v1/decisions?verdict=foo", None): "verdict: expected one of escalate, recommend",
    ("GET", "/v1/decisions?before=2026-01-31T10:00:00", None):
        "before: expected a time with its zone, like 2026-01-31T10:00:00Z",
    ("GET", "/v1/decisions?before_id=dec_1", None): "before_id: expected before with it, the time of that decision",
    ("GET", "/v1/decisions?before=now", None): "before: expected a time with its zone, like 2026-01-31T10:00:00Z",
    ("GET", "/v1/episodes?state=foo", None): "state: expected one of escalated, open, quiet, resolved",
    ("GET", "/v1/incidents/search?q=", None): "q: expected text of 1 to 2000 characters",
    ("GET", "/v1/incidents/search?q=x&outcome=foo", None):
        "outcome: expected one of failed, mitigated, resolved, unknown",
    ("POST", "/v1/incidents", "[]"): "the body: expected an object",
    ("POST", "/v1/incidents", ""): "the body: expected an object",
    ("POST", "/v1/incidents", "[" * 100_000): "the body is nested too deeply",
    ("POST", "/v1/incidents", b'{"id": "x", "title": "\xff"}'): "the body is not UTF-8",
    ("POST", "/v1/incidents", '{"id": "x", "title": "y", "symptoms": "\\u0000"}'): "a string holds a NUL character",
    ("POST", "/v1/incidents", '{"id": "x", "title": "y", "symptoms": "z", "labels": {"\\u0000": ""}}'):
        "a string holds a NUL character",
    ("POST", "/v1/incidents", '{"id": "x"}'): "title: is missing",
    ("POST", "/v1/incidents", '{"id": "", "title": "y"}'): "id: expected text of 1 to 256 characters",
    ("POST", "/v1/incidents", '{"id": "x", "title": "y", "labels": {"a": 1}}'): "labels[...]: expected text",
    ("POST", "/v1/incidents", '{"id": "x", "title": "y", "action": {"name": "z"}}'): "action.target: is missing",
    ("POST", "/v1/incidents", '{"id": "x", "title": "y", "symptoms": " "}'):
        "an incident tells something: one of symptoms, diagnosis, root_cause, mitigation, action",
    ("POST", "/v1/decisions/ID/feedback", '{"verdict": "maybe"}'): "verdict: expected one of accept, correct, reject",
    ("POST", "/v1/decisions/ID/feedback", '{"verdict": "correct"}'):
        "a correction says what was done: action, worked or comment is missing",
    ("POST", "/v1/decisions/ID/feedback", '{"verdict": "accept", "comment": "\\u0000"}'):
        "a string holds a NUL character",
    ("POST", "/v1/anomalies", '{"error_type": "x", "occurred_at": "9999-12-31T23:59:59-14:00"}'):
        "anomaly 0: occurred_at is out of range in UTC",
    ("POST", "/v1/silences", '{"matchers": ["a=b"], "author": "a", "ends_at": "9999-12-31T23:59:59-14:00"}'):
        "9999-12-31 23:59:59-14:00 is out of range in UTC",
    ("POST", "/v1/silences", '{"matchers": ["a=~x{99999999999}"], "author": "a", "ends_at": "2999-01-01T00:00:00Z"}'):
        "'a=~x{99999999999}': the repetition number is too large",
    ("POST", "/v1/silences", '{"until": 1}'):
        "until: is not known, only matchers, ends_at, author, starts_at, comment",
    ("POST", "/v1/silences", '{"matchers": "a=b"}'): "matchers: expected a list",
}  # fmt: skip


@pytest.mark.asyncio(loop_scope="module")
async def test_what_http_refuses_is_said_in_its_own_words(stack: tuple[Stack, Program]):
    """400, the parameter or field, and what it takes: no types of Python, and each value that is allowed."""
    up, _ = stack
    async with aiohttp.ClientSession(up.http) as client:
        await asyncio.to_thread(up.publish, b'{"error_type": "to_be_judged"}')

        async def decided() -> bool:
            return bool(await up.rows("SELECT id FROM decisions"))

        await until(decided, 30, "a decision")
        name = (await up.rows("SELECT id FROM decisions LIMIT 1"))[0]["id"]
        for (method, path, body), detail in REFUSED.items():
            url = URL(path.replace("ID", name), encoded=True)
            async with client.request(method, url, data=body, headers={"content-type": "application/json"}) as answer:
                said = await answer.json()
            assert said == {"error": 400, "detail": detail}, (path, body)


@pytest.mark.asyncio(loop_scope="module")
async def test_answers_are_as_openapi_describes_them(stack: tuple[Stack, Program]):
    """Each GET, and each status that a bad request gets."""
    up, _ = stack
    labelled = b'{"error_type": "described", "service": "d", "severity": "error", "labels": {"a": "b"}}'
    async with aiohttp.ClientSession(up.http) as client, websockets.connect(up.feed) as feed:
        await asyncio.to_thread(up.publish, labelled)
        name = (await next_decision(feed, "described"))["id"]
        async with client.get("/docs/openapi.json") as answer:
            description = await answer.json()
        asked = [("get", path, None) for path, does in description["paths"].items() if "get" in does]
        asked += [("post", "/v1/silences", b"{"), ("post", "/v1/webhooks/{source}", b"{}")]
        asked += [("post", "/v1/anomalies", b"x" * 6_000_000), ("post", "/v1/slack/actions", b"x")]
        asked += [("delete", "/v1/silences/{silence_id}", None)]
        statuses = set()
        for method, path, body in asked:
            url = path.replace("{decision_id}", name).replace("{source}", "grafana")
            url += "?q=x" if "search" in path else ""
            async with client.request(method, url, data=body) as answer:
                said = await answer.json() if "json" in answer.content_type else await answer.text()
            promised = description["paths"][path][method]["responses"][str(answer.status)]["content"]
            schema = promised[answer.content_type]["schema"]
            jsonschema.validate(said, schema | {"components": description["components"]})
            statuses.add(answer.status)
        async with client.get("/v1/episodes") as answer:
            assert {"a": "b"} in [episode["labels"] for episode in await answer.json()]
    assert statuses == {200, 400, 404, 413}


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_silenced_is_decided_and_nobody_is_told(stack: tuple[Stack, Program]):
    """A silence by HTTP mutes its service while it lasts; bad ones are refused; it can be ended."""
    up, _ = stack
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    good = {"matchers": ["service=hushed"], "ends_at": ends, "author": "ada"}
    async with aiohttp.ClientSession(up.http) as client, websockets.connect(up.feed) as feed:
        for bad in ({"matchers": []}, {"matchers": ["x"]}, {"author": " "}, {"ends_at": "2020-01-01T00:00:00Z"}):
            async with client.post("/v1/silences", json=good | bad) as answer:
                assert answer.status == 400, bad
        async with client.post("/v1/silences", json=good) as answer:
            assert answer.status == 201
            name = (await answer.json())["id"]
        await asyncio.to_thread(up.publish, b'{"error_type": "hushed_up", "service": "hushed"}')
        decision = await next_decision(feed, "hushed_up")

        async def muted() -> bool:
            rows = await up.rows(f"SELECT state, detail FROM notifications WHERE decision_id = '{decision['id']}'")
            return [(row["state"], row["detail"]) for row in rows] == [("muted", f"silenced by {name}")]

        await until(muted, 20, what="the muted notification")
        async with client.get("/v1/silences") as answer:
            assert [silence["id"] for silence in await answer.json()] == [name]
        for status in (204, 404):
            async with client.delete(f"/v1/silences/{name}") as answer:
                assert answer.status == status
    assert not any(decision["id"] in json.dumps(message) for message in up.slack)


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_no_decision_ends_not_the_showing_of_them(stack: tuple[Stack, Program]):
    """On the topic of decisions anybody may write: Slack's role buries it, and the next decision is shown as ever."""
    up, program = stack
    producer = Producer({"bootstrap.servers": up.kafka})
    producer.produce("decisions", b"no decision")
    assert await asyncio.to_thread(producer.flush, 10) == 0
    await program.says("slack_unreadable", 20)
    async with websockets.connect(up.feed) as feed:
        await asyncio.to_thread(up.publish, b'{"error_type": "after_no_decision"}')
        decision = await next_decision(feed, "after_no_decision")
    await program.says(f"ms, {decision['id']})", 20)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_returning_client_misses_nothing(stack: tuple[Stack, Program]):
    """With the cursor of its last event a client gets what it missed, once; with a bad cursor it gets nothing of it."""
    up, _ = stack
    async with websockets.connect(up.feed) as feed:
        cursor = json.loads(await feed.recv())["cursor"]
        await feed.send('{"type":"ping"}')
        async with asyncio.timeout(10):
            while json.loads(await feed.recv()) != {"type": "pong"}:
                pass  # what was published by the tests before may come first
    async with websockets.connect(f"{up.feed}?types=decision") as other:
        await asyncio.to_thread(up.publish, b'{"error_type": "while_away"}')
        await next_decision(other, "while_away")
    async with websockets.connect(f"{up.feed}?types=decision&since={cursor}") as feed:
        assert json.loads(await feed.recv())["data"]["recovered"] is True
        await next_decision(feed, "while_away")  # after what else was decided meanwhile
    async with websockets.connect(f"{up.feed}?since=nonsense") as feed:
        assert json.loads(await feed.recv())["data"]["recovered"] is False


@pytest.mark.asyncio(loop_scope="module")
async def test_up_stops_cleanly_and_a_killed_one_starts_again(stack: tuple[Stack, Program]):
    """Ctrl-C ends with 0; after kill -9 the next `up` on the same home is ready and keeps what was decided."""
    up, first = stack
    before = len(await up.rows("SELECT 1 FROM decisions"))
    assert await first.stop() == 0, first.output[-3000:]
    log = up.home / "second"
    async with running(["up"], up.environment, log) as second:
        await second.says("PulseGuard is ready", 60)
        second.kill()
    async with running(["up"], up.environment, up.home / "third") as third:
        await third.says("PulseGuard is ready", 60)
        assert len(await up.rows("SELECT 1 FROM decisions")) == before
        assert await third.stop() == 0, third.output[-3000:]


async def test_up_that_is_stopped_while_it_starts_ends():
    """Asked to stop before the worker serves, it starts nothing more, and ends with code 0 by itself."""
    starting = Stack(open_folder())
    async with running(["up"], starting.environment, starting.home / "log") as program:
        await program.says('"event": "seeded"', 60)
        assert await program.stop(signal.SIGTERM, 60) == 0, program.output
    assert program.output.startswith("starting")  # before what takes seconds
    assert "PulseGuard is ready" not in program.output
    shutil.rmtree(starting.home, ignore_errors=True)
