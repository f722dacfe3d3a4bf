"""The Slack sink on a real broker, against a real server that plays Slack and misbehaves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from uuid import uuid4

import msgspec
import pytest

from pipeline import kafka
from pipeline.errors import Misconfigured, Unavailable
from pipeline.settings import Settings
from pipeline.sinks import slack as module
from pipeline.sinks.slack import run_slack
from tests.brokers import Broker
from tests.conftest import on
from tests.slack_server import SlackServer, slack_server
from tests.unit.test_blocks import decision as template

Finish = tuple[str, str | None, str | None]


@dataclass
class Notebook:
    """Remembers notifications in memory, as the record's table does."""

    states: dict[str, Finish] = field(default_factory=dict)
    away: int = 0

    async def claim_notification(self, decision_id: str, channel: str) -> str:
        if self.away:
            self.away -= 1
            raise Unavailable("postgres", "away")
        state = self.states.setdefault(decision_id, ("new", channel, None))[0]
        self.states[decision_id] = ("claimed" if state == "new" else state, channel, None)
        return "uncertain" if state == "claimed" else state

    async def finish_notification(
        self, decision_id: str, channel: str, state: str, detail: str | None = None, ts: str | None = None
    ) -> None:
        self.states[decision_id] = (state, detail, ts)

    async def ended(self, *wanted: str) -> None:
        async with asyncio.timeout(30):
            while not all(self.states.get(name, ("",))[0] in {"sent", "refused"} for name in wanted):
                await asyncio.sleep(0.05)


@pytest.fixture
async def place(kafka_server: Broker) -> AsyncIterator[tuple[Settings, kafka.Sender]]:
    name = uuid4().hex[:8]
    settings = replace(
        on(kafka_server), topic_partitions=1,
        topic_decisions=f"decisions-{name}", topic_dlq=f"dlq-{name}",
    )  # fmt: skip
    await kafka.create_topics(settings)
    sender = kafka.Sender(settings)
    yield settings, sender
    await sender.close()


@pytest.fixture(autouse=True)
def group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of its own a test: leftovers of another's topics would slow the join."""
    monkeypatch.setattr(module, "GROUP", f"slack-{uuid4().hex[:8]}")


@asynccontextmanager
async def sink(settings: Settings, notebook: Notebook, sender: kafka.Sender) -> AsyncIterator[None]:
    task = asyncio.create_task(run_slack(settings, notebook, sender))
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])


def body(name: str) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(template("<!channel> & co"), id=name))


def hooked(settings: Settings, server: SlackServer) -> Settings:
    return replace(settings, slack_webhook_url=server.webhook)


def botted(settings: Settings, server: SlackServer) -> Settings:
    return replace(settings, slack_bot_token="xoxb-1", slack_channel="#ops", slack_api_url=server.api)


@pytest.mark.parametrize("way", [hooked, botted])
@pytest.mark.parametrize(
    ("word", "detail"), [("limit 2", None), ("500", "HTTP 500"), ("503", "HTTP 503"), ("reset", ""), ("garbage", "")]
)
async def test_a_passing_fault_is_waited_out(place: tuple[Settings, kafka.Sender], way, word: str, detail: str | None):
    """After a 429, a 5xx, a cut line or nonsense the message is posted once more; doubt is noted; posts keep apart."""
    settings, sender = place
    notebook = Notebook(away=2)
    async with slack_server(word) as server, sink(way(settings, server), notebook, sender):
        await sender.send(settings.topic_decisions, b"k", body("dec_1"))
        await notebook.ended("dec_1")
        state, noted, ts = notebook.states["dec_1"]
        assert (state, ts) == ("sent", "17.5" if way is botted else None)
        assert noted is None if detail is None else noted is not None and detail in noted
        assert len(server.posts) == 2
        (first, one), (second, two) = server.posts
        assert one == two
        assert second - first >= (1.99 if word == "limit 2" else 0.99)
        assert one["unfurl_links"] is False
        assert one.get("channel") == ("#ops" if way is botted else None)
        assert "<!channel>" not in one["text"]
        assert "dec_1" in json.dumps(one["blocks"])


