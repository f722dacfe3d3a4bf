"""The Slack sink on a real broker, against a real server that plays Slack and misbehaves."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from pipeline import kafka
from pipeline.errors import Unavailable
from pipeline.kafka import consume
from pipeline.settings import Settings
from pipeline.sinks import notify, outbox, slack
from pipeline.sinks.notify import run_slack
from pipeline.sinks.outbox import Claim, News, Outbox
from pipeline.sinks.policy import Inhibition, Limits, Policy, PolicyFile, Route, Silence
from pipeline.stages.record import Record
from schemas import Decision
from tests.brokers import Broker
from tests.conftest import on
from tests.program import until
from tests.slack_server import SlackServer, slack_server
from tests.unit.test_blocks import decision as template

Way = Callable[[Settings, SlackServer], Settings]
LIMITS = Limits(burst=1000)


class Place:
    """A topic, a record and a sink between them; and what the record says of each decision."""

    def __init__(self, settings: Settings, sender: kafka.Sender, record: Record) -> None:
        self.settings = settings
        self.sender = sender
        self.record = record

    async def send(self, *values: bytes) -> None:
        for value in values:
            await self.sender.send(self.settings.topic_decisions, b"k", value)

    async def rows(self, query: str, *arguments: object) -> list[Any]:
        async with self.record.connection() as connection:
            return list(await connection.fetch(query, *arguments))

    async def states(self) -> dict[str, tuple[str, str | None]]:
        rows = await self.rows("SELECT decision_id, state, detail FROM notifications")
        return {row["decision_id"]: (row["state"], row["detail"]) for row in rows}

    async def ended(self, *wanted: str) -> dict[str, tuple[str, str | None]]:
        async def all_of_them() -> bool:
            states = await self.states()
            return all(states.get(name, ("",))[0] in {"sent", "refused", "muted"} for name in wanted)

        await until(all_of_them, 30, f"the end of {wanted}")
        return await self.states()

    async def episode(self, name: str, situation: str, state: str = "open", **labels: str) -> None:
        """An episode that decisions may speak of, as the worker would have written it."""
        await self.rows(
            """
            INSERT INTO episodes (id, fingerprint, state, opened_by, occurrences, service, error_type, severity,
                opened_at, last_seen_at, began_at, situation_id, labels)
            VALUES ($1, $1, $2, 'a', 1, $1, 'timeout', 'error', now(), now(), now(), $3, $4::jsonb)
            """,
            name, state, situation, json.dumps(labels),
        )  # fmt: skip


@pytest.fixture
async def place(kafka_server: Broker, record: Record) -> AsyncIterator[Place]:
    name = uuid4().hex[:8]
    settings = replace(
        on(kafka_server), topic_partitions=1,
        topic_decisions=f"decisions-{name}", topic_dlq=f"dlq-{name}",
    )  # fmt: skip
    await kafka.create_topics(settings)
    sender = kafka.Sender(settings)
    yield Place(settings, sender, record)
    await sender.close()


@pytest.fixture(autouse=True)
def group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of its own a test: leftovers of another's topics would slow the join."""
    monkeypatch.setattr(notify, "GROUP", f"slack-{uuid4().hex[:8]}")


@asynccontextmanager
async def sink(place: Place, settings: Settings, file: PolicyFile | None = None) -> AsyncIterator[None]:
    policy = Policy(file or PolicyFile(limits=LIMITS))
    task = asyncio.create_task(run_slack(settings, place.record, place.sender, policy))
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])


def body(name: str, **changes: object) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(template("<!channel> & co"), id=name, **changes))


def hooked(settings: Settings, server: SlackServer) -> Settings:
    return replace(settings, slack_webhook_url=server.webhook)


def botted(settings: Settings, server: SlackServer) -> Settings:
    return replace(settings, slack_bot_token="xoxb-1", slack_channel="#ops", slack_api_url=server.api)


def hook(place: Place, server: SlackServer) -> Settings:
    return hooked(place.settings, server)


def bot(place: Place, server: SlackServer) -> Settings:
    return botted(place.settings, server)


