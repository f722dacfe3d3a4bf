"""A wrong value of the environment is refused by its variable's name, with one reason that is true."""

from pathlib import Path

import pytest

from pipeline.errors import Misconfigured
from pipeline.settings import misspelt, read
from pipeline.stages.record import open_record
from pipeline.variables import setting

NO_URL = "is no URL (http://HOST:PORT, or https://HOST)"
NO_PORT = "has a port that is not from 1 to 65535 (http://HOST:PORT, or https://HOST)"
WRONG = {
    ("MIN_CONFIDENCE", "2"): "2 is not from 0 to 1",
    ("MIN_CONFIDENCE", "-0.1"): "-0.1 is not from 0 to 1",
    ("MIN_CONFIDENCE", "nan"): "nan is not finite",
    ("MIN_CONFIDENCE", "half"): "'half' is no number",
    ("KAFKA_PORT", "99999"): "99999 is not from 1 to 65535",
    ("HTTP_PORT", "65536"): "65536 is not from 1 to 65535",
    ("RELAY_PORT", "0"): "0 is not from 1 to 65535",
    ("POSTGRES_PORT", "-1"): "-1 is not from 1 to 65535",
    ("METRICS_PORT", "99999"): "99999 is not from 0 to 65535",
    ("HTTP_PORT", "abc"): "'abc' is no whole number",
    ("LLM_IN_FLIGHT", "-1"): "-1 is below 1",
    ("LLM_IN_FLIGHT", "0.5"): "'0.5' is no whole number",
    ("LLM_TIMEOUT", "inf"): "inf is not finite",
    ("REDACT", "perhaps"): "'perhaps' is neither yes nor no",
    ("API_TOKEN", ","): "names nothing between its commas",
    ("PAGERDUTY_WEBHOOK_SECRET", ","): "names nothing between its commas",
    ("EPISODE_QUIET_SECONDS", "1e18"): "1e18 is not from 1 to 3153600000",
    ("LLM_TIMEOUT", "1e308"): "1e308 is not from 0.1 to 3153600000",
    ("PROVENANCE_DAYS", "1e12"): "1e12 is not from 0 to 36500",
    ("RETENTION_DAYS", "36501"): "36501 is not from 0 to 36500",
    ("TOPIC_RETENTION_HOURS", "1e18"): "1e18 is not from -1 to 876000",
    ("TOPIC_DLQ", "anomalies"): "is 'anomalies', and TOPIC_ANOMALIES is, too (each topic has its own name)",
    ("TOPIC_FEEDBACK", "decisions"): "is 'decisions', and TOPIC_DECISIONS is, too (each topic has its own name)",
    ("TOPIC_DECISIONS", "a/b"): "'a/b' is no name that Kafka takes (1 to 249 of a-z, A-Z, 0-9, . _ -)",
    ("TOPIC_DECISIONS", ".."): "'..' is no name that Kafka takes (1 to 249 of a-z, A-Z, 0-9, . _ -)",
    ("SENTRY_CLIENT_SECRET", " , "): "names nothing between its commas",
    ("PAGE_URL", "pg.example"): "is no URL of a page (https://HOST/, without ? or #)",
    ("PAGE_URL", "https://pg.example/?a=b"): "is no URL of a page (https://HOST/, without ? or #)",
    ("PAGE_URL", "javascript:alert(1)"): "is no URL of a page (https://HOST/, without ? or #)",
    ("QDRANT_URL", "foo"): NO_URL,
    ("QDRANT_URL", "qdrant:6333"): NO_URL,
    ("QDRANT_URL", "http://"): NO_URL,
    ("LLM_API_BASE", "127.0.0.1:11434"): NO_URL,
    ("LLM_API_BASE", "localhost:11434"): NO_URL,
    ("LLM_API_BASE", "http://[::1/v1"): NO_URL,
    ("LLM_API_BASE", "http://a b/v1"): NO_URL,
    ("SLACK_WEBHOOK_URL", "hooks.slack.com/x"): NO_URL,
    ("SLACK_WEBHOOK_URL", "ftp://hooks.slack.com/x"): NO_URL,
    ("SLACK_API_URL", "slack.com/api/"): NO_URL,
    ("LLM_FALLBACK_MODELS", "openai/a, openai/b@ftp://h"): f"'openai/b': its server {NO_URL}",
    ("LLM_FALLBACK_MODELS", "openai/b@10.0.0.1:8000/v1"): f"'openai/b': its server {NO_URL}",
    ("LLM_FALLBACK_MODELS", "openai/b@http://h:99999,openai/a"): f"'openai/b': its server {NO_PORT}",
    **{
        (variable, url): NO_PORT
        for variable in ("LLM_API_BASE", "QDRANT_URL", "SLACK_WEBHOOK_URL", "SLACK_API_URL", "PAGE_URL")
        for url in ("http://h:65536", "http://ada:pa@h:0/x", "https://[::1]:-1", "http://h:x/y")
    },
    ("QDRANT_URL", "localhost:99999"): NO_PORT,
}


