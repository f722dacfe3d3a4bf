"""decisions → Slack: one message a decision, never more than one a second to a channel. The only module with slack_sdk.

Claim, post, mark, acknowledge: a crash between post and mark may repeat one message, and that is counted as uncertain.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from pipeline import kafka, metrics
from pipeline.errors import Misconfigured, Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.settle import until_available
from pipeline.sinks.blocks import render
from pipeline.stages.publish import bury
from schemas import Decision
from schemas.dead_letter import RETRIED

GROUP = "pulseguard-slack"
INTERVAL = 1.0
"""Seconds between posts to one channel: Slack's limit."""
_TIMEOUT = 10
_GRACE = 15
_OK, _REQUEST_TIMEOUT, _TOO_MANY, _SERVER_ERROR = 200, 408, 429, 500
_LIMITED = "HTTP 429"
_RATE_LIMITED = {"ratelimited", "rate_limited"}
_TRANSIENT = _RATE_LIMITED | {"internal_error", "fatal_error", "service_unavailable", "request_timeout"}
log = structlog.get_logger()

Post = Callable[[dict[str, Any]], Awaitable[str | None]]
"""Posts a rendered message; returns its timestamp where Slack gives one. Raises `Unavailable` or `Rejected`."""


class Notifications(Protocol):
    """The part of the record that remembers what was posted."""

    async def claim_notification(self, decision_id: str, channel: str) -> str:
        """``new``, ``uncertain``, ``sent`` or ``refused``."""

    async def finish_notification(
        self, decision_id: str, channel: str, state: str, detail: str | None = None, ts: str | None = None
    ) -> None:
        """Say how it ended."""


async def run_slack(settings: Settings, record: Notifications, sender: kafka.Sender) -> None:
    """Post decisions as they come, until cancelled."""
    channel, post = _destination(settings)
    pace = _Pace()
    async with kafka.subscribe(settings, [settings.topic_decisions], GROUP) as subscription:
        async for message in subscription:
            try:
                await _to_its_end(_notify(settings, record, sender, channel, post, pace, message, subscription))
            except _HandedOver:
                continue
            await _acknowledge(subscription, message)


class _HandedOver(Exception):
    """Another replica has the partition now, and posts the message."""


async def _to_its_end(begun: Coroutine[Any, Any, None]) -> None:
    """Await what is begun; a stop waits for it, for `_GRACE` seconds: a post that is not marked comes twice."""
    task = asyncio.ensure_future(begun)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_GRACE)
        task.cancel()
        raise


async def _acknowledge(subscription: kafka.Subscription, message: kafka.Message) -> None:
    """Commit, once: after a rebalance it can never succeed. Without it the message comes again, and is skipped."""
    try:
        await subscription.commit(message)
    except Unavailable as exc:
        log.warning("not_acknowledged", system=exc.system, detail=exc.detail, offset=message.offset)


class _Pace:
    """Keeps posts a second apart."""

    def __init__(self) -> None:
        self._next = 0.0

    async def wait(self) -> None:
        await asyncio.sleep(self._next - monotonic())
        self._next = monotonic() + INTERVAL


