"""What people click on Slack's messages: verdicts, and a dialog for a correction. Signed by Slack, or refused.

Slack calls `POST /v1/slack/actions` (the Interactivity Request URL of the app) with a form whose field ``payload`` is
JSON: https://docs.slack.dev/interactivity/handling-user-interaction.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import parse_qs

import msgspec
import structlog
from litestar import Request, Response, post
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import HTTPException

from pipeline.catalogue import ESCALATE, Catalogue
from pipeline.errors import Rejected, Unavailable
from pipeline.gateway.feedback import Verdict, Verdicts
from pipeline.settings import Settings
from pipeline.sinks.blocks import plain
from pipeline.sinks.slack import Bot, open_bot, signed
from pipeline.stages.fingerprints import digest
from pipeline.stages.record import Record
from schemas import Action, Decision, Value

PATH = "/v1/slack/actions"
CORRECTION = "pulseguard_correction"
_CLICKS: dict[str, tuple[Literal["accept", "reject"], str]] = {
    "pulseguard_accept": ("accept", "accepted"), "pulseguard_reject": ("reject", "rejected"),
}  # fmt: skip
_OPEN = "pulseguard_correct"
_CHOICES, _TEXT, _LONGEST, _TARGET = 100, 75, 3000, 200
"""Slack's limits: choices of a select, characters of one, and of a text field. And ours, of a target."""
_WORKED = {"yes": True, "no": False, "unknown": None}
log = structlog.get_logger()


class Id(msgspec.Struct, frozen=True):
    """A user or a channel."""

    id: str


class Click(msgspec.Struct, frozen=True):
    """A button that was pressed: ``value`` is the decision's id."""

    action_id: str = ""
    value: str = ""
    action_ts: str = ""


class View(msgspec.Struct, frozen=True):
    """A dialog that was sent. ``state`` holds what was filled in: block → element → its value."""

    id: str
    callback_id: str = ""
    private_metadata: str = ""
    state: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}


class Interaction(msgspec.Struct, frozen=True):
    """What somebody did, as far as it concerns us."""

    type: str
    user: Id
    trigger_id: str = ""
    channel: Id | None = None
    actions: list[Click] = []
    view: View | None = None


def read(body: bytes) -> Interaction:
    """What Slack posts. Raises `Rejected`."""
    try:
        (payload,) = parse_qs(body.decode(), strict_parsing=True, max_num_fields=8)["payload"]
        return msgspec.json.decode(payload, type=Interaction)
    except (ValueError, KeyError, msgspec.MsgspecError, RecursionError) as exc:
        raise Rejected("not one of Slack's interactions") from exc


def dialog(decision_id: str, target: str, catalogue: Catalogue) -> dict[str, Any]:
    """The dialog that asks what was done instead, as Slack's view."""
    actions = [name for name in catalogue.names if name != ESCALATE][:_CHOICES]
    aimed = plain(target, len(target))[:_TARGET]
    worked = {"yes": "It worked", "no": "It did not work", "unknown": "Not known yet"}
    return {
        "type": "modal", "callback_id": CORRECTION, "private_metadata": decision_id,
        "title": _text("What was done?"), "submit": _text("Send"), "close": _text("Cancel"),
        "blocks": [
            _input("action", "Action", {"type": "static_select", "options": [_option(name, name) for name in actions]}),
            _input("target", "On what", {
                "type": "plain_text_input", "max_length": _TARGET, **({"initial_value": aimed} if aimed else {}),
            }),
            _input("parameters", "With which parameters", {
                "type": "plain_text_input", "max_length": 500, "placeholder": _text("limit_percent=50, releases=1"),
            }, optional=True),
            _input("worked", "Did it help?", {
                "type": "radio_buttons", "options": [_option(text, name) for name, text in worked.items()],
                "initial_option": _option(worked["yes"], "yes"),
            }),
            _input("comment", "What others should know", {
                "type": "plain_text_input", "multiline": True, "max_length": _LONGEST,
            }, optional=True),
        ],
    }  # fmt: skip


def correction(view: View, user: str, catalogue: Catalogue) -> Verdict:
    """What was filled in. Raises `Rejected` for an action or parameters that the catalogue does not have."""
    values = {block: next(iter(elements.values()), {}) for block, elements in view.state.get("values", {}).items()}
    name = _chosen(values, "action")
    if name == ESCALATE or not _typed(values, "target"):
        raise Rejected("say what was done, and on what")
    action = Action(name, _typed(values, "target"), _parameters(_typed(values, "parameters"), name, catalogue))
    catalogue.check(action)
    worked = _WORKED.get(_chosen(values, "worked"))
    return Verdict(
        verdict="correct", author=f"slack:{user}", comment=_typed(values, "comment") or None, action=action,
        worked=worked,
    )  # fmt: skip


