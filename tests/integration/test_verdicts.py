"""Verdicts given in Slack, through a running program and a played Slack."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio
from slack_sdk.signature import SignatureVerifier

from tests.program import open_folder, until
from tests.slack_server import SlackServer, slack_server
from tests.stack import Stack

SECRET = "an-example-of-a-signing-secret"
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Clicks:
    """A Slack that calls back what its users click."""

    def __init__(self, up: Stack, slack: SlackServer) -> None:
        self.up = up
        self.slack = slack

    async def call(self, payload: dict[str, Any], secret: str = SECRET) -> tuple[int, Any]:
        body = urlencode({"payload": json.dumps({"user": {"id": "U1"}, "channel": {"id": "C1"}} | payload)})
        stamp = str(int(time.time()))
        made = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
        headers = {
            "X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": str(made),
            "Content-Type": "application/x-www-form-urlencoded",
        }  # fmt: skip
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.up.http}/v1/slack/actions", data=body, headers=headers) as answer,
        ):
            said = await answer.read()
            return answer.status, json.loads(said) if said else None

    async def click(self, verdict: str, decision: str, at: str = "1.5", secret: str = SECRET) -> int:
        action = {"action_id": f"pulseguard_{verdict}", "value": decision, "action_ts": at}
        return (await self.call({"type": "block_actions", "trigger_id": "T1", "actions": [action]}, secret))[0]

    async def button_of(self, error_type: str) -> str:
        """The decision that the message's buttons are about."""

        def values() -> list[str]:
            return [
                element["value"]
                for _, body in self.slack.posts
                if error_type in body["text"]
                for block in body["blocks"]
                if block["type"] == "actions"
                for element in block["elements"]
            ]

        async def posted() -> bool:
            return bool(values())

        await until(posted, 30, "a message with buttons")
        return values()[0]

    async def verdicts(self, decision: str) -> list[dict[str, Any]]:
        rows = await self.up.rows("SELECT body FROM feedback WHERE decision_id = $1", decision)
        return [json.loads(row["body"]) for row in rows]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clicks() -> AsyncIterator[Clicks]:
    async with slack_server() as slack:
        stack = Stack(open_folder())
        stack.environment |= {
            "SLACK_BOT_TOKEN": "xoxb-placeholder", "SLACK_CHANNEL": "C1", "SLACK_API_URL": slack.api,
            "SLACK_SIGNING_SECRET": SECRET,
        }  # fmt: skip
        async with stack.up():
            yield Clicks(stack, slack)


async def test_a_click_is_a_verdict_and_slacks_repetition_of_it_is_none(clicks: Clicks):
    """The row names the user, who alone is told; the same click again changes nothing."""
    clicks.up.publish(b'{"error_type": "clicked_fault", "service": "a"}')
    decision = await clicks.button_of("clicked_fault")
    assert [await clicks.click("accept", decision), await clicks.click("accept", decision)] == [200, 200]

    async def written() -> bool:
        return bool(await clicks.verdicts(decision))

    await until(written, 30, "the verdict")
    assert await clicks.click("reject", decision, "2.5") == 200

    async def both() -> bool:
        return len(await clicks.verdicts(decision)) > 1

    await until(both, 30, "the second verdict")
    found = await clicks.verdicts(decision)
    assert sorted((one["verdict"], one["author"]) for one in found) == [("accept", "slack:U1"), ("reject", "slack:U1")]

    async def told() -> bool:
        return ("U1", "Thank you: rejected.") in [(said["user"], said["text"]) for said in clicks.slack.whispers]

    await until(told, 10, "the user to be told")


async def test_a_correction_is_asked_for_in_a_dialog_and_becomes_knowledge(clicks: Clicks):
    """The dialog knows the target; what is wrong is said in it; what is right is an incident within seconds."""
    clicks.up.publish(b'{"error_type": "flux_capacitor_drained", "service": "delorean", "message": "no flux at all"}')
    decision = await clicks.button_of("flux_capacitor_drained")
    assert await clicks.click("correct", decision) == 200
    view = clicks.slack.views[-1]["view"]
    assert view["private_metadata"] == decision
    assert "delorean" in json.dumps(view)

    def sent(action: str) -> dict[str, Any]:
        values = {
            "action": {"action": {"selected_option": {"value": action}}}, "target": {"target": {"value": "delorean"}},
            "worked": {"worked": {"selected_option": {"value": "yes"}}},
        }  # fmt: skip
        about = {"callback_id": view["callback_id"], "private_metadata": decision, "id": "V1"}
        return {"type": "view_submission", "view": about | {"state": {"values": values}}}

    status, answer = await clicks.call(sent("drop_database"))
    assert status == 200
    assert answer["response_action"] == "errors"
    assert await clicks.call(sent("restart_service")) == (200, None)

    async def learned() -> bool:
        rows = await clicks.up.rows("SELECT body FROM incidents WHERE body->>'error_type' = 'flux_capacitor_drained'")
        return [json.loads(row["body"])["action"]["name"] for row in rows] == ["restart_service"]

    await until(learned, 30, "the incident")


async def test_what_slack_did_not_sign_and_what_concerns_nobody_changes_nothing(clicks: Clicks):
    """401 for another's signature, 400 for nonsense, 200 for other apps' buttons and for decisions nobody made."""
    before = await clicks.up.rows("SELECT 1 FROM feedback")
    assert await clicks.click("accept", "dec_of_nobody", secret="another") == 401
    assert (await clicks.call({"type": 7}))[0] == 400
    assert await clicks.click("accept", "dec_of_nobody") == 200
    assert await clicks.click("drop_tables", "dec_of_nobody") == 200
    assert await clicks.click("accept", "x" * 100_000) == 200

    async def told() -> bool:
        return clicks.slack.whispers[-1]["text"] == "That decision is not known any more."

    await until(told, 10, "the user to be told")
    assert len(await clicks.up.rows("SELECT 1 FROM feedback")) == len(before)


async def test_without_a_secret_there_are_no_buttons_and_nobody_to_take_clicks():
    """A bot token alone posts messages as before, and the endpoint is not there."""
    async with slack_server() as slack:
        stack = Stack(open_folder())
        stack.environment |= {
            "SLACK_BOT_TOKEN": "xoxb-placeholder", "SLACK_CHANNEL": "C1", "SLACK_API_URL": slack.api,
        }  # fmt: skip
        async with stack.up():
            stack.publish(b'{"error_type": "unclickable", "service": "a"}')

            async def posted() -> bool:
                return bool(slack.posts)

            await until(posted, 30, "a message")
            assert "actions" not in {block["type"] for block in slack.posts[0][1]["blocks"]}
            assert await Clicks(stack, slack).click("accept", "dec_1") == 404
