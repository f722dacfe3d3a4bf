"""What must hold of settings beyond each one's own bounds: else they are refused at start, by the variable's name."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.errors import Misconfigured
from pipeline.variables import DAY, PORTS, listed

if TYPE_CHECKING:
    from pipeline.settings import Settings

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^\s/?#@:*A-Z\[\]]+)(:\d{1,5})?")
"""As a browser says it, which is compared letter by letter."""
_PAGE = re.compile(r"https?://[^\s?#]+", re.IGNORECASE)
_SERVER = re.compile(r"https?://(\w|\[[0-9a-f:.]+\])\S*", re.IGNORECASE)
_LOCAL = re.compile(r"localhost([:/]\S*)?", re.IGNORECASE)
"""As Qdrant's client takes it, too."""
_TOPIC = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,249}")
_SEGMENT_DAYS = 8
"""Kafka deletes by whole segments, which fill for a week, and a record's clock may be a day ahead of ours."""


def checked(settings: "Settings", *, told: bool) -> "Settings":
    """The settings, if they hold. ``told``: somebody named RETENTION_DAYS, which gives way else.

    Raises `Misconfigured`, naming the first that does not.
    """
    _check_security(settings)
    _check_secrets(settings)
    _check_origins(settings)
    _check_topics(settings)
    _check_urls(settings)
    if settings.slack_bot_token and not settings.slack_channel:
        raise Misconfigured("SLACK_CHANNEL", "is not set, but SLACK_BOT_TOKEN is", "name the channel to post to")
    return _retained(settings, told=told)


def _check_security(settings: "Settings") -> None:
    """What is half said of Kafka's security is refused: it would be left out in silence."""
    if settings.kafka_security not in _PROTOCOLS:
        raise Misconfigured("KAFKA_SECURITY_PROTOCOL", f"{settings.kafka_security!r} is not {_either(_PROTOCOLS)}")
    if settings.kafka_sasl_mechanism not in _MECHANISMS:
        raise Misconfigured("KAFKA_SASL_MECHANISM", f"{settings.kafka_sasl_mechanism!r} is not {_either(_MECHANISMS)}")
    for variable, value in (
        ("KAFKA_SASL_USERNAME", settings.kafka_sasl_username), ("KAFKA_SASL_PASSWORD", settings.kafka_sasl_password)
    ):  # fmt: skip
        if settings.kafka_uses_sasl and not value:
            raise Misconfigured(variable, f"is not set, but KAFKA_SECURITY_PROTOCOL is {settings.kafka_security}")
        if value and not settings.kafka_uses_sasl:
            raise Misconfigured("KAFKA_SECURITY_PROTOCOL", f"is {settings.kafka_security}, but {variable} is set",
                                "SASL_SSL or SASL_PLAINTEXT")  # fmt: skip
    if bool(settings.kafka_ssl_cert) != bool(settings.kafka_ssl_key):
        raise Misconfigured("KAFKA_SSL_KEY", "and KAFKA_SSL_CERT go together", "set both")
    for variable, path in (
        ("KAFKA_SSL_CA", settings.kafka_ssl_ca), ("KAFKA_SSL_CERT", settings.kafka_ssl_cert),
        ("KAFKA_SSL_KEY", settings.kafka_ssl_key),
    ):  # fmt: skip
        if path and not settings.kafka_uses_tls:
            raise Misconfigured("KAFKA_SECURITY_PROTOCOL", f"is {settings.kafka_security}, but {variable} is set",
                                "SSL or SASL_SSL")  # fmt: skip
        if path and not path.is_file():
            raise Misconfigured(variable, f"there is no file {path}")


def _check_secrets(settings: "Settings") -> None:
    """Commas alone are no secret: nothing could be signed with them, or shown."""
    for variable, value in (
        ("API_TOKEN", settings.api_token),
        ("PAGERDUTY_WEBHOOK_SECRET", settings.pagerduty_webhook_secret),
        ("SENTRY_CLIENT_SECRET", settings.sentry_client_secret),
    ):  # fmt: skip
        if value and not listed(value):
            raise Misconfigured(variable, "names nothing between its commas")