def _target(decided: bytes | None) -> str:
    """What the decision is aimed at; nothing for one of an earlier release that cannot be read any more."""
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(decided or b"", type=Decision).action.target
    return ""


def routes(settings: Settings, record: Record, verdicts: Verdicts, catalogue: Catalogue) -> list[Any]:
    """The handler; without a bot token or SLACK_SIGNING_SECRET there is none to trust, and so nothing is there."""
    bot = open_bot(settings)

    @post(PATH, status_code=200, summary="What people click on Slack's messages (called by Slack)")
    async def slack_actions(request: Request[Any, Any, Any]) -> Response[dict[str, Any] | bytes]:
        if bot is None or settings.slack_signing_secret is None:
            raise HTTPException("SLACK_SIGNING_SECRET and SLACK_BOT_TOKEN are not set", status_code=404)
        body = await request.body()
        if not signed(settings.slack_signing_secret, body, request.headers):
            raise HTTPException("the signature is not Slack's, or too old", status_code=401)
        did = read(body)
        if did.type == "view_submission" and did.view is not None and did.view.callback_id == CORRECTION:
            faults = await _corrected(verdicts, did.view, did.user.id, catalogue)
            return Response(faults) if faults else Response(b"")  # nothing at all closes the dialog
        said: list[str] = []
        for click in did.actions if did.type == "block_actions" else []:
            if click.action_id == _OPEN:
                decided = await record.decision_body(click.value)
                await bot.open(did.trigger_id, dialog(click.value, _target(decided), catalogue))
            elif click.action_id in _CLICKS:
                said.append(await _clicked(verdicts, did.user.id, click))
        # After the answer: Slack waits three seconds for that, and repeats what it asked.
        return Response(b"", background=BackgroundTask(_whisper, bot, did, said))

    return [slack_actions]


async def _clicked(verdicts: Verdicts, user: str, click: Click) -> str:
    """Take a verdict; returns what to tell the user."""
    given, done = _CLICKS[click.action_id]
    # Slack repeats a request that was not answered in time: the same click has the same id.
    feedback_id = "fb_" + digest(["slack", click.value, user, click.action_ts])
    taken = await verdicts.take(feedback_id, click.value, Verdict(verdict=given, author=f"slack:{user}"))
    return f"Thank you: {done}." if taken else "That decision is not known any more."


async def _whisper(bot: Bot, did: Interaction, said: Sequence[str]) -> None:
    if did.channel is None:
        return
    for text in said:
        try:
            await bot.whisper(did.channel.id, did.user.id, text)
        except (Rejected, Unavailable) as exc:  # the verdict is taken, whether it can be said or not
            log.warning("slack_not_told", detail=str(exc))


async def _corrected(verdicts: Verdicts, view: View, user: str, catalogue: Catalogue) -> dict[str, Any] | None:
    """None closes the dialog; else what is wrong is shown in it."""
    try:
        verdict = correction(view, user, catalogue)
        taken = await verdicts.take("fb_" + digest(["slack", view.id]), view.private_metadata, verdict)
    except Rejected as exc:
        return {"response_action": "errors", "errors": {"parameters": plain(exc.reason, 150)}}
    if taken:
        return None
    return {"response_action": "errors", "errors": {"action": "that decision is not known any more"}}


def _parameters(text: str, name: str, catalogue: Catalogue) -> dict[str, Value]:
    """``limit_percent=50, releases=1`` as values, numbers where the catalogue has numbers."""
    known = catalogue.get(name).parameters if name in catalogue.names else {}
    found: dict[str, Value] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise Rejected(f"{part!r} is not NAME=VALUE")
        is_number = key in known and known[key].type == "number"
        try:
            found[key] = float(value) if is_number else value
        except ValueError as exc:
            raise Rejected(f"{key} is not a number") from exc
    return found


def _chosen(values: Mapping[str, dict[str, Any]], block: str) -> str:
    option = values.get(block, {}).get("selected_option")
    return str(option.get("value", "")) if isinstance(option, dict) else ""


def _typed(values: Mapping[str, dict[str, Any]], block: str) -> str:
    return str(values.get(block, {}).get("value") or "").strip()


def _text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": plain(text, _TEXT), "emoji": False}


def _option(text: str, value: str) -> dict[str, Any]:
    return {"text": _text(text), "value": value}


def _input(block: str, label: str, element: dict[str, Any], *, optional: bool = False) -> dict[str, Any]:
    return {
        "type": "input", "block_id": block, "label": _text(label), "optional": optional,
        "element": {"action_id": block, **element},
    }  # fmt: skip