@pytest.mark.parametrize("way", [hooked, botted])
@pytest.mark.parametrize(
    ("word", "detail"),
    [("limit 2", None), ("limit ²", None), ("500", "HTTP 500"), ("503", "HTTP 503"), ("reset", ""), ("garbage", ""),
     ("elsewhere", ""), ("page", "not Slack's")],
)  # fmt: skip
async def test_a_passing_fault_is_waited_out(place: Place, way: Way, word: str, detail: str | None):
    """After a 429, a 5xx, a cut line, nonsense or a page to log in the message is posted once more; doubt is noted."""
    async with slack_server(word) as server, sink(place, way(place.settings, server)):
        await place.send(body("dec_1"))
        state, noted = (await place.ended("dec_1"))["dec_1"]
        assert state == "sent"
        assert noted is None if detail is None else noted is not None and detail in noted
        assert len(server.posts) == 2
        (first, one), (second, two) = server.posts
        assert one == two
        assert second - first >= (1.99 if word == "limit 2" else 0.99)
        assert one["unfurl_links"] is False
        assert one.get("channel") == ("#ops" if way is botted else None)
        assert "<!channel>" not in one["text"]
        assert "dec_1" in json.dumps(one["blocks"])
        (row,) = await place.rows("SELECT place FROM messages")
        assert row["place"] == ("C1/2.5" if way is botted else None)


@pytest.mark.parametrize(
    ("way", "word"),
    [(hooked, "400"), (hooked, "403"), (hooked, "404"), (hooked, "410"), (botted, "channel_not_found"),
     (botted, "invalid_auth")],
)  # fmt: skip
async def test_a_refusal_is_dead_lettered_and_the_next_goes_on(place: Place, way: Way, word: str):
    """Bytes as they came, reason `refused`; unreadable records are `rejected`; a repeated id is posted once."""
    async with slack_server(word) as server, sink(place, way(place.settings, server)):
        await place.send(b"[" * 5000, body("dec\x00"), body("dec_1"))
        await place.ended("dec_1")
        await place.send(body("dec_1"), body("dec_2"), body("dec_2"), body("dec_3"))
        states = await place.ended("dec_1", "dec_2", "dec_3")
        assert len(server.posts) == 3
        again = [("pulseguard_retried", b"1")]
        await place.sender.send(place.settings.topic_decisions, b"k", body("dec_1"), again)
        await until(lambda: said(server, 4), 20, "the message that a human sent again")
    assert [states[f"dec_{n}"][0] for n in (1, 2, 3)] == ["refused", "sent", "sent"]
    letters = await kafka.read_all(place.settings, place.settings.topic_dlq)
    found = sorted((dict(letter.headers)["pulseguard_reason"], letter.value) for letter in letters)
    assert found == sorted([(b"refused", body("dec_1")), (b"rejected", b"[" * 5000), (b"rejected", body("dec\x00"))])


async def said(server: SlackServer, count: int) -> bool:
    return len(server.posts) >= count


async def test_silence_is_a_fault_and_an_unfinished_claim_is_posted_once_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    """What died between post and mark is taken over when its lease is over, and not before; nobody posts meanwhile."""
    monkeypatch.setattr(slack, "TIMEOUT", 1)
    monkeypatch.setattr(outbox, "LEASE", 4.0)
    async with slack_server("hang", "hang", "ok") as server:
        dead = Outbox(place.record, Policy(), "webhook")
        message = kafka.Message("decisions", 0, 0, b"k", body("dec_1"), [], 0)
        await dead.take([News(msgspec.json.decode(body("dec_1"), type=Decision), message)])
        assert isinstance(await dead.claim("webhook"), Claim)
        started = monotonic()
        async with sink(place, hook(place, server)):
            await place.send(body("dec_1"), body("dec_2"))
            states = await place.ended("dec_1", "dec_2")
        assert server.posts[0][0] - started > 3
        assert "TimeoutError" in (states["dec_1"][1] or "")
        assert [("dec_1" in json.dumps(post), "dec_2" in json.dumps(post)) for _, post in server.posts] == [
            (True, False), (True, False), (True, False), (False, True),
        ]  # fmt: skip
        assert not await dead.renew(Claim((await place.rows("SELECT id FROM messages"))[0]["id"], "head", ()))


async def test_without_slack_the_message_goes_to_the_log(place: Place):
    async with sink(place, place.settings, PolicyFile()):
        names = [f"dec_{n}" for n in range(20)]
        await place.send(*(body(name) for name in names))
        states = await place.ended(*names)
    assert {state for state, _ in states.values()} == {"sent"}


