"""Slack's side: one call to a webhook or with a bot token, and what its answer means. The only module with slack_sdk.

No retries here: who calls owns them.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from pipeline.errors import Rejected, Unavailable
from pipeline.later import retry_after
from pipeline.settings import Settings
from pipeline.sinks.blocks import Payload, readable

TIMEOUT = 10
"""Seconds for one call."""
LIMITED = "HTTP 429"
"""The detail of an `Unavailable` that Slack surely showed nothing for."""
LONGEST_WAIT = 300.0
"""Seconds that a Retry-After is honoured for. Slack's are a minute at most; a proxy's may be a day, for which nobody
would be told of anything. Asking too early costs one more 429."""
_NOT_SLACKS = "an answer that is not Slack's"
_OK, _REQUEST_TIMEOUT, _TOO_MANY, _SERVER_ERROR = 200, 408, 429, 500
_RATE_LIMITED = {"ratelimited", "rate_limited"}
_TRANSIENT = _RATE_LIMITED | {"internal_error", "fatal_error", "service_unavailable", "request_timeout"}
_QUIET = {"unfurl_links": False, "unfurl_media": False}
log = structlog.get_logger()


class Slack(Protocol):
    """Where messages go. Its calls raise `Unavailable` or `Rejected`."""

    @property
    def channel(self) -> str | None:
        """The channel where a route names none; None: there is only one, without a name."""

    @property
    def limited(self) -> bool:
        """Whether anybody minds how many messages come."""

    async def post(self, channel: str, payload: Payload, thread: str | None) -> str | None:
        """Post; returns where the message is, where Slack says so. ``thread``: where the message to answer is."""

    async def edit(self, payload: Payload, place: str) -> None:
        """Put another text into the message that is there."""


def open_slack(settings: Settings) -> Slack:
    """The destination that the settings name; without any, the log."""
    bot = open_bot(settings)
    if bot is not None:
        return bot
    if settings.slack_webhook_url:
        return _Webhook(settings.slack_webhook_url)
    return _Log()


class _Log:
    """No Slack: the messages are shown in the log."""

    channel = None
    limited = False

    async def post(self, channel: str, payload: Payload, thread: str | None) -> None:  # noqa: ARG002
        log.info("slack_preview", text=readable(payload))

    async def edit(self, payload: Payload, place: str) -> None:
        """Nothing has a place here."""


class _Webhook:
    """An incoming webhook: no threads and no edits, and always the same channel."""

    channel = None
    limited = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._direct = aiohttp.TraceConfig()
        self._direct.on_request_redirect.append(_redirected)

    async def post(self, channel: str, payload: Payload, thread: str | None) -> None:  # noqa: ARG002
        try:
            async with aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT), trace_configs=[self._direct]
            ) as session:
                client = AsyncWebhookClient(self._url, session=session, retry_handlers=[])
                response = await client.send_dict(payload | _QUIET)
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise Unavailable("slack", type(exc).__name__) from exc
        if response.status_code != _OK:
            raise _fault(response.status_code, response.body, response.headers)
        if response.body.lstrip().startswith("<"):
            raise Unavailable("slack", _NOT_SLACKS)

    async def edit(self, payload: Payload, place: str) -> None:
        """Nothing has a place here."""


async def _redirected(_: object, __: object, event: aiohttp.TraceRequestRedirectParams) -> None:
    """Where it leads nobody takes the message: a redirected POST becomes a GET, and a page to log in answers 200."""
    raise aiohttp.TooManyRedirects(event.response.request_info, (event.response,))


class Bot:
    """A bot token: channels, threads and edits."""

    limited = True

    def __init__(self, settings: Settings) -> None:
        self.channel = settings.slack_channel
        self._client = AsyncWebClient(
            settings.slack_bot_token, base_url=settings.slack_api_url, timeout=TIMEOUT, retry_handlers=[]
        )

    async def post(self, channel: str, payload: Payload, thread: str | None) -> str | None:
        """As `Slack.post`."""
        response = await _answered(
            self._client.chat_postMessage(
                channel=channel, thread_ts=thread and thread.rpartition("/")[2], **(payload | _QUIET)
            )
        )
        ts = response.get("ts")
        # Edits take the channel's id, and not its name.
        return None if ts is None else f"{response.get('channel') or channel}/{ts}"

    async def edit(self, payload: Payload, place: str) -> None:
        """As `Slack.edit`."""
        channel, _, ts = place.rpartition("/")
        await _answered(self._client.chat_update(channel=channel, ts=ts, **payload))

    async def open(self, trigger: str, view: dict[str, Any]) -> None:
        """Show a dialog to who just clicked. Raises `Unavailable` or `Rejected`."""
        await _answered(self._client.views_open(trigger_id=trigger, view=view))

    async def whisper(self, channel: str, user: str, text: str) -> None:
        """Say something that one user alone sees. Raises `Unavailable` or `Rejected`."""
        await _answered(self._client.chat_postEphemeral(channel=channel, user=user, text=text))


def open_bot(settings: Settings) -> Bot | None:
    """The bot, where the settings name one."""
    return Bot(settings) if settings.slack_bot_token and settings.slack_channel else None


def signed(secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether Slack signed this request, within the last five minutes."""
    try:
        return SignatureVerifier(secret).is_valid_request(body, dict(headers))
    except (ValueError, TypeError):  # a time that is none, a body or a signature that is no text
        return False


async def _answered(call: Any) -> Any:
    try:
        return await call
    except SlackApiError as exc:
        raise _api_fault(exc.response) from exc
    except (AttributeError, TypeError) as exc:  # the library's own, over a body that is not Slack's JSON
        raise Unavailable("slack", _NOT_SLACKS) from exc
    except (aiohttp.ClientError, OSError, TimeoutError) as exc:
        raise Unavailable("slack", type(exc).__name__) from exc


def _api_fault(response: Any) -> Exception:
    """Over a body that is no JSON the library hands us its HTTP client's response, or text, in place of its own."""
    status: int = getattr(response, "status_code", getattr(response, "status", _SERVER_ERROR))
    data = getattr(response, "data", None)
    said = data.get("error") if isinstance(data, dict) else None
    error = said if isinstance(said, str) else ""
    if status == _OK and not error:
        return Unavailable("slack", _NOT_SLACKS)
    if status == _OK and error not in _TRANSIENT:
        return Rejected(f"Slack refuses: {error}")
    return _fault(_TOO_MANY if error in _RATE_LIMITED else status, error, getattr(response, "headers", None))


def _fault(status: int, body: str | None, headers: Any) -> Exception:
    told = retry_after(headers or {})
    wait = None if told is None else min(told, LONGEST_WAIT)
    if status == _TOO_MANY:
        return Unavailable("slack", LIMITED, wait)
    if status in {_OK, _REQUEST_TIMEOUT} or status >= _SERVER_ERROR:
        return Unavailable("slack", f"HTTP {status}", wait)
    return Rejected(f"Slack refuses: HTTP {status} {(body or '')[:200]}")
