"""The only reader of the environment: read once, cast or fail naming the variable, passed on as a value."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipeline.checks import checked
from pipeline.errors import Misconfigured
from pipeline.variables import PORTS, cast_to, listed, setting

_AT = re.compile(r"(.*?)@(\w+://.*|[^@/]+:\d+(?:/.*)?)")
"""A model's name and the URL of its server, or what is meant for one: an @ alone may be part of a name."""
_SHIPPED = Path(__file__).parent.parent
"""The folder of ``deploy``: a file that nobody named is the one that came with the program, wherever it is called."""
_NEARLY = 0.88
"""Of difflib: KAFKA_SASL_USER is nearly KAFKA_SASL_USERNAME, while POSTGRES_HOST is not POSTGRES_PORT."""

ROLES = ("worker", "relay", "slack", "gateway")
"""What a process of ours can be; `pulseguard up` is all of them."""


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
    kafka_port: int = setting("KAFKA_PORT", 9092, "the embedded broker's port", minimum=1, maximum=PORTS)
    http_port: int = setting("HTTP_PORT", 8000, "the gateway's port", minimum=1, maximum=PORTS)
    relay_port: int = setting("RELAY_PORT", 8765, "the relay's port", minimum=1, maximum=PORTS)
    postgres_port: int = setting("POSTGRES_PORT", 5433, "the embedded PostgreSQL's port", minimum=1, maximum=PORTS)
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
        "METRICS_PORT", 0, "/metrics and /healthz of a process that is no gateway; 0: none", minimum=0, maximum=PORTS
    )
    log_level: str = setting("LOG_LEVEL", "info", "debug, info, warning or error")

    @property
    def kafka_uses_sasl(self) -> bool:
        """Whether we say who we are."""
        return self.kafka_security.startswith("SASL_")

    @property
    def llm_fallbacks(self) -> list[tuple[str, str | None]]:
        """Each model of LLM_FALLBACK_MODELS, and the URL of its server where it names one."""
        entries = ((entry, _AT.fullmatch(entry)) for entry in listed(self.llm_fallback_models))
        return [(at[1], at[2]) if at else (entry, None) for entry, at in entries]

    @property
    def topics(self) -> list[tuple[str, str]]:
        """Each topic's name, and the variable that sets it."""
        return [
            (getattr(self, item.name), item.metadata["variable"])
            for item in fields(self)
            if item.name.startswith("topic_") and item.metadata["cast"] is str
        ]

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
            values[item.name] = cast_to(variable, raw, item.metadata["cast"], *item.metadata["bounds"])
        elif isinstance(item.default, Path) and item.default.is_relative_to("deploy"):
            values[item.name] = _SHIPPED / item.default
    return checked(Settings(**values), told="retention_days" in values)


def misspelt(environ: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Variables that are no setting, each with the setting whose name is nearly theirs: nobody reads them."""
    known = [item.metadata["variable"] for item in fields(Settings) if item.metadata]
    strange = sorted({*(os.environ if environ is None else environ)} - {*known})
    near = ((name, get_close_matches(name, known, n=1, cutoff=_NEARLY)) for name in strange)
    return [(name, meant[0]) for name, meant in near if meant]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def idle(settings: Settings) -> str:
    """Why nothing stands in for what is not named: seldom that none runs, often that it runs on another home."""
    return f"no `pulseguard up` runs on PULSEGUARD_HOME={settings.home.absolute()}"


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