async def test_a_failed_commit_does_not_stop_the_posts(place: Place, monkeypatch: pytest.MonkeyPatch):
    """Who was put out of the group cannot commit before the next poll: the rest of the batch is posted all the same."""

    async def outside(*_: object) -> None:
        raise Unavailable("kafka", "unknown member")

    monkeypatch.setattr(kafka.Subscription, "commit", outside)
    async with sink(place, place.settings):
        await place.send(body("dec_1"), body("dec_2"))
        await place.ended("dec_1", "dec_2")


async def test_a_bug_in_a_poster_ends_the_role(place: Place, monkeypatch: pytest.MonkeyPatch):
    """It is not left dead while decisions go on being written down; nothing that waits is lost by it."""

    async def broken(*_: object, **__: object) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr(Outbox, "claim", broken)
    role = asyncio.create_task(run_slack(place.settings, place.record, place.sender, Policy()))
    await place.send(body("dec_1"))
    async with asyncio.timeout(30):
        with pytest.raises(ExceptionGroup) as caught:
            await role
    assert caught.group_contains(ZeroDivisionError)
    monkeypatch.undo()
    async with sink(place, place.settings):
        await place.ended("dec_1")


async def test_a_message_waits_for_no_acknowledgement(place: Place, monkeypatch: pytest.MonkeyPatch):
    """It is told once it is written down; the topic hears of it by the next poll, which takes its time here."""
    monkeypatch.setattr(consume, "WAIT", 5.0)
    monkeypatch.setattr(notify, "POLL", 60.0)

    async def follows() -> bool:
        return bool(await kafka.read_all(place.settings, place.settings.topic_dlq))

    async with slack_server() as server, sink(place, hook(place, server)):
        await place.send(b"no decision")
        await until(follows, 30, "its dead letter")
        begun = monotonic()
        await place.send(body("dec_1"))
        await place.ended("dec_1")
        assert server.posts[0][0] - begun < consume.WAIT / 2


async def test_a_stop_waits_for_the_post_that_is_under_way(place: Place):
    """Stopped while Slack takes its time, the sink hears the answer and marks it; the next one posts nothing again."""
    async with slack_server("slow") as server:
        async with sink(place, hook(place, server)):
            await place.send(body("dec_1"))
            await until(lambda: said(server, 1), 30, "a post")
        assert (await place.states())["dec_1"][0] == "sent"
        async with sink(place, hook(place, server)):
            await place.send(body("dec_2"))
            await place.ended("dec_2")
        assert len(server.posts) == 2


async def test_two_sinks_share_a_channel(place: Place):
    """Two replicas post each decision once, and keep one pace."""
    limits = PolicyFile(limits=Limits(burst=1000, pace=0.3))
    async with (
        slack_server() as server,
        sink(place, hook(place, server), limits),
        sink(place, hook(place, server), limits),
    ):
        names = [f"dec_{n}" for n in range(8)]
        await place.send(*(body(name) for name in names))
        await place.ended(*names)
        times = [when for when, _ in server.posts]
        assert len(times) == 8
        assert times[-1] - times[0] > 7 * 0.3 - 0.5  # the first may have been under way for longer than the last


async def test_what_a_replica_left_behind_is_told_in_any_channel(place: Place):
    """One died that had taken a decision for a channel of its own: the next one looks what there is to be told."""
    async with slack_server() as server, sink(place, bot(place, server)):
        await place.send(body("dec_1"))
        await place.ended("dec_1")
        dead = Outbox(place.record, Policy(), "#db", routed=True)
        message = kafka.Message("decisions", 0, 0, b"k", body("dec_2"), [], 0)
        assert await dead.take([News(msgspec.json.decode(body("dec_2"), type=Decision), message)]) == {"#db"}
        await place.ended("dec_2")
        assert [post["channel"] for _, post in server.posts] == ["#ops", "#db"]


