"""Episodes of one cause: one that opens joins the situation that it shares something telling with, if that is young.

Told by keys. An episode offers what it is (its cluster and namespace, its service, its kind of error) and seeks, most
telling first: its own cluster and namespace; a service that it depends on, or that depends on it, up to two steps away
in the topology; a service that its text names; its own service; and, where no namespace tells more, its kind of error.
The first key that an episode of the last ``gap`` has offered decides. What counts is when episodes begin, not how long
they go on: repeats keep no situation open. Pure but for `load_topology`.

Judged by `pulseguard storm`; what was tried and what it gave: deploy/STORMS.md.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec

from pipeline.files import read_yaml
from pipeline.words import words
from schemas import Anomaly

_STEPS = 2
_NAME = re.compile(r"(?<![a-z0-9])[a-z0-9]++(?:[-_.][a-z0-9]++)+")
"""What only a name looks like: payments-db, not payments. Looked for once a word: linear in the text's length."""
_MOST_NAMES = 20
_KEYS = 2**14
"""Kept: where all depends on one service, each episode seeks all others by name."""
_BROKEN = frozenset(
    ("container", "containers", "crash", "crashed", "crashes", "crashing", "crashloop", "deployment", "down", "evicted",
     "killed", "oom", "pod", "pods", "replicas", "restarted", "restarting", "restarts", "rollout")
)  # fmt: skip
_NONE = frozenset(("absent", "low", "missing", "no", "zero"))
_FLOW = frozenset(("calls", "connections", "messages", "operations", "queries", "request", "requests", "traffic"))
_HEARS_NOTHING = 2


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Service → the services that it depends on."""

    dependencies: dict[str, list[str]] = {}

    def near(self, service: str) -> list[str]:
        """The services up to two steps away, in either direction, the nearest first."""
        links = self._links
        found = {service: None}
        edge = [service]
        for _ in range(_STEPS):
            edge = [other for name in edge for other in links.get(name, ()) if other not in found]
            found |= dict.fromkeys(edge)
        del found[service]
        return list(found)

    def below(self, service: str) -> set[str]:
        """All that the service depends on, at any distance."""
        found: set[str] = set()
        edge = [service]
        while edge:
            edge = [other for name in edge for other in self.dependencies.get(name, ()) if other not in found]
            found |= set(edge)
        return found

    @cached_property
    def _links(self) -> dict[str, list[str]]:
        links: dict[str, list[str]] = {}
        for name, others in self.dependencies.items():
            for other in others:
                links.setdefault(name, []).append(other)
                links.setdefault(other, []).append(name)
        return links


@dataclass(frozen=True, slots=True)
class Beginning:
    """An episode that opens: what it says, when its fault began, and when Kafka ``heard`` of it."""

    episode_id: str
    anomaly: Anomaly
    at: datetime
    heard: datetime


@dataclass(slots=True)
class Hold:
    """The situation that a key leads to, and between when its episodes with that key began."""

    situation_id: str
    first: datetime
    last: datetime

    def reaches(self, at: datetime, gap: timedelta) -> bool:
        """Whether what began ``at`` is near enough."""
        return self.first - at <= gap and at - self.last <= gap  # no date is so far that this overflows


@dataclass(frozen=True, slots=True)
class Member:
    """An episode of a situation, for its probable root."""

    episode_id: str
    service: str | None
    error_type: str
    text: str
    began_at: datetime


def began(anomaly: Anomaly, received_at: datetime) -> datetime:
    """When the fault began: as the sender says, but never after Kafka had it."""
    return received_at if anomaly.occurred_at is None else min(anomaly.occurred_at, received_at)


def offers(anomaly: Anomaly) -> list[str]:
    """The keys by which others find this episode's situation."""
    place, scope = _place(anomaly), _scope(anomaly)
    found = [scope] if scope else [_key("error", place, anomaly.error_type)]
    return [*found, _key("service", place, anomaly.service)] if anomaly.service else found


def seeks(anomaly: Anomaly, topology: Topology) -> list[str]:
    """The keys by which this episode finds its situation, the most telling first."""
    place, scope = _place(anomaly), _scope(anomaly)
    names = topology.near(anomaly.service) if anomaly.service else []
    if scope:
        return [scope, *(_key("service", place, name) for name in names)]
    names += [*_named(anomaly.message or ""), *([anomaly.service] if anomaly.service else [])]
    return [*(_key("service", place, name) for name in names), _key("error", place, anomaly.error_type)]