def _check_topics(settings: "Settings") -> None:
    """Of two topics with one name, what is written to the one is read from the other: a dead letter, for ever."""
    known: dict[str, str] = {}
    for topic, variable in settings.topics:
        if _TOPIC.fullmatch(topic) is None:
            raise Misconfigured(variable, f"{topic!r} is no name that Kafka takes", "1 to 249 of a-z, A-Z, 0-9, . _ -")
        if topic in known:
            raise Misconfigured(variable, f"is {topic!r}, and {known[topic]} is, too", "each topic has its own name")
        known[topic] = variable


def _check_urls(settings: "Settings") -> None:
    """What no client can call would be found out at the first call, and as an outage."""
    if settings.page_url and _PAGE.fullmatch(settings.page_url) is None:
        raise Misconfigured("PAGE_URL", "is no URL of a page", "https://HOST/, without ? or #")
    qdrant = settings.qdrant_url or ""
    for variable, whose, url in (
        ("QDRANT_URL", "", f"http://{qdrant}" if _LOCAL.fullmatch(qdrant) else qdrant),
        ("LLM_API_BASE", "", settings.llm_api_base),
        *(("LLM_FALLBACK_MODELS", f"{name!r}: its server ", server) for name, server in settings.llm_fallbacks),
        ("SLACK_WEBHOOK_URL", "", settings.slack_webhook_url),
        ("SLACK_API_URL", "", settings.slack_api_url),
        ("PAGE_URL", "", settings.page_url),
    ):  # fmt: skip
        fault = _fault_of(url) if url else None
        if fault:
            raise Misconfigured(variable, f"{whose}{fault}", "http://HOST:PORT, or https://HOST")


def _fault_of(url: str) -> str | None:
    """Why there can be no such server. What the URL says is not repeated: it may hold a password."""
    if _SERVER.fullmatch(url) is None:
        return "is no URL"
    return None if _has_port(url) else f"has a port that is not from 1 to {PORTS}"


def _has_port(url: str) -> bool:
    """Whether its port can be; one that is not named can."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _check_origins(settings: "Settings") -> None:
    """What no browser says would never be allowed, and nobody would know why."""
    for origin in sorted(settings.origins):
        if _ORIGIN.fullmatch(origin) is None or not _has_port(origin):
            raise Misconfigured("ALLOW_ORIGINS", f"{origin!r} is no origin as browsers say it",
                                "https://HOST or https://HOST:PORT in small letters, without a path or *")  # fmt: skip


def _retained(settings: "Settings", *, told: bool) -> "Settings":
    """What Kafka may deliver again must be known: forgotten, it would be counted and decided a second time.

    A retention that is too short for that is refused; one that nobody ``told`` gives way, and all is kept.
    """
    days = settings.retention_days
    least = {
        "TOPIC_RETENTION_HOURS and a segment": settings.topic_retention / 24 + _SEGMENT_DAYS,
        "EPISODE_QUIET_SECONDS": settings.episode_quiet_seconds / DAY,
        "EPISODE_REOPEN_SECONDS": settings.episode_reopen_seconds / DAY,
    }
    what = max(least, key=lambda name: least[name])
    if not days or (settings.topic_retention >= 0 and days >= least[what]):
        return settings
    if not told:
        return replace(settings, retention_days=0.0)
    if settings.topic_retention < 0:
        raise Misconfigured("RETENTION_DAYS", f"is {days:g}, but TOPIC_RETENTION_HOURS is -1: Kafka forgets nothing",
                            "0, or how long the topics keep a record")  # fmt: skip
    raise Misconfigured("RETENTION_DAYS", f"{days:g} is shorter than {what}: {least[what]:g} days",
                        "more, or 0: for ever")  # fmt: skip


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
