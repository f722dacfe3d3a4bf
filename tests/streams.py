"""Made-up streams of alerts with known causes: faults that cascade over a random topology, noise, repeats, flapping.

Shaped otherwise than the public stream on purpose: heavy-tailed delays, several topologies, several faults at once in
one namespace. What is tuned on one of the two must hold on the other.
"""

import random
from collections.abc import Iterator
from itertools import chain

from pipeline.stages.situations import Topology
from pipeline.storm import Alert, Truth

HOURS = 6
_ITSELF = ("PodCrashLooping", "ContainerOOMKilled", "PodNotReady", None)
_FAILS = ("ErrorRatioHigh", "LatencyHigh")
_IDLE = "NoTraffic"


def stream(seed: int, *, faults: int = 40, noise: int = 60) -> tuple[list[Alert], Topology]:
    """Alerts in the order of time, and which service depends on which."""
    rng = random.Random(seed)
    topologies = {f"team-{name}": _topology(rng, f"team-{name}") for name in "abc"}
    places = [(f"cluster-{number}", team) for number in range(2) for team in topologies]
    alerts: list[Alert] = []
    for number in range(faults):
        place = rng.choice(places)
        alerts += _fault(rng, number, place, topologies[place[1]])
    alerts += chain.from_iterable(_noise(rng, number, rng.choice(places)) for number in range(noise))
    known = {name: below for topology in topologies.values() for name, below in topology.items()}
    return sorted(alerts, key=lambda alert: alert.ts), Topology(known)


def _topology(rng: random.Random, team: str) -> dict[str, list[str]]:
    """Twelve services in four layers; each depends on one to three of the next layer."""
    layers = [
        [f"{team}-{layer}{number}" for number in range(width)]
        for layer, width in zip("webs", (1, 3, 4, 4), strict=True)
    ]
    return {
        name: sorted(rng.sample(below, min(len(below), rng.randint(1, 3))))
        for above, below in zip(layers, [*layers[1:], []], strict=True)
        for name in above
    }


def _fault(rng: random.Random, number: int, place: tuple[str, str], topology: dict[str, list[str]]) -> Iterator[Alert]:
    """One service breaks; its callers fail after it, and what they no longer call falls idle."""
    root = rng.choice(list(topology))
    truth = Truth(f"fault-{number}", root)
    when = {root: rng.uniform(0, HOURS * 3600)}
    failing = [root]
    for name in failing:
        for caller in (caller for caller, below in topology.items() if name in below and caller not in when):
            if rng.random() < 0.8:
                when[caller] = when[name] + rng.lognormvariate(3.6, 1.1)
                failing.append(caller)
    idle = {below for name in failing[1:] for below in topology[name]} - set(failing)
    for name in sorted(idle):
        if rng.random() < 0.4:
            when[name] = max(when.values()) + rng.lognormvariate(3.6, 1.1)
    for name, begin in when.items():
        kinds = {_IDLE} if name not in failing else set(rng.sample(_FAILS, rng.randint(1, 2)))
        if name == root and (itself := rng.choice(_ITSELF)):
            kinds.add(itself)
        for kind in sorted(kinds):
            yield from _life(rng, begin + rng.expovariate(1 / 20), kind, place, truth, service=name)


def _noise(rng: random.Random, number: int, place: tuple[str, str]) -> Iterator[Alert]:
    cluster, namespace = place
    labels = {"namespace": namespace} if rng.random() < 0.3 else {"instance": f"10.0.0.{number}"}
    kind = rng.choice(("DiskFilling", "CertificateExpires", "ClockSkew", "BackupLate", "QueueGrows"))
    truth = Truth(f"noise-{number}")
    yield from _life(rng, rng.uniform(0, HOURS * 3600), kind, (cluster, ""), truth, **labels)


def _life(
    rng: random.Random, begin: float, kind: str, place: tuple[str, str], truth: Truth, **labels: str
) -> Iterator[Alert]:
    """Firing, perhaps repeated every five minutes, `resolved`, and perhaps all of it once more soon after."""
    cluster, namespace = place
    said = {"alertname": kind, "cluster": cluster} | ({"namespace": namespace} if namespace else {}) | labels
    text = {"summary": f"{kind} of {labels.get('service', 'a host')}"}
    for _ in range(1 if rng.random() < 0.75 else 2):
        repeats = rng.choice((0, 0, 1, 2, 5))
        for repeat in range(repeats + 1):
            yield Alert(begin + 300.0 * repeat, said, truth, "firing", text, begin)
        end = begin + 300.0 * repeats + rng.uniform(20, 290)
        if rng.random() < 0.9:
            yield Alert(end, said, truth, "resolved", text, begin)
        begin = end + rng.uniform(10, 240)
