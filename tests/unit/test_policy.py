"""Matchers, routes, inhibitions and silences."""

from pathlib import Path

import pytest

from pipeline.errors import Misconfigured, Rejected
from pipeline.sinks.policy import (
    Inhibition,
    Limits,
    Matcher,
    Policy,
    PolicyFile,
    Route,
    load_policy,
    parsed,
    silenced,
)
from tests.growth import grows_linearly

FACTS = {"service": "payments-db", "severity": "error", "cluster": "c1"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("service=payments-db", True), ("service=payments", False), ("service = payments-db", True),
        ('service="payments-db"', True), ("service!=payments-db", False), ("service!=x", True),
        ("service=~payments.*", True), ("service=~payments", False), ("service!~payments.*", False),
        ("severity=~error|critical", True), ("namespace=", True), ("namespace!=", False), ("namespace=~.+", False),
        ("service=payments.db", False), (r"service!~x\{999999999", True),
        ('service!="=payments-db"', True), ('service="~x"', False),
    ],
)  # fmt: skip
def test_a_matcher(text: str, holds: bool):
    """Equality and anchored expressions; what is not there is the empty text."""
    assert Matcher.parse(text).holds(FACTS) is holds


@pytest.mark.parametrize(
    "text",
    ["", "service", "=x", "service=~(", "a b=c", "service=~x{99999999999}", "service=~x{1,99999}", "service=~\udce9",
     "service==x", "severity!==critical", "service = ~x", "service=~~x"],
)  # fmt: skip
def test_what_is_no_matcher(text: str):
    with pytest.raises(Rejected):
        Matcher.parse(text)


@pytest.mark.parametrize("text", ["service=~(?=pay).*", "service=~(?<!x)y", r"service!~(a)\1"])
def test_what_needs_backtracking_is_refused_and_the_reason_says_so(text: str):
    """RE2 has no look-around and no back-reference; the message names the text, the fault and the syntax."""
    with pytest.raises(Rejected, match=r"invalid .*RE2's syntax, as Alertmanager's: no look-around") as exc:
        Matcher.parse(text)
    assert exc.value.reason.startswith(repr(text))


@pytest.mark.parametrize("expression", ["(a+)+b", "(a|a)*b", "(.*)*b", "(a?){500}a{500}b"])
def test_no_expression_backtracks(expression: str):
    """What takes Python's re for ever is linear up to the longest text that an event can have."""
    matcher = Matcher.parse(f"service=~{expression}")
    assert not matcher.holds({"service": "a" * 262_144})
    assert grows_linearly(lambda size: matcher.holds({"service": "a" * size}), 262_144 // 8)


def test_the_first_route_that_matches():
    routes = (Route(match=("severity=critical",), channel="#one"), Route(match=("cluster=c1",), channel="#two"))
    policy = Policy(PolicyFile(routes=routes))
    assert policy.route(FACTS).channel == "#two"
    assert policy.route(FACTS | {"severity": "critical"}).channel == "#one"
    assert policy.route({}) == Route()


def test_inhibition():
    rule = Inhibition(source=("error_type=cluster_down",), target=("severity=~info|error",), equal=("cluster",))
    policy = Policy(PolicyFile(inhibit=(rule,)))
    down = {"error_type": "cluster_down", "cluster": "c1", "severity": "error"}
    sources = policy.sources([("ep_1", down)])
    assert policy.inhibited(FACTS, sources) == "ep_1"
    assert policy.inhibited(FACTS, sources, "ep_1") is None
    assert policy.inhibited(FACTS, policy.sources([("ep_1", down | {"cluster": "c2"})])) is None
    assert policy.inhibited(FACTS | {"severity": "critical"}, sources) is None
    assert policy.inhibited(down, policy.sources([("ep_2", down)])) is None
    assert (policy.inhibits, Policy().inhibits) == (True, False)


def test_a_storm_is_muted_in_linear_time():
    """What waits for one call, times what goes on or the silences that people left, is millions."""
    rule = Inhibition(source=("error_type=cluster_down",), target=("severity=~info|error",), equal=("cluster",))
    policy = Policy(PolicyFile(inhibit=(rule,)))
    silences = [(f"sil_{number}", parsed([f"service=~nobody{number}-.*"])) for number in range(100)]

    def mute(size: int) -> None:
        storm = [(f"ep_{number}", FACTS | {"service": f"s{number}"}) for number in range(size)]
        sources = policy.sources(storm)
        assert not any(policy.inhibited(facts, sources, name) or silenced(facts, silences) for name, facts in storm)

    assert grows_linearly(mute, 250)


def test_a_silence():
    silences = [("sil_1", parsed(["cluster=c1", "severity!=critical"]))]
    assert silenced(FACTS, silences) == "sil_1"
    assert silenced(FACTS | {"severity": "critical"}, silences) is None


def test_the_shipped_file_is_the_default():
    policy = load_policy(Path(__file__).parents[2] / "deploy" / "routes.yaml")
    assert policy.limits == Limits()
    assert policy.route({}) == Route()
    assert not policy.inhibits


@pytest.mark.parametrize(
    "text", ["routes: [{match: [x]}]", "limits: {burst: 0}", "rules: []", "routes: [{channel: 1}]"]
)
def test_a_bad_file_names_its_setting(tmp_path: Path, text: str):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(Misconfigured, match="ROUTES_FILE"):
        load_policy(tmp_path / "r.yaml")