def correlate(
    beginnings: Sequence[Beginning], known: Mapping[str, Hold], gap: timedelta, topology: Topology
) -> tuple[dict[str, str], dict[str, Hold]]:
    """Each episode's situation, and the keys as they stand after. ``known`` holds what the sought keys lead to.

    A key leads to where something of it began last. But what is told of more than a ``gap`` after it began takes the
    key from nothing that began later: a sender may repeat what has been firing since yesterday in the middle of a
    storm. Within a batch it has the key beside the others, for what is told of together.
    """
    keys = {key: [Hold(hold.situation_id, hold.first, hold.last)] for key, hold in known.items()}
    situations: dict[str, str] = {}
    for beginning in beginnings:
        held = (hold for key in seeks(beginning.anomaly, topology) if key in keys for hold in reversed(keys[key]))
        near = next((hold for hold in held if hold.reaches(beginning.at, gap)), None)
        name = near.situation_id if near else situation_id(beginning.episode_id)
        situations[beginning.episode_id] = name
        for key in offers(beginning.anomaly):
            hold = next((hold for hold in keys.get(key, ()) if hold.situation_id == name), None)
            if hold is not None:
                hold.first, hold.last = min(hold.first, beginning.at), max(hold.last, beginning.at)
            else:
                holds = keys.setdefault(key, [])
                is_late = beginning.heard - beginning.at > gap and any(hold.last > beginning.at for hold in holds)
                holds.insert(0 if is_late else len(holds), Hold(name, beginning.at, beginning.at))
    return situations, {key: holds[-1] for key, holds in keys.items()}


def situation_id(first_episode: str) -> str:
    """The same first episode always begins the same situation."""
    return "sit_" + hashlib.sha256(first_episode.encode()).hexdigest()[:20]


def suspects(members: Sequence[Member], topology: Topology) -> list[Member]:
    """The episodes, the first one being that which the others most likely come from.

    First whose service is broken itself (its pod, a crash), then whose service fails (errors, latency, all else), last
    whose service only hears nothing: that is mostly an effect, of those who would call it. Among these, whose service
    the most others depend on, or name in their texts; among equals, what says the worst, and what began first.
    """
    services = {member.service for member in members if member.service}
    spelled = {service.lower(): service for service in services}
    blamed: Counter[str | None] = Counter()
    for service in services:
        blamed.update((topology.below(service) & services) - {service})
    worst: dict[str | None, int] = {}
    for member in members:
        blamed.update({spelled[name] for name in _named(member.text) if name in spelled} - {member.service})
        worst[member.service] = min(worst.get(member.service, _HEARS_NOTHING), _state(member.error_type))

    def key(member: Member) -> tuple[int, int, int, datetime, str]:
        own = _state(member.error_type)
        state = worst[member.service] if member.service else own
        return state, -blamed[member.service], own, member.began_at, member.episode_id

    return sorted(members, key=key)


def probable_root(members: Sequence[Member], topology: Topology) -> str:
    """The id of the first of `suspects`."""
    return suspects(members, topology)[0].episode_id


def root_of(episodes: Sequence[Mapping[str, Any]], topology: Topology) -> str:
    """`probable_root` of episodes as the record lists them."""
    return probable_root(
        [
            Member(row["id"], row["service"], row["error_type"], row["message"] or "", _time(row["began_at"]))
            for row in episodes
        ],
        topology,
    )


def load_topology(path: Path) -> Topology:
    """Read it. Raises `Misconfigured`."""
    return read_yaml("TOPOLOGY_FILE", path, Topology)


def _state(error_type: str) -> int:
    """What an error type says of its service, by its words: 0 it is broken itself, 1 it fails, 2 it hears nothing."""
    said = set(words(error_type).split())
    if said & _BROKEN:
        return 0
    return _HEARS_NOTHING if said & _NONE and said & _FLOW else 1


def _time(value: str | datetime) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _place(anomaly: Anomaly) -> str:
    return f"{anomaly.environment or ''}\n{anomaly.labels.get('cluster', '')}"


def _scope(anomaly: Anomaly) -> str | None:
    namespace = anomaly.labels.get("namespace")
    return _key("namespace", _place(anomaly), namespace) if namespace else None


@lru_cache(_KEYS)
def _key(kind: str, place: str, name: str) -> str:
    """Hashed: as long as any other, and without what an index cannot hold."""
    return hashlib.sha256(f"{kind}\n{place}\n{name.lower()}".encode("utf-8", "replace")).hexdigest()[:24]


def _named(text: str) -> Iterable[str]:
    """The words of a text that may be services' names."""
    return list(dict.fromkeys(_NAME.findall(text[:5000].lower())))[:_MOST_NAMES]
