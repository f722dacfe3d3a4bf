"""The only reader of the environment: read once, cast or fail naming the variable, passed on as a value."""

import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pipeline.errors import Misconfigured

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^\s/?#@:*A-Z\[\]]+)(:\d{1,5})?")
"""As a browser says it, which is compared letter by letter."""
_PAGE = re.compile(r"https?://[^\s?#]+", re.IGNORECASE)
_URL = re.compile(r"https?://[\w\[]|localhost([:/]|$)", re.IGNORECASE)
_TOPIC = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,249}")
_PORTS = 65_535
_DAY = 86_400
_CENTURY = {"DAYS": 36_500, "HOURS": 36_500 * 24, "SECONDS": 36_500 * _DAY, "TIMEOUT": 36_500 * _DAY}
"""By the end of a variable's name, where no maximum is told: what is longer overflows a date or a timer."""
_SEGMENT_DAYS = 8
"""Kafka deletes by whole segments, which fill for a week, and a record's clock may be a day ahead of ours."""

_SHIPPED = Path(__file__).parent.parent
"""The folder of ``deploy``: a file that nobody named is the one that came with the program, wherever it is called."""

ROLES = ("worker", "relay", "slack", "gateway")
"""What a process of ours can be; `pulseguard up` is all of them."""


def setting(
    variable: str, default: Any, doc: str, *, secret: bool = False, minimum: float | None = None,
    maximum: float | None = None, cast: type | None = None,
) -> Any:  # fmt: skip
    """A field of `Settings` that is read from ``variable``, as the type of its default unless ``cast`` names one."""
    cast = cast or (str if default is None else type(default))
    if maximum is None:
        maximum = _CENTURY.get(variable.rpartition("_")[2])
    metadata = {"variable": variable, "doc": doc, "secret": secret, "bounds": (minimum, maximum), "cast": cast}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, with its default. The README's table is this class; a test keeps them equal."""

    home: Path = setting("PULSEGUARD_HOME", Path(".pulseguard"), "where embedded parts keep their data")
    kafka: str | None = setting("KAFKA_BOOTSTRAP_SERVERS", None, "Kafka; none: the embedded broker", secret=False)
    kafka_security: str = setting("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
    kafka_sasl_mechanism: str = setting(
        "KAFKA_SASL_MECHANISM", "SCRAM-SHA-512", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
    )
    kafka_sasl_username: str | None = setting("KAFKA_SASL_USERNAME", None, "who we are to Kafka, with SASL")
    kafka_sasl_password: str | None = setting("KAFKA_SASL_PASSWORD", None, "the password, with SASL", secret=True)
    kafka_ssl_ca: Path | None = setting(
        "KAFKA_SSL_CA", None, "file of the certificates to trust; none: the system's", cast=Path
    )
    kafka_ssl_cert: Path | None = setting(
        "KAFKA_SSL_CERT", None, "our certificate, where Kafka asks for one, with KAFKA_SSL_KEY", cast=Path
    )
    kafka_ssl_key: Path | None = setting("KAFKA_SSL_KEY", None, "the file of its key", cast=Path)
    database_url: str | None = setting("DATABASE_URL", None, "PostgreSQL; none: the embedded one", secret=True)
    qdrant_url: str | None = setting("QDRANT_URL", None, "Qdrant; none: its engine in-process")
    qdrant_api_key: str | None = setting("QDRANT_API_KEY", None, "Qdrant's key", secret=True)
    embedding_model: str | None = setting(
        "EMBEDDING_MODEL", None, "a fastembed name or a folder; none: the MiniLM that a package ships"
    )
    llm_model: str | None = setting("LLM_MODEL", None, "any litellm name; none: the nearest-incident rule decides")
    llm_api_base: str | None = setting("LLM_API_BASE", None, "the model server's base URL")
    llm_fallback_models: str = setting(
        "LLM_FALLBACK_MODELS", "", "asked where the first fails, comma-separated; NAME@URL for one at another server"
    )
    openai_api_key: str | None = setting("OPENAI_API_KEY", None, "for openai/ models; others: see litellm", secret=True)
    llm_in_flight: int = setting("LLM_IN_FLIGHT", 64, "decisions in flight per worker", minimum=1)
    llm_timeout: float = setting("LLM_TIMEOUT", 15.0, "seconds for all model calls of one decision", minimum=0.1)
    llm_requests_per_minute: int = setting(
        "LLM_REQUESTS_PER_MINUTE", 20_000, "model calls per worker; 0: without limit", minimum=0
    )
    llm_tokens_per_minute: int = setting(
        "LLM_TOKENS_PER_MINUTE", 40_000_000, "tokens per worker, asked and answered; 0: without limit", minimum=0
    )
    llm_daily_usd: float = setting(
        "LLM_DAILY_USD", 25.0, "what all workers may spend on a day (UTC); 0: without limit", minimum=0
    )
    llm_input_usd: float = setting(
        "LLM_INPUT_USD", 0.0, "price of a million tokens asked; 0: as litellm knows it", minimum=0
    )
    llm_output_usd: float = setting("LLM_OUTPUT_USD", 0.0, "likewise, of a million tokens answered", minimum=0)
    llm_breaker_failures: int = setting(
        "LLM_BREAKER_FAILURES", 5, "calls failed in a row after which a model is left alone; 0: never", minimum=0
    )
    llm_breaker_seconds: float = setting("LLM_BREAKER_SECONDS", 30.0, "for how long", minimum=0.1)
    llm_cache_seconds: float = setting(
        "LLM_CACHE_SECONDS", 300.0, "for how long an equal question is not asked again; 0: it is", minimum=0
    )
    redact: bool = setting(
        "REDACT", default=True, doc="hide secrets and personal data from the model (yes), or trust it with them (no)"
    )
    slack_webhook_url: str | None = setting("SLACK_WEBHOOK_URL", None, "Slack incoming webhook", secret=True)
    slack_bot_token: str | None = setting("SLACK_BOT_TOKEN", None, "Slack bot token, with SLACK_CHANNEL", secret=True)
    slack_channel: str | None = setting("SLACK_CHANNEL", None, "the channel a bot token posts to")
    slack_signing_secret: str | None = setting(
        "SLACK_SIGNING_SECRET", None, "with a bot token: buttons for verdicts, and who may call them", secret=True
    )
    page_url: str | None = setting(
        "PAGE_URL", None, "where people reach the page, for Slack's link to it; none: no link"
    )
    pagerduty_webhook_secret: str | None = setting(
        "PAGERDUTY_WEBHOOK_SECRET", None, "PagerDuty signs with it, or several, comma-separated; none: not asked",
        secret=True,
    )  # fmt: skip
    sentry_client_secret: str | None = setting(
        "SENTRY_CLIENT_SECRET", None, "likewise, of a Sentry integration", secret=True
    )
    slack_api_url: str = setting("SLACK_API_URL", "https://slack.com/api/", "Slack's Web API, for a proxy")
    kafka_port: int = setting("KAFKA_PORT", 9092, "the embedded broker's port", minimum=1, maximum=_PORTS)
    http_port: int = setting("HTTP_PORT", 8000, "the gateway's port", minimum=1, maximum=_PORTS)
    relay_port: int = setting("RELAY_PORT", 8765, "the relay's port", minimum=1, maximum=_PORTS)
    postgres_port: int = setting("POSTGRES_PORT", 5433, "the embedded PostgreSQL's port", minimum=1, maximum=_PORTS)
    host: str = setting("PULSEGUARD_HOST", "127.0.0.1", "the address that gateway and relay listen on")
    topic_anomalies: str = setting("TOPIC_ANOMALIES", "anomalies", "where producers publish")
    topic_enriched: str = setting("TOPIC_ENRICHED", "anomalies.enriched", "anomalies that ask for a decision")
    topic_decisions: str = setting("TOPIC_DECISIONS", "decisions", "where decisions appear")
    topic_dlq: str = setting("TOPIC_DLQ", "anomalies.dlq", "dead letters")
    topic_incidents: str = setting("TOPIC_INCIDENTS", "incidents", "knowledge, by incident id")
    topic_feedback: str = setting("TOPIC_FEEDBACK", "feedback", "verdicts on decisions")
    topic_partitions: int = setting("TOPIC_PARTITIONS", 4, "partitions of the topics made at start", minimum=1)
    topic_replication: int = setting(
        "TOPIC_REPLICATION", -1, "replicas of the topics made at start; -1: as the brokers are set", minimum=-1
    )
    topic_retention: float = setting(
        "TOPIC_RETENTION_HOURS", 168.0, "how long the topics made at start keep a record; -1: for ever", minimum=-1
    )
    topic_dlq_retention: float = setting("TOPIC_DLQ_RETENTION_HOURS", 720.0, "likewise, for dead letters", minimum=-1)
    topic_create: bool = setting(
        "TOPIC_CREATE", default=True, doc="at start, create topics that are missing (yes), or refuse to start (no)"
    )
    max_event_bytes: int = setting("MAX_EVENT_BYTES", 262144, "larger anomalies are dead letters", minimum=1024)
    episode_quiet_seconds: float = setting(
        "EPISODE_QUIET_SECONDS", 900.0, "an anomaly after this much quiet opens a new episode", minimum=1
    )
    episode_reopen_seconds: float = setting(
        "EPISODE_REOPEN_SECONDS", 600.0, "firing again so soon after `resolved` reopens the episode", minimum=0
    )
    episode_revisions: int = setting(
        "EPISODE_REVISIONS", 10, "the most decisions, and so model calls, that one episode asks for", minimum=1
    )
    fingerprints_file: Path = setting(
        "FINGERPRINTS_FILE", Path("deploy/fingerprints.yaml"), "what makes two anomalies the same fault"
    )
    situation_gap_seconds: float = setting(
        "SITUATION_GAP_SECONDS", 300.0, "episodes that begin so near to each other may be one situation; 0: never",
        minimum=0,
    )  # fmt: skip
    routes_file: Path = setting("ROUTES_FILE", Path("deploy/routes.yaml"), "who is told what, where and how fast")
    topology_file: Path = setting("TOPOLOGY_FILE", Path("deploy/topology.yaml"), "which service depends on which")
    provenance_days: float = setting(
        "PROVENANCE_DAYS", 90.0, "how long a decision's prompt and raw answers are kept; 0: for ever", minimum=0
    )
    retention_days: float = setting(
        "RETENTION_DAYS", 90.0,
        "how long an episode is kept after its end, with its anomalies and decisions; 0: for ever", minimum=0,
    )  # fmt: skip
    shadow: bool = setting("SHADOW", default=False, doc="on trial: decide, record and publish, but notify nobody")
    min_confidence: float = setting(
        "MIN_CONFIDENCE", 0.5, "confidence, 0 to 1, below which a human is asked", minimum=0, maximum=1
    )
    learn_from_feedback: bool = setting(
        "LEARN_FROM_FEEDBACK", default=True, doc="a verdict that says what was done and how it went becomes an incident"
    )
    learn_approval: bool = setting(
        "LEARN_APPROVAL", default=False, doc="what verdicts teach waits until a human approves"
    )
    actions_file: Path = setting("ACTIONS_FILE", Path("deploy/actions.yaml"), "the action catalogue")
    calibration_file: str | None = setting("CALIBRATION_FILE", None, "of `pulseguard calibrate`; none: the shipped one")
    allow_origins: str = setting("ALLOW_ORIGINS", "", "more browser origins for relay and API, comma-separated")
    api_token: str | None = setting(
        "API_TOKEN", None, "a token that HTTP clients must show, or several, comma-separated; none: not asked",
        secret=True,
    )  # fmt: skip
    relay_token: str | None = setting("RELAY_TOKEN", None, "a token that relay clients must show", secret=True)
    kafka_session: float = setting("KAFKA_SESSION_SECONDS", 30.0, "a silent worker's partitions move on", minimum=1)
    kafka_is_embedded: bool = field(default=False, metadata={})
    metrics_port: int = setting(
        "METRICS_PORT", 0, "/metrics and /healthz of a process that is no gateway; 0: none", minimum=0, maximum=_PORTS
    )
    log_level: str = setting("LOG_LEVEL", "info", "debug, info, warning or error")

    @property
    def kafka_uses_sasl(self) -> bool:
        """Whether we say who we are."""
        return self.kafka_security.startswith("SASL_")

    @property
    def origins(self) -> set[str]:
        """The browser origins of ALLOW_ORIGINS."""
        return set(listed(self.allow_origins))

    @property
    def host_in_url(self) -> str:
        """PULSEGUARD_HOST as it stands before a port: an address of IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def api_is_open(self) -> bool:
        """Whether others than this machine's programs may use the API and need show nothing for it."""
        return self.api_token is None and not _is_loopback(self.host)

    @property
    def kafka_uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.kafka_security.endswith("SSL")


def listed(text: str) -> list[str]:
    """What stands between commas. Nothing is no element: as a secret it would be everybody's."""
    return [part for part in map(str.strip, text.split(",")) if part]


def read(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this environment. Raises `Misconfigured` naming the first variable that does not parse."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for item in fields(Settings):
        if not item.metadata:
            continue
        variable = item.metadata["variable"]
        raw = environ.get(variable, "").strip()
        if raw:
            values[item.name] = _cast(variable, raw, item.metadata["cast"], *item.metadata["bounds"])
        elif isinstance(item.default, Path) and item.default.is_relative_to("deploy"):
            values[item.name] = _SHIPPED / item.default
    settings = Settings(**values)
    _check_security(settings)
    _check_secrets(settings)
    _check_origins(settings)
    _check_topics(settings)
    settings = _retained(settings, told="retention_days" in values)
    for variable, value in (("QDRANT_URL", settings.qdrant_url), ("LLM_API_BASE", settings.llm_api_base)):
        if value and _URL.match(value) is None:
            raise Misconfigured(variable, "is no URL", "http://HOST:PORT, or https://HOST")
    if settings.page_url and _PAGE.fullmatch(settings.page_url) is None:
        raise Misconfigured("PAGE_URL", "is no URL of a page", "https://HOST/, without ? or #")
    if settings.slack_bot_token and not settings.slack_channel:
        raise Misconfigured("SLACK_CHANNEL", "is not set, but SLACK_BOT_TOKEN is", "name the channel to post to")
    return settings


def _cast(variable: str, raw: str, cast: type, minimum: float | None, maximum: float | None) -> Any:
    if cast is bool:
        if raw.lower() not in _WORDS:
            raise Misconfigured(variable, f"{raw!r} is neither yes nor no")
        return _WORDS[raw.lower()]
    try:
        value = Path(raw).expanduser() if cast is Path else cast(raw)
    except ValueError:
        raise Misconfigured(variable, f"{raw!r} is no {'whole ' if cast is int else ''}number") from None
    if minimum is not None and isinstance(value, int | float):
        fault = _out_of_bounds(value, minimum, maximum)
        if fault:
            raise Misconfigured(variable, f"{raw} {fault}")
    return value


def _out_of_bounds(value: float, minimum: float, maximum: float | None) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "is not finite"
    if maximum is not None and not minimum <= value <= maximum:
        return f"is not from {minimum} to {maximum}"
    return f"is below {minimum}" if value < minimum else None


def _check_security(settings: Settings) -> None:
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


def _check_secrets(settings: Settings) -> None:
    """Commas alone are no secret: nothing could be signed with them, or shown."""
    for variable, value in (
        ("API_TOKEN", settings.api_token),
        ("PAGERDUTY_WEBHOOK_SECRET", settings.pagerduty_webhook_secret),
        ("SENTRY_CLIENT_SECRET", settings.sentry_client_secret),
    ):  # fmt: skip
        if value and not listed(value):
            raise Misconfigured(variable, "names nothing between its commas")


def _check_topics(settings: Settings) -> None:
    """Of two topics with one name, what is written to the one is read from the other: a dead letter, for ever."""
    known: dict[str, str] = {}
    for topic, variable in topic_variables(settings):
        if _TOPIC.fullmatch(topic) is None:
            raise Misconfigured(variable, f"{topic!r} is no name that Kafka takes", "1 to 249 of a-z, A-Z, 0-9, . _ -")
        if topic in known:
            raise Misconfigured(variable, f"is {topic!r}, and {known[topic]} is, too", "each topic has its own name")
        known[topic] = variable


def _check_origins(settings: Settings) -> None:
    """What no browser says would never be allowed, and nobody would know why."""
    for origin in sorted(settings.origins):
        if _ORIGIN.fullmatch(origin) is None:
            raise Misconfigured("ALLOW_ORIGINS", f"{origin!r} is no origin as browsers say it",
                                "https://HOST or https://HOST:PORT in small letters, without a path or *")  # fmt: skip


def _retained(settings: Settings, *, told: bool) -> Settings:
    """What Kafka may deliver again must be known: forgotten, it would be counted and decided a second time.

    A retention that is too short for that is refused; one that nobody ``told`` gives way, and all is kept.
    """
    days = settings.retention_days
    least = {
        "TOPIC_RETENTION_HOURS and a segment": settings.topic_retention / 24 + _SEGMENT_DAYS,
        "EPISODE_QUIET_SECONDS": settings.episode_quiet_seconds / _DAY,
        "EPISODE_REOPEN_SECONDS": settings.episode_reopen_seconds / _DAY,
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def idle(settings: Settings) -> str:
    """Why nothing stands in for what is not named: seldom that none runs, often that it runs on another home."""
    return f"no `pulseguard up` runs on PULSEGUARD_HOME={settings.home.absolute()}"


def topic_variables(settings: Settings) -> list[tuple[str, str]]:
    """Each topic's name, and the variable that sets it."""
    return [
        (getattr(settings, item.name), item.metadata["variable"])
        for item in fields(settings)
        if item.name.startswith("topic_") and item.metadata["cast"] is str
    ]


def required_kafka(settings: Settings) -> Settings:
    """The settings, if they name Kafka. Raises `Misconfigured`."""
    if settings.kafka is None:
        raise Misconfigured("KAFKA_BOOTSTRAP_SERVERS", f"is not set, and {idle(settings)}", "name your Kafka")
    return settings


def required_database(settings: Settings) -> Settings:
    """The settings, if they name PostgreSQL. Raises `Misconfigured`."""
    if settings.database_url is None:
        raise Misconfigured("DATABASE_URL", f"is not set, and {idle(settings)}", "name your PostgreSQL")
    return settings


def required(settings: Settings) -> Settings:
    """The settings, if they name what a part of a fleet needs. Raises `Misconfigured`."""
    return required_database(required_kafka(settings))