@pytest.mark.parametrize(
    ("way", "word"),
    [(hooked, "400"), (hooked, "403"), (hooked, "404"), (hooked, "410"), (botted, "channel_not_found"),
     (botted, "invalid_auth")],
)  # fmt: skip
async def test_a_refusal_is_dead_lettered_and_the_next_goes_on(place: tuple[Settings, kafka.Sender], way, word: str):
    """Bytes as they came, reason `refused`; unreadable records are `rejected`; a repeated id is posted once."""
    settings, sender = place
    notebook = Notebook()
    async with slack_server(word) as server, sink(way(settings, server), notebook, sender):
        for value in (b"[" * 5000, body("dec_1"), body("dec_1"), body("dec_2"), body("dec_2"), body("dec_3")):
            await sender.send(settings.topic_decisions, b"k", value)
        await notebook.ended("dec_1", "dec_2", "dec_3")
        assert len(server.posts) == 3
    assert [notebook.states[f"dec_{n}"][0] for n in (1, 2, 3)] == ["refused", "sent", "sent"]
    letters = await kafka.read_all(settings, settings.topic_dlq)
    found = sorted((dict(letter.headers)["pulseguard_reason"], letter.value) for letter in letters)
    assert found == [(b"refused", body("dec_1")), (b"rejected", b"[" * 5000)]


async def test_silence_is_a_fault_and_an_unfinished_claim_is_posted_once_more(
    place: tuple[Settings, kafka.Sender], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_TIMEOUT", 1)
    settings, sender = place
    notebook = Notebook(states={"dec_1": ("claimed", None, None), "dec_0": ("sent", None, None)})
    async with slack_server("hang") as server, sink(hooked(settings, server), notebook, sender):
        await sender.send(settings.topic_decisions, b"k", body("dec_0"))
        await sender.send(settings.topic_decisions, b"k", body("dec_1"))
        await notebook.ended("dec_1")
        assert len(server.posts) == 2
        assert "TimeoutError" in (notebook.states["dec_1"][1] or "")


async def test_without_slack_the_message_goes_to_the_log(place: tuple[Settings, kafka.Sender]):
    settings, sender = place
    notebook = Notebook()
    async with sink(settings, notebook, sender):
        await sender.send(settings.topic_decisions, b"k", body("dec_1"))
        await notebook.ended("dec_1")
    assert notebook.states["dec_1"][0] == "sent"


async def test_a_shadow_decision_is_not_posted(place: tuple[Settings, kafka.Sender]):
    """A decision made on trial notifies nobody, whatever the sink's own settings; the next one is posted."""
    settings, sender = place
    notebook = Notebook()
    trial = msgspec.structs.replace(template("x"), id="dec_trial", shadow=True)
    async with slack_server() as server, sink(hooked(settings, server), notebook, sender):
        await sender.send(settings.topic_decisions, b"k", msgspec.json.encode(trial))
        await sender.send(settings.topic_decisions, b"k", body("dec_real"))
        await notebook.ended("dec_real")
        assert len(server.posts) == 1
        assert set(notebook.states) == {"dec_real"}


async def test_a_failed_commit_does_not_stop_the_posts(
    place: tuple[Settings, kafka.Sender], monkeypatch: pytest.MonkeyPatch
):
    """Who was put out of the group cannot commit before the next poll: the rest of the batch is posted all the same."""

    async def outside(*_: object) -> None:
        raise Unavailable("kafka", "unknown member")

    monkeypatch.setattr(kafka.Subscription, "commit", outside)
    settings, sender = place
    notebook = Notebook()
    async with sink(settings, notebook, sender):
        for name in ("dec_1", "dec_2"):
            await sender.send(settings.topic_decisions, b"k", body(name))
        await notebook.ended("dec_1", "dec_2")


async def test_a_webhook_that_is_no_url_names_its_setting(place: tuple[Settings, kafka.Sender]):
    settings, sender = place
    with pytest.raises(Misconfigured, match="SLACK_WEBHOOK_URL"):
        await run_slack(replace(settings, slack_webhook_url="hooks.slack.com/x"), Notebook(), sender)


async def test_a_stop_waits_for_the_post_that_is_under_way(place: tuple[Settings, kafka.Sender]):
    """Stopped while Slack takes its time, the sink hears the answer and marks it; the next one posts nothing again."""
    settings, sender = place
    notebook = Notebook()
    async with slack_server("slow") as server:
        async with sink(hooked(settings, server), notebook, sender):
            await sender.send(settings.topic_decisions, b"k", body("dec_1"))
            async with asyncio.timeout(30):
                while not server.posts:
                    await asyncio.sleep(0.02)
        assert notebook.states["dec_1"][0] == "sent"
        async with sink(hooked(settings, server), notebook, sender):
            await sender.send(settings.topic_decisions, b"k", body("dec_2"))
            await notebook.ended("dec_2")
        assert len(server.posts) == 2