async def test_a_storm_is_a_few_messages_that_name_every_decision(place: Place):
    """Forty situations at once over a webhook: what the channel bears, then one digest; the worst come first."""
    file = PolicyFile(limits=Limits(burst=3, refill=600, digest=8, pace=0.1))
    async with slack_server() as server, sink(place, hook(place, server), file):
        names = [f"dec_{n:02}" for n in range(40)]
        await place.send(*(body(name, situation_id=f"sit_{name}", severity="info") for name in names[:-1]))
        await place.send(body(names[-1], situation_id="sit_worst", severity="critical"))
        await place.ended(*names)
        said = [json.dumps(post) for _, post in server.posts]
    assert len(said) == 4
    assert "37 decisions in 37 situations" in said[3]
    assert sum(names[-1] in text for text in said) == 1
    told_of = [text.index(name) for text in said if names[-1] in text for name in names if name in text]
    assert min(told_of) == told_of[-1], "the worst is not the first of its message"
    kinds = [row["kind"] for row in await place.rows("SELECT kind FROM messages ORDER BY claimed_at")]
    assert kinds == ["head"] * 3 + ["digest"]


async def test_a_situation_is_a_thread_whose_head_is_kept_up(place: Place):
    """With a bot token: the second episode answers in the thread; the head counts it, and says when it is over."""
    file = PolicyFile(limits=Limits(burst=100, update=1, pace=0.1))
    async with slack_server() as server, sink(place, bot(place, server), file):
        await place.episode("ep_1", "sit_1")
        await self_decided(place, "dec_1", "ep_1")
        await place.ended("dec_1")
        await place.episode("ep_2", "sit_1")
        await self_decided(place, "dec_2", "ep_2")
        await place.ended("dec_2")
        (_, first), (_, second) = server.posts
        assert "thread_ts" not in first
        assert second["thread_ts"] == "1.5"
        assert "dec_2" in json.dumps(second)
        await until(lambda: edited(server, "2 episodes, 2 going on"), 20, "the head that counts two")
        await place.rows("UPDATE episodes SET state = 'resolved'")
        await until(lambda: edited(server, "over: "), 20, "the head that is over")
        assert {(edit["channel"], edit["ts"]) for edit in server.edits} == {("C1", "1.5")}
        await place.rows("UPDATE episodes SET state = 'open' WHERE id = 'ep_2'")
        await until(lambda: edited(server, "2 episodes, 1 going on"), 20, "the head that goes on again")


async def self_decided(place: Place, name: str, episode: str) -> None:
    """A decision in the record and on the topic."""
    made = msgspec.structs.replace(
        template("x"), id=name, episode_id=episode, situation_id="sit_1", severity="error", created_at=datetime.now(UTC)
    )
    await place.record.save_decisions([(made, None)])
    await place.send(msgspec.json.encode(made))


async def edited(server: SlackServer, text: str) -> bool:
    return bool(server.edits) and text in json.dumps(server.edits[-1])


async def test_routes_silences_inhibition_and_hold_off(place: Place):
    """Each mutes with its reason in the record, or sends elsewhere; nothing is told that should not be.

    A silence of an older release that cannot be read any more mutes nobody, and stops nothing.
    """
    file = PolicyFile(
        limits=LIMITS,
        routes=(Route(match=("team=db",), channel="#db"), Route(match=("team=batch",), hold_off=1)),
        inhibit=(Inhibition(source=("role=source",), target=("role=target",), equal=("cluster",)),),
    )
    box = Outbox(place.record, Policy(file))
    now = datetime.now(UTC)
    await box.add_silence(Silence("sil_1", ["team=quiet"], now - timedelta(1), now + timedelta(1), "ada", "moving"))
    await box.add_silence(Silence("sil_2", ["team=db"], now - timedelta(2), now - timedelta(1), "ada", "over"))
    assert [silence.id for silence in await box.silences()] == ["sil_1"]
    assert len(await box.silences(expired=True)) == 2
    await box.add_silence(Silence("sil_3", ["team=~(?=d)db"], now - timedelta(1), now + timedelta(1), "ada", "old"))
    labels: dict[str, dict[str, str]] = {
        "db": {"team": "db"}, "quiet": {"team": "quiet"}, "batch": {"team": "batch"}, "plain": {},
        "source": {"role": "source", "cluster": "c"}, "target": {"role": "target", "cluster": "c"},
        "elsewhere": {"role": "target", "cluster": "d"},
    }  # fmt: skip
    async with slack_server() as server, sink(place, bot(place, server), file):
        for name, said_of in labels.items():
            await place.episode(f"ep_{name}", f"sit_{name}", "resolved" if name == "batch" else "open", **said_of)
            await place.send(body(f"dec_{name}", episode_id=f"ep_{name}", situation_id=f"sit_{name}"))
        states = await place.ended(*(f"dec_{name}" for name in labels))
        channels = {post["channel"] for _, post in server.posts}
    assert {name: states[f"dec_{name}"] for name in labels} == {
        "db": ("sent", None), "quiet": ("muted", "silenced by sil_1"), "batch": ("muted", "over within 1 s"),
        "plain": ("sent", None), "source": ("sent", None), "target": ("muted", "inhibited by ep_source"),
        "elsewhere": ("sent", None),
    }  # fmt: skip
    assert channels == {"#db", "#ops"}
    assert await box.expire_silence("sil_1")
    assert not await box.expire_silence("sil_1")