@pytest.mark.parametrize(
    "origin",
    ["*", "https://*.ours.example", "null", "ours.example", "https://ours.example/", "https://ours.example/page",
     "https://Ours.example", "https://", "https://x@ours.example", "https://ours.example:", "https://ours.example:https",
     "https://ours.example:99999", "https://[::::1]"],
)  # fmt: skip
def test_what_no_browser_calls_an_origin_is_refused(origin: str):
    """It would match nothing, or, with a star where one is understood, everybody."""
    with pytest.raises(Misconfigured, match=r"^ALLOW_ORIGINS: .* is no origin .*https://HOST:PORT"):
        read({"ALLOW_ORIGINS": f"https://ours.example,{origin}"})


def test_what_browsers_call_an_origin_is_taken():
    told = ["https://ours.example", "http://127.0.0.1:8000", "http://[::1]:8000", "https://x-1.ours_2.example:8443",
            "chrome-extension://abcdefgh"]  # fmt: skip
    assert read({"ALLOW_ORIGINS": " , ".join(told) + ","}).origins == set(told)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"), ("LLM_TIMOUT", "LLM_TIMEOUT"),
        ("KAFKA_SASL_USER", "KAFKA_SASL_USERNAME"), ("DATABASE_URI", "DATABASE_URL"), ("LLM_MODEL", None),
        ("POSTGRES_HOST", None), ("ANTHROPIC_API_KEY", None), ("GEMINI_API_KEY", None), ("KAFKA_PORT_9092_TCP", None),
        ("HTTPS_PROXY", None), ("HOME", None),
    ],
)  # fmt: skip
def test_a_name_that_is_nearly_a_settings_is_told_with_it(name: str, meant: str | None):
    """Nobody reads it: `up` would embed a broker in place of the Kafka that was meant."""
    assert misspelt({name: "x"}) == ([(name, meant)] if meant else [])


@pytest.mark.parametrize(("variable", "value"), WRONG, ids="=".join)
def test_a_wrong_value_is_refused(variable: str, value: str):
    with pytest.raises(Misconfigured) as caught:
        read({variable: value})
    assert str(caught.value) == f"{variable}: {WRONG[variable, value]}"


@pytest.mark.parametrize(("told", "most"), [(60, 60), (None, 36_500 * 86_400)])
def test_a_maximum_that_is_told_counts(told: float | None, most: float):
    """By its name a setting has one only where it is told none."""
    assert setting("A_SECONDS", 1.0, "", minimum=0, maximum=told).metadata["bounds"] == (0, most)


@pytest.mark.parametrize("url", ["http://h:6333", "HTTPS://h.example/q", "http://[::1]:6333", "localhost:6333"])
def test_a_url_is_taken(url: str):
    """The last as Qdrant's client takes it."""
    assert read({"QDRANT_URL": url}).qdrant_url == url