async def _notify(
    settings: Settings, record: Notifications, sender: kafka.Sender, channel: str, post: Post, pace: _Pace,
    message: kafka.Message, subscription: kafka.Subscription,
) -> None:  # fmt: skip
    try:
        decision = msgspec.json.decode(message.value or b"", type=Decision)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        reason = f"not a decision: {exc}"
        log.error("slack_unreadable", reason=reason, topic=message.topic, offset=message.offset)
        await until_available(lambda: bury(sender, settings.topic_dlq, message, "rejected", reason))
        return
    if decision.shadow:  # on trial: the decision itself says so, for ever, so no claim is needed
        metrics.slack_posts.labels(outcome="shadow").inc()
        return
    claim = await until_available(lambda: record.claim_notification(decision.id, channel))
    again = any(name == RETRIED for name, _ in message.headers)  # a human mended what Slack refused
    if claim == "sent" or (claim == "refused" and not again):
        return
    if claim == "uncertain":
        metrics.slack_posts.labels(outcome="repeated").inc()
    payload = render(decision)

    doubt: list[str] = []

    async def attempt() -> str | None:
        if channel != "log":
            await pace.wait()
        if not subscription.holds(message):
            raise _HandedOver
        try:
            return await post(payload)
        except Unavailable as exc:
            if exc.detail != _LIMITED:  # Slack may have posted it and not said so
                metrics.slack_posts.labels(outcome="uncertain").inc()
                doubt[:] = [f"uncertain: posted again after {exc.detail}"]
            raise

    try:
        ts = await until_available(attempt)
    except Rejected as exc:
        refusal = exc.reason
        log.error("slack_refused", channel=channel, reason=refusal, decision=decision.id)
        await until_available(lambda: bury(sender, settings.topic_dlq, message, "refused", refusal))
        await until_available(lambda: record.finish_notification(decision.id, channel, "refused", refusal))
        metrics.slack_posts.labels(outcome="refused").inc()
    else:
        await until_available(
            lambda: record.finish_notification(decision.id, channel, "sent", "".join(doubt) or None, ts)
        )
        metrics.slack_posts.labels(outcome="sent").inc()


def _destination(settings: Settings) -> tuple[str, Post]:
    if settings.slack_bot_token and settings.slack_channel:
        return settings.slack_channel, _bot(settings)
    if settings.slack_webhook_url:
        parts = urlsplit(settings.slack_webhook_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Misconfigured("SLACK_WEBHOOK_URL", "is not an http(s) URL")
        return "webhook", _webhook(settings.slack_webhook_url)
    return "log", _preview


async def _preview(payload: dict[str, Any]) -> None:
    log.info("slack_preview", text=payload["text"], blocks=len(payload["blocks"]))


def _webhook(url: str) -> Post:
    client = AsyncWebhookClient(url, timeout=_TIMEOUT, retry_handlers=[])

    async def post(payload: dict[str, Any]) -> None:
        try:
            response = await client.send_dict(payload | {"unfurl_links": False, "unfurl_media": False})
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise Unavailable("slack", type(exc).__name__) from exc
        if response.status_code != _OK:
            raise _fault(response.status_code, response.body, response.headers)

    return post


def _bot(settings: Settings) -> Post:
    client = AsyncWebClient(
        settings.slack_bot_token, base_url=settings.slack_api_url, timeout=_TIMEOUT, retry_handlers=[]
    )
    channel = settings.slack_channel or ""

    async def post(payload: dict[str, Any]) -> str | None:
        try:
            response = await client.chat_postMessage(channel=channel, unfurl_links=False, unfurl_media=False, **payload)
        except SlackApiError as exc:
            raise _api_fault(exc.response) from exc
        except (AttributeError, TypeError) as exc:  # the library's own, over a body that is not Slack's JSON
            raise Unavailable("slack", "an answer that is not Slack's") from exc
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise Unavailable("slack", type(exc).__name__) from exc
        ts = response.get("ts")
        return None if ts is None else str(ts)

    return post


def _api_fault(response: Any) -> Exception:
    """Over a body that is no JSON the library hands us its HTTP client's response, or text, in place of its own."""
    status: int = getattr(response, "status_code", getattr(response, "status", _SERVER_ERROR))
    data = getattr(response, "data", None)
    error = str(data.get("error")) if isinstance(data, dict) else ""
    if status == _OK and error and error not in _TRANSIENT:
        return Rejected(f"Slack refuses: {error}")
    return _fault(_TOO_MANY if error in _RATE_LIMITED else status, error, getattr(response, "headers", None))


def _fault(status: int, body: str | None, headers: Any) -> Exception:
    named = {str(name).lower(): value for name, value in dict(headers or {}).items()}
    text = str(named.get("retry-after", ""))
    wait = float(text) if text.isdigit() else None
    if status == _TOO_MANY:
        return Unavailable("slack", _LIMITED, wait)
    if status in {_OK, _REQUEST_TIMEOUT} or status >= _SERVER_ERROR:
        return Unavailable("slack", f"HTTP {status}", wait)
    return Rejected(f"Slack refuses: HTTP {status} {(body or '')[:200]}")
