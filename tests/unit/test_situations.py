"""Which episodes are one situation, which of them is the probable root, and how that is judged."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import storm
from pipeline.__main__ import cli
from pipeline.errors import Misconfigured, Rejected
from pipeline.stages.count import Grouping
from pipeline.stages.fingerprints import Fingerprints, Rule, load_fingerprints
from pipeline.stages.situations import (
    Beginning,
    Hold,
    Member,
    Topology,
    began,
    correlate,
    load_topology,
    probable_root,
    situation_id,
    suspects,
)  # fmt: skip
from schemas import Anomaly
from tests import streams
from tests.growth import grows_linearly, seconds

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
GAP = timedelta(minutes=5)
SHOP = Topology({"checkout": ["payments"], "payments": ["payments-db"], "payments-db": ["disks"], "mail": ["smtp"]})
PLACE = {"cluster": "c", "namespace": "shop"}


def beginning(name: str, seconds: float, error_type: str = "e", **fields: object) -> Beginning:
    at = START + timedelta(seconds=seconds)
    return Beginning(name, Anomaly(error_type=error_type, **fields), at, at)  # type: ignore[arg-type]


def told_late(name: str, seconds: float, **fields: object) -> Beginning:
    """Which began a day before that."""
    now = beginning(name, seconds, **fields)  # type: ignore[arg-type]
    return replace(now, at=now.at - timedelta(days=1))


@pytest.mark.parametrize(
    ("why", "one", "other", "seconds", "together"),
    [
        ("one namespace", {"labels": PLACE}, {"labels": PLACE, "error_type": "f"}, 300, True),
        ("one namespace, too late", {"labels": PLACE}, {"labels": PLACE}, 301, False),
        ("began before it was heard of", {"labels": PLACE}, {"labels": PLACE}, -300, True),
        ("other namespaces", {"labels": PLACE}, {"labels": PLACE | {"namespace": "bank"}}, 1, False),
        ("other clusters", {"labels": PLACE}, {"labels": PLACE | {"cluster": "d"}}, 1, False),
        ("other environments", {"labels": PLACE}, {"labels": PLACE, "environment": "test"}, 1, False),
        ("nothing in common", {"service": "a"}, {"service": "b", "error_type": "f"}, 1, False),
        ("nothing said at all", {}, {"error_type": "f"}, 1, False),
        ("one service", {"service": "a"}, {"service": "A", "error_type": "f"}, 1, True),
        ("one kind of error", {"service": "a"}, {"service": "b"}, 1, True),
        ("near in the topology", {"service": "payments-db"}, {"service": "checkout", "error_type": "f"}, 1, True),
        ("three steps in the topology", {"service": "disks"}, {"service": "checkout", "error_type": "f"}, 1, False),
        ("far in the topology", {"service": "smtp"}, {"service": "checkout", "error_type": "f"}, 1, False),
        ("topology across namespaces", {"service": "payments-db", "labels": PLACE},
         {"service": "payments", "error_type": "f", "labels": PLACE | {"namespace": "bank"}}, 1, True),
        ("named in its text", {"service": "ledger-db"},
         {"service": "web", "error_type": "f", "message": "cannot reach ledger-db:5432"}, 1, True),
        ("an ordinary word is no name", {"service": "reach"},
         {"service": "web", "error_type": "f", "message": "cannot reach it"}, 1, False),
        ("what has no namespace does not join one by its kind", {"labels": PLACE}, {}, 1, False),
    ],
)  # fmt: skip
def test_what_belongs_together(
    why: str, one: dict[str, object], other: dict[str, object], seconds: float, together: bool
) -> None:
    """Two episodes, one after the other, in one batch or in two."""
    first, second = beginning("ep_1", 0, **one), beginning("ep_2", seconds, **other)  # type: ignore[arg-type]
    situations, _ = correlate([first, second], {}, GAP, SHOP)
    assert (situations["ep_1"] == situations["ep_2"]) is together, why
    before, keys = correlate([first], {}, GAP, SHOP)
    after, _ = correlate([second], keys, GAP, SHOP)
    assert before | after == situations


def test_a_chain_goes_on_while_something_begins() -> None:
    """Each beginning keeps the situation young; what began first is not forgotten."""
    chain = [beginning(f"ep_{n}", n * 250, labels=PLACE) for n in range(6)]
    situations, _ = correlate(chain, {}, GAP, Topology())
    assert len(set(situations.values())) == 1


@pytest.mark.parametrize("batch", [1, 6])
def test_what_began_long_ago_parts_none_that_go_on(batch: int) -> None:
    """A sender repeats what has been firing since yesterday, in the middle of a storm in the same place."""
    storm = [beginning(f"ep_{n}", n * 10, labels=PLACE) for n in range(5)]
    late = told_late("ep_late", 15, labels=PLACE)
    told = [*storm[:2], late, *storm[2:]]
    situations: dict[str, str] = {}
    keys: dict[str, Hold] = {}
    for start in range(0, len(told), batch):
        found, keys = correlate(told[start : start + batch], keys, GAP, SHOP)
        situations |= found
    assert {situations[one.episode_id] for one in storm} == {situation_id("ep_0")}
    assert situations["ep_late"] == situation_id("ep_late")


def test_what_began_long_ago_and_is_told_together_is_one() -> None:
    """Whatever begins in the same place just before that, and between."""
    late = [told_late(f"ep_late_{n}", n, labels=PLACE) for n in range(3)]
    now = [beginning(f"ep_{n}", n, labels=PLACE) for n in range(3)]
    _, keys = correlate(now[:1], {}, GAP, SHOP)
    situations, keys = correlate([late[0], now[1], late[1], now[2], late[2]], keys, GAP, SHOP)
    assert {situations[one.episode_id] for one in late} == {situation_id("ep_late_0")}
    assert {situations[one.episode_id] for one in now[1:]} == {situation_id("ep_0")}
    assert {hold.situation_id for hold in keys.values()} == {situation_id("ep_0")}


@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_told_late_is_not_parted_by_what_was_over_before(batch: int) -> None:
    """A sender catches up after an outage; what its place last had was over a week ago."""
    _, keys = correlate([beginning("ep_old", -7 * 86_400, labels=PLACE)], {}, GAP, SHOP)
    late = [told_late(f"ep_{n}", n, labels=PLACE) for n in range(3)]
    situations: dict[str, str] = {}
    for start in range(0, len(late), batch):
        found, keys = correlate(late[start : start + batch], keys, GAP, SHOP)
        situations |= found
    assert set(situations.values()) == {situation_id("ep_0")}


def test_a_clock_that_runs_ahead_keeps_no_key() -> None:
    """What comes after it takes the key, as everything does that is told of when it begins."""
    ahead, *now = [beginning(f"ep_{n}", seconds, labels=PLACE) for n, seconds in enumerate((3600, 0, 1))]
    keys: dict[str, Hold] = {}
    situations: dict[str, str] = {}
    for one in (ahead, *now):
        found, keys = correlate([one], keys, GAP, SHOP)
        situations |= found
    assert {situations[one.episode_id] for one in now} == {situation_id("ep_1")}


def test_a_gap_may_be_longer_than_the_calendar() -> None:
    """For whom every episode of a service is one situation."""
    situations, _ = correlate([beginning(f"ep_{n}", n * 1e8, service="a") for n in range(3)], {}, timedelta.max, SHOP)
    assert len(set(situations.values())) == 1


def test_when_a_fault_began() -> None:
    """As the sender says, but not after Kafka had it."""
    assert began(Anomaly(error_type="e"), START) == START
    earlier = START - timedelta(hours=1)
    assert began(Anomaly(error_type="e", occurred_at=earlier), START) == earlier
    assert began(Anomaly(error_type="e", occurred_at=START + timedelta(days=1)), START) == START


@pytest.mark.parametrize("unit", ["a", "0", "a1", "a-", "a-b", "-", "a.b_"])
def test_no_message_takes_long(unit: str) -> None:
    """Which names the longest messages may hold is found at once: hundreds of episodes may open under one lock."""
    assert grows_linearly(
        lambda size: correlate([beginning("ep_1", 0, message=(unit * size)[:size])], {}, GAP, SHOP), 65536 // 8
    )


def member(name: str, service: str | None, seconds: float = 0, text: str = "", error_type: str = "e") -> Member:
    return Member(name, service, error_type, text, START + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("members", "root"),
    [
        ([member("a", "checkout"), member("b", "payments", 5), member("c", "payments-db", 9)], "c"),
        ([member("a", "web", 0, "no answer from ledger-db"), member("b", "ledger-db", 9)], "b"),
        ([member("b", "x", 9), member("a", "y", 3)], "a"),
        ([member("b", None), member("a", None)], "a"),
        # What hears nothing is an effect, even where the others depend on it.
        ([member("a", "payments-db", 0, error_type="NoRequestsReceived"), member("b", "payments", 5)], "b"),
        ([member("a", "x", 0, error_type="no_traffic"), member("b", "y", 5, error_type="HighLatency")], "b"),
        ([member("a", "x", 5, error_type="NoTraffic"), member("b", "y", 0, error_type="LowTraffic")], "b"),
        # What is broken itself comes first, and the episode that says so.
        ([member("a", "web", 0, error_type="HighErrorRate"), member("b", "db", 9, error_type="KubePodNotReady")], "b"),
        ([member("a", "db", 0, error_type="NoRequests"), member("b", "web", 1),
          member("c", "db", 2, error_type="container_oom_killed")], "c"),
        ([member("a", "checkout", 0, error_type="PodCrashLooping"),
          member("b", "payments-db", 9, error_type="PodCrashLooping")], "b"),
        # Too many is no silence, and a low disk is not a low number of requests.
        ([member("a", "x", 0, error_type="TooManyConnections"), member("b", "y", 5, error_type="LowDiskSpace")], "a"),
    ],
)  # fmt: skip
def test_the_probable_root(members: list[Member], root: str) -> None:
    """What is broken itself, then what fails, then what hears nothing; among these what is blamed most, then first."""
    assert probable_root(members, SHOP) == root
    assert probable_root(members[::-1], SHOP) == root


def test_what_depends_on_itself_by_a_circle_is_not_blamed_by_itself() -> None:
    circle = Topology({"a": ["b"], "b": ["a"], "c": ["d"]})
    found = suspects([member("1", "a", 0), member("2", "c", 1), member("3", "d", 2)], circle)
    assert [episode.service for episode in found] == ["d", "a", "c"]


def test_a_topology_may_have_circles(tmp_path: Path) -> None:
    circle = Topology({"a": ["b"], "b": ["c"], "c": ["a"]})
    assert circle.below("a") == {"a", "b", "c"}
    assert set(circle.near("a")) == {"b", "c"}
    (tmp_path / "t.yaml").write_text("dependencies: [1]")
    with pytest.raises(Misconfigured, match="TOPOLOGY_FILE"):
        load_topology(tmp_path / "t.yaml")
    with pytest.raises(Misconfigured, match="TOPOLOGY_FILE"):
        load_topology(tmp_path / "none.yaml")


def test_a_service_that_all_depend_on_makes_no_batch_slow() -> None:
    """Through it each of a thousand services is near each other: those that open together seek millions of names."""
    hub = Topology({f"s{n}": ["postgres", "vault", f"s{n * 7 % 1000}"] for n in range(1000)})
    batch = [Beginning(f"ep{n}", Anomaly(error_type="e", service=f"s{n % 1000}"), START, START) for n in range(3000)]
    situations, _ = correlate(batch, {}, timedelta(minutes=5), hub)
    assert set(situations.values()) == {situation_id("ep0")}

    def look_up() -> None:
        known = {name: {} for name in hub.near("s0")}
        for _ in batch:
            for name in known:
                known.get(name)

    assert seconds(lambda: correlate(batch, {}, timedelta(minutes=5), hub)) < 15 * seconds(look_up)


def test_the_shipped_files_are_the_defaults() -> None:
    """What deploy/ says is what the program does without it."""
    deploy = Path(__file__).parents[2] / "deploy"
    assert load_fingerprints(deploy / "fingerprints.yaml") == Fingerprints()
    assert load_topology(deploy / "topology.yaml") == Topology()


def test_a_source_has_its_own_fingerprint_rule_and_names_its_faults_itself() -> None:
    rules = Fingerprints(sources={"old": Rule(("error_type",), ("host",), upstream=False)})

    def of(**fields: object) -> str:
        return rules.of(Anomaly(error_type="e", **fields))  # type: ignore[arg-type]

    assert of(source="old", service="a") == of(source="old", service="b", fingerprint="x")
    assert of(source="old", labels={"host": "a"}) != of(source="old", labels={"host": "b"})
    assert of(fingerprint="x", service="a") == of(fingerprint="x", service="b")
    assert of(fingerprint="x", source="one") != of(fingerprint="x", source="two")
    assert of(fingerprint="x") != of(service="x")


def alert(
    seconds: float, name: str, group: str, status: str = "firing", root: str | list[str] | None = None, **labels: str
) -> dict[str, object]:
    return {
        "ts": seconds, "status": status, "labels": {"alertname": name, "cluster": "c", **labels},
        "truth": {"group": group, "root": root},
    }  # fmt: skip


def test_a_stream_is_judged(tmp_path: Path) -> None:
    """Two faults in two namespaces, one of which the simple rule tears apart, and noise that it mixes in."""
    lines = [
        alert(0, "Slow", "one", namespace="shop", service="web"),
        alert(10, "Down", "one", namespace="shop", service="db"),
        alert(20, "Down", "two", namespace="bank", service="db"),
        alert(25, "NodeNoise", "noise", instance="n1"),
        alert(26, "OtherNoise", "noise-2", instance="n2"),
        alert(500, "Slow", "one", "resolved", namespace="shop", service="web"),
        alert(510, "Never", "three", "resolved", namespace="shop", service="x"),
    ]
    path = tmp_path / "storm.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    alerts = storm.read_alerts(path)
    figures = storm.report(alerts, Grouping(), Fingerprints())
    assert figures["pair_f1"] == 1.0
    assert figures["floor_pair_f1"] < 1.0
    assert (figures["alerts"], figures["causes"], figures["situations"]) == (7, 5, 5)
    assert len({alert.labels["cluster"] for alert in storm.crowded(alerts, 1)}) == 1
    path.write_text("\n" + json.dumps(lines[0]) + "\n\n")
    assert storm.read_alerts(path) == alerts[:1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b'{"ts": 1}', "line 1"), (b"\n{", "line 2"), (b'{"ts": 1e300, "labels": {}, "truth": {"group": "g"}}', "ts"),
     (b'{"ts": 1, "startsAt": -1e18, "labels": {}, "truth": {"group": "g"}}', "startsAt"),
     (b'{"ts": 1, "labels": {"a": "\xff"}, "truth": {"group": "g"}}', "line 1.*utf-8"), (b"[" * 100_000, "line 1"),
     (b"", "there is no alert in it"), (b"\n \n", "there is no alert in it")],
)  # fmt: skip
def test_a_stream_that_cannot_be_read_is_refused(tmp_path: Path, text: bytes, reason: str) -> None:
    """By the line, where there is one."""
    (tmp_path / "storm.jsonl").write_bytes(text)
    with pytest.raises(Rejected, match=reason):
        storm.read_alerts(tmp_path / "storm.jsonl")


def test_the_probable_roots_are_judged(tmp_path: Path) -> None:
    """Found in the first place; among the first three; not among them; and one whose service nobody heard of."""
    lines = [
        alert(0, "Slow", "one", root="db", namespace="shop", service="web"),
        alert(1, "Slow", "one", "resolved", namespace="shop", service="web"),
        alert(5, "Slow", "one", namespace="shop", service="db"),
        alert(0, "Slow", "two", root=["x", "lib"], namespace="bank", service="web"),
        alert(5, "NoTraffic", "two", namespace="bank", service="lib"),
        *(alert(n, "Slow", "three", root="d", namespace="farm", service=name) for n, name in enumerate("abcd")),
        alert(5, "Slow", "three", namespace="farm", service="d"),
        alert(0, "Slow", "four", root="far", namespace="pier", service="web"),
        alert(0, "Slow", "rootless", namespace="yard", service="web"),
    ]
    path = tmp_path / "storm.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    figures = storm.report(storm.read_alerts(path), Grouping(topology=Topology({"web": ["db"]})), Fingerprints())
    assert {name: figures[name] for name in figures if "root" in name} == {
        "roots": 4, "roots_heard": 0.75, "root_top1": 0.25, "root_top3": 0.5, "floor_root_first": 0.0,
        "floor_root_most": 0.25,
    }  # fmt: skip


def test_the_command_takes_a_topology(tmp_path: Path) -> None:
    """Instead of TOPOLOGY_FILE, for the grouping and for the roots."""
    lines = [
        alert(0, "Slow", "one", root="db", namespace="shop", service="web"),
        alert(5, "Slow", "one", namespace="disks", service="db"),
    ]
    (tmp_path / "storm.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (tmp_path / "topology.yaml").write_text("dependencies: {web: [db]}")
    command = ["storm", str(tmp_path / "storm.jsonl"), "--json"]
    known = CliRunner().invoke(cli, [*command, "--topology", str(tmp_path / "topology.yaml")])
    figures = [json.loads(result.stdout) for result in (CliRunner().invoke(cli, command), known)]
    assert [(told["situations"], told["root_top1"]) for told in figures] == [(2, 0.0), (1, 1.0)]


def test_made_up_streams_are_grouped_and_their_roots_found() -> None:
    """On streams of another shape than the public one, ours is better than the simple rules."""
    found: Counter[str] = Counter()
    for seed in range(6):
        alerts, topology = streams.stream(seed)
        figures = storm.report(alerts, Grouping(topology=topology), Fingerprints())
        assert figures["pair_f1"] > figures["floor_pair_f1"] + 0.1
        found.update({name: figures[name] for name in ("root_top1", "floor_root_first", "floor_root_most")})
    assert found["root_top1"] > max(found["floor_root_first"], found["floor_root_most"])
    assert streams.stream(1) == streams.stream(1)


def test_pairs_are_counted() -> None:
    """By hand: truth aab|bb has 1 + 3 pairs; found has 3 in the first, 1 in the second; 1 + 1 agree."""
    precision, recall, f1 = storm.pair_f1(list("aabbb"), list("11122"))
    assert (precision, recall, f1) == (2 / 4, 2 / 4, 0.5)
    assert storm.pair_f1([], []) == (1.0, 1.0, 1.0)