def test_an_at_may_be_part_of_a_models_name():
    """What follows it is a server where it looks like one; commas alone are no model."""
    told = "vertex_ai/claude-3@20240620, cloudflare/@cf/meta/llama,,vertex_ai/a@1@https://ada:pa@h.example/v1"
    assert read({"LLM_FALLBACK_MODELS": told}).llm_fallbacks == [
        ("vertex_ai/claude-3@20240620", None), ("cloudflare/@cf/meta/llama", None),
        ("vertex_ai/a@1", "https://ada:pa@h.example/v1"),
    ]  # fmt: skip


def test_the_bounds_themselves_are_allowed():
    assert [read({"MIN_CONFIDENCE": value}).min_confidence for value in ("0", "1")] == [0, 1]
    assert (read({"HTTP_PORT": "65535"}).http_port, read({"METRICS_PORT": "0"}).metrics_port) == (65535, 0)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"RETENTION_DAYS": "14"}, "14 is shorter than TOPIC_RETENTION_HOURS and a segment: 15 days"),
        (
            {"RETENTION_DAYS": "90", "TOPIC_RETENTION_HOURS": "2160"},
            "90 is shorter than TOPIC_RETENTION_HOURS and a segment: 98 days",
        ),
        (
            {"RETENTION_DAYS": "90", "TOPIC_RETENTION_HOURS": "-1"},
            "is 90, but TOPIC_RETENTION_HOURS is -1: Kafka forgets nothing",
        ),
        (
            {"RETENTION_DAYS": "90", "EPISODE_REOPEN_SECONDS": "8640000"},
            "90 is shorter than EPISODE_REOPEN_SECONDS: 100 days",
        ),
        (
            {"RETENTION_DAYS": "90", "EPISODE_QUIET_SECONDS": "8640000"},
            "90 is shorter than EPISODE_QUIET_SECONDS: 100 days",
        ),
    ],
)
def test_what_kafka_may_deliver_again_is_not_forgotten(given: dict[str, str], fault: str):
    """A retention that is too short is refused; for ever never is. One that nobody named gives way."""
    with pytest.raises(Misconfigured) as caught:
        read(given)
    assert (caught.value.variable, caught.value.detail) == ("RETENTION_DAYS", fault)
    assert read(given | {"RETENTION_DAYS": "0"}).retention_days == 0
    if given != {"RETENTION_DAYS": "14"}:
        assert read(given | {"RETENTION_DAYS": ""}).retention_days == 0


def test_the_shortest_retention():
    assert read({"RETENTION_DAYS": "15"}).retention_days == 15


def test_the_files_that_came_with_the_program_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nobody named one, so it is not looked for where the command happens to be typed; one that is named is."""
    monkeypatch.chdir(tmp_path)
    settings = read({})
    for path in (settings.actions_file, settings.fingerprints_file, settings.routes_file, settings.topology_file):
        assert path.is_file()
    assert read({"ACTIONS_FILE": "mine.yaml"}).actions_file == Path("mine.yaml")


@pytest.mark.parametrize(
    "url",
    [
        "foo",
        "mysql://h/x",
        "postgresql://ada:pa/ss@h/x",
        "postgresql://127.0.0.1:99999/x",
        "postgresql://h/x?sslmode=no",
    ],
)
async def test_what_is_no_database_url_is_not_told_to_be_started(url: str):
    """The mend shows what one looks like; a piece of a password is not repeated."""
    with pytest.raises(Misconfigured, match="is no PostgreSQL URL") as caught:
        async with open_record(url):
            pass
    assert caught.value.variable == "DATABASE_URL"
    assert "running" not in str(caught.value)
    assert "'pa'" not in str(caught.value)


async def test_a_database_that_does_not_answer_may_not_run():
    with pytest.raises(Misconfigured, match="is it running there"):
        async with open_record("postgresql://127.0.0.1:1/x"):
            pass
