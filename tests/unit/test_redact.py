"""What is taken out of a text before a model sees it, and what is not."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.redact import names_secret, redacted, visible
from tests.growth import grows_linearly
from tests.unit.redaction import LEAKS, ORDINARY
from tests.unit.redaction_more import MORE_LEAKS, MORE_ORDINARY


@pytest.mark.parametrize("name", LEAKS | MORE_LEAKS)
def test_a_secret_becomes_a_placeholder_of_its_kind(name: str):
    """The secret is gone and its kind is said."""
    text, secret, kind = (LEAKS | MORE_LEAKS)[name]
    shown = redacted(visible(text))
    assert secret not in shown
    assert f"[redacted:{kind}]" in shown


@pytest.mark.parametrize("text", ORDINARY + MORE_ORDINARY)
def test_ordinary_alerts_stay_as_they_are(text: str):
    """Ids, addresses, times, percentages, hashes and units of systemd are no secrets."""
    assert redacted(text) == text


@pytest.mark.parametrize(
    "unit", ["a", "1", "a.", "a@", "a-", "eyJ", "-eyJ", "eyJaaaaa.", "://", "://a", "password=", 'secret:"', "1 ",
             "AB12 ", "bearer ", "bearer a", "-----BEGIN PRIVATE KEY-----", "sk-", "token ", "\\", "a@a-",
             "-u a:", "mysql -p", "redis-cli ", "login a password ", "+1 ", "+1", "$1$a$", "basic aaaaaaaa ", "auth=",
             "cookie:", "a%40", "--token ", "--", "jdbc:oracle:thin:a/", "4111.", "://a:", "password=a;", "a_pass ",
             "&sig=", "ab12", "\u0301", "password 'a", "password a", "password was to ", "token a", "token a1",
             "token ~1", "password: must ", "passphrase: a ", "--password,", '"--token",', "a:a@", "a:a", "password:{",
             "password:{ ", "credentials a:", "AUTH default ", "pin is ", "verification code ", "password=&a",
             "api key: ", "password (", "name: a ", "name=token ", "name=token value=",
             'key="token', "a_aA1b2", "?key=aA1", "sqlcmd ", "ldapsearch ", "SCRAM-SHA-1$1:", "scrypt:1", "DE89-",
             "a.atlasv1.", "QUFB", "Ab1", "616", "Ab1-", "password: ['", "password: |\n a\n", "password: |\n ", "curl ",
             "insert into a (password, ", "<a password ", "SIN 1 ", "a [at] a.", "$1$a$a$", "sess", "\\075",
             "abcdefgh\n", "echo ", 'net("token", ',
             "\\u003", "%3", "%3D", "&amp;", "&#x3", '\\"', "password was "],
)  # fmt: skip
def test_no_text_takes_long(unit: str):
    """Whatever a pattern begins with."""
    assert grows_linearly(lambda size: redacted(visible(unit * (size // len(unit)))), 12_500)


@example("0:0@tcp(")
@example('password=b"hunter2"')
@example("+49 30 1234567+49 30 1234567")
@example("://://a:b@Na:b@secret://'://")
@example("password={value:unter2")
@example("curl -u binpan=4111111111111111")
@given(st.text(max_size=200) | st.sampled_from([text for text, _, _ in (LEAKS | MORE_LEAKS).values()]))
def test_twice_is_once(text: str):
    """What is redacted holds nothing to redact, and what is visible stays so."""
    assert redacted(redacted(text)) == redacted(text)
    assert visible(visible(text)) == visible(text)


def test_names_of_secrets():
    """A label is a secret by its name; a count of tokens is none."""
    assert all(
        map(names_secret, ("password", "DB_PASSWORD", "api-key", "githubToken", "DB_PASS", "SECRET_KEY", "Cookie"))
    )
    assert not any(map(names_secret, ("tokens", "service", "key", "max_tokens", "primary_key", "bypass", "secretName")))


def test_a_pile_of_marks_is_cut():
    """A letter keeps as many marks as languages have, and what languages write stays as it is."""
    assert visible("a" + "\u0301" * 500 + "b") == "a" + "\u0301" * 4 + "b"
    for mark in "\u0902\u0730\u07eb\u0f74\u08f0\U0001e8d0":
        assert visible(f"\u0915{mark * 300}") == f"\u0915{mark * 4}"
    assert visible("a" + "\u0301\u0301\u200d" * 100) == "a" + "\u0301" * 4
    written = "Việt Nam, שָׁלוֹם, مُحَمَّد, น้ำ, हिन्दी, བརྒྱུད"
    assert visible(written) == written
