"""What comes from Slack: who signed it, what it says, and what a correction may ask for."""

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from slack_sdk.signature import SignatureVerifier

from pipeline.catalogue import Catalogue, load_catalogue
from pipeline.errors import Rejected
from pipeline.gateway.slack import CORRECTION, View, correction, dialog, read
from pipeline.sinks.blocks import render
from pipeline.sinks.slack import signed
from tests.program import ROOT
from tests.unit.test_blocks import decision

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
BODY = b"payload=%7B%7D"


def signature(secret: str = SECRET, body: bytes = BODY, age: int = 0) -> dict[str, str]:
    stamp = str(int(time.time()) - age)
    made = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
    return {"x-slack-request-timestamp": stamp, "x-slack-signature": str(made)}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(ROOT / "deploy" / "actions.yaml")


# Made when they are asked for: a signature holds for five minutes.
SIGNATURES: dict[str, tuple[Callable[[], dict[str, str]], bytes, bool]] = {
    "Slack's": (signature, BODY, True),
    "with headers in capitals": (lambda: {name.title(): value for name, value in signature().items()}, BODY, True),
    "six minutes old": (lambda: signature(age=360), BODY, False),
    "from the future": (lambda: signature(age=-360), BODY, False),
    "of another secret": (lambda: signature("another"), BODY, False),
    "of another body": (signature, BODY + b"x", False),
    "missing": (dict, BODY, False),
    "without a time": (lambda: {"x-slack-signature": signature()["x-slack-signature"]}, BODY, False),
    "at no time": (lambda: signature() | {"x-slack-request-timestamp": "now"}, BODY, False),
    "not ASCII": (lambda: signature() | {"x-slack-signature": "v0=\u00e9"}, BODY, False),
    "over bytes that are no text": (signature, b"\xff\xfe", False),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_only_what_slack_signed_just_now_is_taken(name: str):
    headers, body, well = SIGNATURES[name]
    assert signed(SECRET, body, headers()) is well


def posted(value: Any) -> bytes:
    return urlencode({"payload": value if isinstance(value, str) else json.dumps(value)}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"payload", b"payload=", b"x=1", b"\xff", posted("[]"), posted("{}"), posted({"type": "block_actions"}),
        posted({"type": 1, "user": {"id": "U1"}}), posted({"type": "x", "user": "U1"}), posted("[" * 5000),
        b"&".join([b"payload=1"] * 50), posted({"type": "x", "user": {"id": "U1"}, "actions": {"a": 1}}),
    ],
)  # fmt: skip
def test_what_is_no_interaction_is_rejected(body: bytes):
    with pytest.raises(Rejected):
        read(body)


def filled(**values: Any) -> View:
    state = {
        name: {name: {"selected_option": {"value": value}} if name in {"action", "worked"} else {"value": value}}
        for name, value in values.items()
    }
    return View("V1", CORRECTION, "dec_1", {"values": state})


def test_a_correction_says_what_was_done_and_how_it_went(catalogue: Catalogue):
    """Numbers are numbers, and the author is the user that Slack names."""
    view = filled(
        action="throttle_connections", target=" payments-db ", parameters="limit_percent=40", worked="yes",
        comment="the pool was full",
    )  # fmt: skip
    verdict = correction(view, "U1", catalogue)
    assert verdict.action is not None
    assert (verdict.action.name, verdict.action.target) == ("throttle_connections", "payments-db")
    assert verdict.action.parameters == {"limit_percent": 40.0}
    assert (verdict.verdict, verdict.worked, verdict.author) == ("correct", True, "slack:U1")
    assert verdict.comment == "the pool was full"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"action": "drop_database", "target": "x"}, "catalogue"),
        ({"action": "throttle_connections", "target": "x", "parameters": "limit_percent=4000"}, "above"),
        ({"action": "throttle_connections", "target": "x", "parameters": "limit_percent=many"}, "not a number"),
        ({"action": "throttle_connections", "target": "x", "parameters": "limit_percent"}, "NAME=VALUE"),
        ({"action": "throttle_connections", "target": "x", "parameters": "hosts=all"}, "no parameter"),
        ({"action": "throttle_connections", "target": "x"}, "missing"),
        ({"action": "restart_service", "target": "  "}, "on what"),
        ({"action": "escalate_to_human", "target": "x"}, "what was done"),
        ({"target": "x"}, "catalogue"),
        ({}, "on what"),
    ],
)
def test_a_correction_stays_within_the_catalogue(catalogue: Catalogue, values: dict[str, str], why: str):
    with pytest.raises(Rejected, match=why):
        correction(filled(**values), "U1", catalogue)


def test_the_dialog_shows_a_target_in_a_line_of_what_can_be_seen(catalogue: Catalogue):
    """Slack opens no dialog whose field of one line has several, or nothing in it."""

    def shown(target: str) -> Any:
        return dialog("dec_1", target, catalogue)["blocks"][1]["element"].get("initial_value")

    assert shown("pay\u202e\u200bments\nat night") == "payments at night"
    assert shown("\u200b") is None


def test_the_dialog_and_the_buttons_are_within_slacks_limits(catalogue: Catalogue):
    """A hundred choices, 75 characters each, 255 for a button's value; a message has buttons only where asked."""
    view = dialog("dec_1", "t" * 500, catalogue)
    select = view["blocks"][0]["element"]["options"]
    assert 0 < len(select) <= 100
    assert all(len(option["text"]["text"]) <= 75 and len(option["value"]) <= 150 for option in select)
    assert "escalate_to_human" not in {option["value"] for option in select}
    assert len(view["title"]["text"]) <= 24
    assert len(view["blocks"][1]["element"]["initial_value"]) <= 200
    one = decision("x")
    assert "actions" not in {block["type"] for block in render(one)["blocks"]}
    (buttons,) = [block["elements"] for block in render(one, buttons=True)["blocks"] if block["type"] == "actions"]
    assert {button["value"] for button in buttons} == {one.id}
    assert len({button["action_id"] for button in buttons}) == 3
