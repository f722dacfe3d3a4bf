"""The register of scenarios. Each is a function of a `Rig`; its docstring says what happens and is true."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.rig import Rig

Play = Callable[[Rig], Awaitable[None]]
ONE_NODE = ("embedded", "apache")
OURS = ("embedded", "apache", "cluster")
"""Brokers that the suite may stop and break."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``fast``: played small with every run of the tests. ``proxied``: Kafka's clients meet a proxy."""

    name: str
    play: Play
    says: str
    brokers: tuple[str, ...]
    fast: bool
    proxied: bool


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    *, fast: bool = False, proxied: bool = False, brokers: tuple[str, ...] = (*OURS, "docker", "given")
) -> Callable[[Play], Play]:
    """Register a function under its name."""

    def register(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        kinds = tuple(kind for kind in brokers if kind in ONE_NODE) if proxied else brokers
        SCENARIOS[name] = Scenario(name, play, " ".join((play.__doc__ or "").split()), kinds, fast, proxied)
        return play

    return register