async def test_what_goes_on_is_said_again(place: Place):
    """After the route's `repeat` a situation that still fires is told of once more."""
    file = PolicyFile(limits=Limits(burst=100, pace=0.1), routes=(Route(repeat=2),))
    async with slack_server() as server, sink(place, hook(place, server), file):
        await place.episode("ep_1", "sit_1")
        await self_decided(place, "dec_1", "ep_1")
        await until(lambda: said(server, 2), 20, "the reminder")
        assert "Still going on of 🔴 x on x" in server.posts[1][1]["text"].replace("🟠", "🔴")


async def test_a_message_is_kept_up_after_a_restart(place: Place):
    """Nothing new comes for its channel: its situation's end is shown, and what goes on elsewhere is said again."""
    file = PolicyFile(limits=Limits(burst=100, pace=0.1), routes=(Route(repeat=3),))
    async with slack_server() as server:
        await place.episode("ep_1", "sit_1")
        await self_decided(place, "dec_1", "ep_1")
        async with sink(place, bot(place, server), file):
            await place.ended("dec_1")
        told = len(server.posts)
        async with sink(place, bot(place, server), file):
            await until(lambda: said(server, told + 1), 20, "the reminder")
        await place.rows("UPDATE episodes SET state = 'resolved'")
        async with sink(place, bot(place, server), file):
            await until(lambda: edited(server, "over: "), 20, "the end")
    assert await Outbox(place.record, Policy(file), "C2", routed=True).channels() == ["#ops"]
    assert await Outbox(place.record, Policy(file), "webhook").channels() == []  # it has none by that name


async def test_in_shadow_nobody_is_told(place: Place):
    """A decision made on trial is muted, whatever the sink's own settings; the next one is posted."""
    async with slack_server() as server, sink(place, hook(place, server)):
        await place.send(body("dec_trial", shadow=True), body("dec_real"))
        states = await place.ended("dec_trial", "dec_real")
        assert (states["dec_trial"], states["dec_real"][0]) == (("muted", "shadow"), "sent")
        assert len(server.posts) == 1
        assert "dec_trial" not in json.dumps(server.posts)


async def test_in_shadow_nothing_is_told_of_what_was_there_before(place: Place, monkeypatch: pytest.MonkeyPatch):
    """What waited, what another was at and died, a reminder that is due and a head that is outdated: Slack is still."""
    monkeypatch.setattr(outbox, "LEASE", 1.0)
    file = PolicyFile(limits=Limits(burst=100, pace=0), routes=(Route(repeat=1),))
    dead = Outbox(place.record, Policy(file), "webhook")

    async def take(*names: str) -> None:
        for name in names:
            message = kafka.Message("decisions", 0, 0, b"k", body(name), [], 0)
            await dead.take([News(msgspec.json.decode(body(name), type=Decision), message)])

    async with slack_server() as server:
        await place.episode("ep_1", "sit_1")
        await self_decided(place, "dec_told", "ep_1")
        async with sink(place, hook(place, server), file):
            await place.ended("dec_told")
        told = len(server.posts)
        await take("dec_begun")
        claim = await dead.claim("webhook")
        assert isinstance(claim, Claim)
        await take("dec_waits")
        async with sink(place, replace(hook(place, server), shadow=True), file):
            await place.send(body("dec_new"))
            states = await place.ended("dec_begun", "dec_waits", "dec_new")
            await asyncio.sleep(2 * notify.POLL)  # a reminder is due all the while
        assert len(server.posts) == told
    shadow = ("muted", "shadow")
    begun = ("muted", "shadow; may have been posted before")
    assert states == {"dec_told": ("sent", None), "dec_begun": begun, "dec_waits": shadow, "dec_new": shadow}
    assert not await dead.renew(claim)
