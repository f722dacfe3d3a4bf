"""What is taken out of a text before a model sees it, and what is not."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.redact import names_secret, redacted, visible

SECRETS: dict[str, tuple[str, str, str]] = {
    "password": ("login with password=hunter2 failed", "hunter2", "secret"),
    "json": ('{"password": "correct horse"}', "horse", "secret"),
    "yaml": ("db_password: s3cr3t", "s3cr3t", "secret"),
    "header": ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "secret"),
    "bearer": ("sent Bearer abc123def456ghi", "abc123def456ghi", "token"),
    "jwt": ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN", "eyJ", "jwt"),
    "url": ("postgres://app:p@ss@db:5432/x", "p@ss", "credentials"),
    "aws": ("key AKIAIOSFODNN7EXAMPLE", "AKIA", "api_key"),
    "github": ("ghp_" + "a1B2" * 9, "ghp_", "api_key"),
    "openai": ("sk-proj-" + "a1B2" * 9, "sk-proj", "api_key"),
    "slack": ("xoxb-1234567890-abcdef", "xoxb", "api_key"),
    "hook": ("https://hooks.slack.com/services/T0/B0/abcdefgh", "abcdefgh", "webhook"),
    "pem": ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE", "private_key"),
    "pem cut off": ("-----BEGIN PRIVATE KEY-----\nMIIE", "MIIE", "private_key"),
    "e-mail": ("user bob.smith+x@mail.example.com cannot log in", "bob", "email"),
    "card": ("card 4111 1111 1111 1111 declined", "4111", "card"),
    "iban": ("from DE89 3704 0044 0532 0130 00 failed", "DE89", "iban"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_becomes_a_placeholder_of_its_kind(name: str):
    """The secret is gone and its kind is said."""
    text, secret, kind = SECRETS[name]
    assert secret not in redacted(text)
    assert f"[redacted:{kind}]" in redacted(text)


ORDINARY = [
    "p99 450 ms at 2026-11-23T22:02:14Z on 10.0.12.7:5432, 97.5 % full",
    "pod payments-7d9f8b6c5d-x2x4z restarted 12 times, exit code 137",
    "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
    "id 123e4567-e89b-12d3-a456-426614174000 at epoch 1732399334000, offset 1732399334123456789",
    "image repo/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "getty@tty1.service failed; max_tokens=400; token: expired; Unexpected token in JSON",
    "basic functionality is back; disk-usage-monitoring-service-1 is well",
    "order 4111111111111112 is late; mac 00:1B:44:11:3A:B7; commit 97cb7d7",
    "https://grafana.example.com/d/abc?orgId=1&from=now-1h",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_alerts_stay_as_they_are(text: str):
    """Ids, addresses, times, percentages, hashes and units of systemd are no secrets."""
    assert redacted(text) == text


@pytest.mark.parametrize(
    "unit", ["a", "1", "a.", "a@", "a-", "eyJ", "-eyJ", "eyJaaaaa.", "://", "://a", "password=", 'secret:"', "1 ",
             "AB12 ", "bearer ", "bearer a", "-----BEGIN PRIVATE KEY-----", "sk-", "token ", "\\", "a@a-"],
)  # fmt: skip
def test_no_text_takes_long(unit: str):
    """A megabyte of whatever a pattern begins with is done in seconds, on a busy machine too."""
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    started = time.process_time()
    redacted(visible(text))
    assert time.process_time() - started < 10


@given(st.text(max_size=200))
def test_twice_is_once(text: str):
    """What is redacted holds nothing to redact, and what is visible stays so."""
    assert redacted(redacted(text)) == redacted(text)
    assert visible(visible(text)) == visible(text)


def test_names_of_secrets():
    """A label is a secret by its name; a count of tokens is none."""
    assert all(map(names_secret, ("password", "DB_PASSWORD", "api-key", "githubToken")))
    assert not any(map(names_secret, ("tokens", "service", "key", "max_tokens")))
