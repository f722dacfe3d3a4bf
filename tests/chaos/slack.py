"""Faults of Slack and of the role that posts there: one message a decision, whatever happens."""

import asyncio
import random

from tests.chaos.load import distinct, storm
from tests.chaos.rig import Rig, shown
from tests.chaos.scenarios import scenario


@scenario()
async def slack_killed(rig: Rig) -> None:
    """The Slack role is killed with -9 while it posts, again and again; each death may repeat one message, no more."""
    await rig.with_slack()
    await rig.worker()
    await rig.send(distinct(rig.chance, rig.many(16, 6)))
    slack = await rig.run("slack")
    for count in (2, 4, 8, 11)[: rig.many(4, 2)]:
        await _shown(rig, count)
        await asyncio.sleep(rig.chance.uniform(0, 1))  # anywhere between two posts
        rig.kill(slack)
        slack = await rig.run("slack")
    rig.over()


@scenario()
async def slack_killed_before_it_marks(rig: Rig) -> None:
    """The Slack role is killed between Slack's answer and its own record of it: that one message comes twice."""
    await rig.with_slack()
    await rig.worker()
    await rig.database.raise_on_write("53100", 1.0, ["messages"], on="UPDATE", when="NEW.state = 'sent'")
    await rig.send(distinct(rig.chance, 5))
    slack = await rig.run("slack")
    await _shown(rig, 1)
    rig.kill(slack)
    await rig.database.write_again()
    rig.over()
    await rig.run("slack")
    account = await rig.settle()
    rig.promise(account.duplicate_messages == 1, f"{account.duplicate_messages} messages came twice, and one must")


@scenario(fast=True)
async def slack_killed_before_slack_shows(rig: Rig) -> None:
    """The Slack role is killed while its message is on the way, and Slack never gets to show it: it is posted again."""
    slack_server = await rig.with_slack("stuck")
    await rig.worker()
    await rig.send(distinct(rig.chance, 3))
    slack = await rig.run("slack")
    await _posted(rig, 1)
    rig.kill(slack)
    rig.over()
    await rig.run("slack")
    account = await rig.settle()
    rig.promise(account.duplicate_messages == 0, "a message came twice, and none had to")
    rig.promise(slack_server.answers[0] == "stuck", "the fault hit nobody")


@scenario(fast=True)
async def decisions_come_twice(rig: Rig) -> None:
    """Every record of `decisions` is delivered once more, as at-least-once allows; Slack and feed show each id once."""
    await rig.with_slack()
    await rig.with_relay()
    await rig.worker()
    await rig.run("slack")
    await rig.send(distinct(rig.chance, 5))
    await _shown(rig, 5)
    await rig.publish_again("decisions")
    await rig.send(distinct(rig.chance, 3, "after"))
    await _shown(rig, 8)
    rig.over()


@scenario()
async def slack_stopped(rig: Rig) -> None:
    """The Slack role is asked to stop while Slack takes 2 s over a message: it waits for that; nothing is repeated."""
    await rig.with_slack(*["slow"] * 20)
    await rig.worker()
    await rig.send(distinct(rig.chance, 8))
    for count in (3, 6):
        slack = await rig.run("slack")
        await _posted(rig, count)
        await rig.terminate(slack)
    rig.over()
    await rig.run("slack")


@scenario()
async def slack_limits(rig: Rig) -> None:
    """Slack answers 429 with Retry-After; it is asked again no sooner, and every message comes once."""
    await _misbehaving(rig, "limit 2", "ok", "limit 1", "limit 1")
    assert rig.slack is not None
    await _shown(rig, 1)
    times = [time for time, _ in rig.slack.posts]
    rig.promise(times[1] - times[0] >= 1.9, "Slack said 2 seconds, and was asked sooner")


@scenario()
async def slack_fails(rig: Rig) -> None:
    """Slack answers 500, 503 and nonsense; every message comes once, for these showed nothing."""
    await _misbehaving(rig, "500", "ok", "503", "garbage", "500", "ok", "500")


@scenario()
async def slack_hangs(rig: Rig) -> None:
    """Slack takes a message and never answers: it is posted again, and said to be uncertain."""
    await _misbehaving(rig, "ok", "hang")
    await _unsure_is_said(rig, 1)


@scenario()
async def slack_hangs_up(rig: Rig) -> None:
    """Slack resets the connection after it took the message, twice."""
    await _misbehaving(rig, "reset", "ok", "reset")
    await _unsure_is_said(rig, 2)


@scenario()
async def slack_knows_no_channel(rig: Rig) -> None:
    """Slack refuses two messages for good (channel_not_found): dead letters, and those after them are posted."""
    await rig.with_slack("ok", "channel_not_found", "channel_not_found", bot=True)
    await rig.worker()
    await rig.run("slack")
    await rig.send(distinct(rig.chance, 6))
    await rig.decisions(6)
    await _shown(rig, 4)
    account = await rig.settle()
    rig.promise(not account.broken, "refused messages are not settled")
    refused = (await rig.found()).refused
    rig.promise(len(refused) == 2, f"{len(refused)} dead letters for two refusals")
    rig.over()


@scenario(fast=True)
async def slack_killed_in_a_storm(rig: Rig) -> None:
    """Thirty faults at once, over the channel's limit, and the Slack role killed while it tells of them: few messages,
    and each decision in one of them.
    """
    routes = rig.folder / "routes.yaml"
    routes.write_text("limits: {burst: 3, refill: 600, digest: 5, update: 5, longest: 20, pace: 1}")
    rig.environment |= {"SITUATION_GAP_SECONDS": "300", "ROUTES_FILE": str(routes)}
    await rig.with_slack()
    await rig.worker()
    slack = await rig.run("slack")
    await rig.send(storm(rig.chance, 300, 30))
    await _shown(rig, 1)
    rig.kill(slack)
    rig.over()
    await rig.run("slack")
    await rig.settle()
    assert rig.slack is not None
    rig.promise(len(rig.slack.posts) <= 12, f"{len(rig.slack.posts)} messages for one storm")


async def _misbehaving(rig: Rig, *script: str) -> None:
    await rig.with_slack(*script)
    await rig.worker()
    await rig.run("slack")
    await rig.send(distinct(rig.chance, rig.many(8, 5)))
    rig.over()


async def _unsure_is_said(rig: Rig, count: int) -> None:
    account = await rig.settle()
    rig.promise(not account.lost, "a message was lost")
    said = await rig.database.value("SELECT count(*) FROM notifications WHERE detail LIKE 'uncertain%'")
    rig.promise(said == count, f"{said} messages are said to be uncertain, and {count} are")


async def _posted(rig: Rig, count: int) -> None:
    """Wait until Slack has been asked so often; the last answer is still to come."""

    async def asked() -> bool:
        assert rig.slack is not None
        return len(rig.slack.posts) >= count

    await rig.wait(asked, 90, f"{count} posts")


async def _shown(rig: Rig, count: int) -> None:
    async def enough() -> bool:
        assert rig.slack is not None
        return len(shown(rig.slack)) >= count

    await rig.wait(enough, 90, f"{count} messages at Slack")


def any_word(chance: random.Random) -> str:
    """Something that Slack may do that does not last long."""
    return chance.choice(("ok", "ok", "ok", "ok", "ok", "limit 1", "500", "reset", "garbage"))
