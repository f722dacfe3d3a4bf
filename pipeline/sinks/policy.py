"""Who is told what: routes, inhibitions and silences. Read from ``deploy/routes.yaml``; pure but for `load_policy`.

Matchers are written as Prometheus Alertmanager's: ``name=value``, ``name!=value``, ``name=~regex``, ``name!~regex``,
the expression anchored at both ends; what is not there is the empty text. A name is a field of the episode (service,
error_type, environment, severity, source) or a label. Expressions are RE2's, the engine of Alertmanager's: its time is
linear in the text, where Python's ``re`` backtracks for ever in ``(a+)+b``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
import re2
from msgspec import Meta

from pipeline.errors import Misconfigured, Rejected
from pipeline.files import read_yaml

_MATCHER = re.compile(r"([A-Za-z_][A-Za-z0-9_.:/-]*)\s*(=~|!~|!=|=)\s*(.*)", re.DOTALL)
_OVERLONG = re.compile(r"(?<!\\)\{(\d+,)?\d{9}")
"""A repetition so large that RE2 takes it for text: a matcher of something else than its author meant."""
Facts = Mapping[str, str]
"""What is known of an episode: its fields, and its labels."""
Sources = list[dict[tuple[str, ...], list[str]]]
"""What may mute others: see `Policy.sources`."""
Seconds = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition."""

    name: str
    negated: bool
    value: str
    pattern: Any
    """The compiled expression; None where the text has to be ``value``."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its text. Raises `Rejected`."""
        parts = _MATCHER.fullmatch(text.strip())
        if parts is None:
            raise Rejected(f"{text!r} is no matcher: NAME=VALUE, NAME!=VALUE, NAME=~REGEX or NAME!~REGEX")
        name, operator, value = parts.groups()
        if value.startswith(("=", "~")):
            raise Rejected(
                f"{text!r}: the operator is {operator} alone; a value that begins with {value[0]} stands in quotes"
            )
        value = value.strip().strip('"')
        pattern = _compiled(text, value) if operator.endswith("~") else None
        return cls(name, operator.startswith("!"), value, pattern)

    def holds(self, facts: Facts) -> bool:
        """Whether the episode is such a one."""
        fact = facts.get(self.name, "")
        found = fact == self.value if self.pattern is None else self.pattern.fullmatch(fact) is not None
        return found is not self.negated


def _compiled(text: str, expression: str) -> Any:
    options = re2.Options()
    options.dot_nl, options.never_capture, options.log_errors = True, True, False
    if _OVERLONG.search(expression):
        raise Rejected(f"{text!r}: the repetition number is too large")
    try:
        return re2.compile(expression, options=options)
    except UnicodeEncodeError as exc:
        raise Rejected(f"{text!r} is no UTF-8") from exc
    except re2.error as exc:
        said = exc.args[0]  # bytes, of UTF-8 or cut within a letter
        reason = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise Rejected(f"{text!r}: {reason} (RE2's syntax, as Alertmanager's: no look-around, no reference)") from exc


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the episodes go that all of ``match`` hold for, and how fast. Times are seconds.

    ``group_wait``: the first message waits so long for others of its situation. ``hold_off``: it waits so long, and
    is not sent if nothing fires any more. ``repeat``: say again, after so long, that it still goes on; 0: never.
    """

    match: tuple[str, ...] = ()
    channel: str | None = None
    group_wait: Seconds = 0.0
    hold_off: Seconds = 0.0
    repeat: Seconds = 14_400.0


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one channel bears. Times are seconds.

    ``burst`` messages at once and one more every ``refill``; what is over it waits for a digest: the first after
    ``digest``, each next one after twice the time, up to ``longest``. A situation that grows is told of again at once
    while half of the burst is left, then after ``update``, and then after twice the time. ``pace`` lies between any two
    calls: Slack's limit is one a second.
    """

    burst: Annotated[int, Meta(ge=1)] = 8
    refill: Annotated[float, Meta(gt=0)] = 60.0
    digest: Seconds = 15.0
    update: Seconds = 30.0
    longest: Seconds = 300.0
    pace: Seconds = 1.0


class Inhibition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """While an episode like ``source`` goes on, those like ``target`` that agree in ``equal`` are muted."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    equal: tuple[str, ...] = ()


class PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``deploy/routes.yaml``."""

    limits: Limits = Limits()
    routes: tuple[Route, ...] = ()
    inhibit: tuple[Inhibition, ...] = ()


@dataclass(frozen=True, slots=True)
class Silence:
    """No notifications for what all matchers hold for, from ``starts_at`` to ``ends_at``."""

    id: str
    matchers: Sequence[str]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str


class Policy:
    """The file, its matchers parsed."""

    def __init__(self, file: PolicyFile = PolicyFile()) -> None:  # noqa: B008 - frozen
        self.limits = file.limits
        self._routes = [(route, parsed(route.match)) for route in file.routes]
        self._inhibitions = [(rule, parsed(rule.source), parsed(rule.target)) for rule in file.inhibit]

    def route(self, facts: Facts) -> Route:
        """The first route that matches; without one the default."""
        return next((route for route, matchers in self._routes if all_hold(matchers, facts)), Route())

    @property
    def inhibits(self) -> bool:
        """Whether there is any rule."""
        return bool(self._inhibitions)

    def sources(self, going_on: Iterable[tuple[str, Facts]]) -> Sources:
        """Of each rule, the ids of the episodes that mute by it, by what has to be equal."""
        found: Sources = [{} for _ in self._inhibitions]
        for name, facts in going_on:
            for (rule, source, _), sources in zip(self._inhibitions, found, strict=True):
                if all_hold(source, facts):
                    sources.setdefault(_equal(rule, facts), []).append(name)
        return found

    def inhibited(self, facts: Facts, sources: Sources, episode: str | None = None) -> str | None:
        """The id of another episode that mutes this one, or None. Nothing that is a source itself is its target."""
        for (rule, source, target), by in zip(self._inhibitions, sources, strict=True):
            if all_hold(target, facts) and not all_hold(source, facts):
                name = next((name for name in by.get(_equal(rule, facts), ()) if name != episode), None)
                if name is not None:
                    return name
        return None


def _equal(rule: Inhibition, facts: Facts) -> tuple[str, ...]:
    return tuple(facts.get(key, "") for key in rule.equal)


def parsed(matchers: Iterable[str]) -> list[Matcher]:
    """Raises `Rejected`."""
    return [Matcher.parse(text) for text in matchers]


def all_hold(matchers: Iterable[Matcher], facts: Facts) -> bool:
    """No condition holds for everything."""
    return all(matcher.holds(facts) for matcher in matchers)


def silenced(facts: Facts, silences: Iterable[tuple[str, Sequence[Matcher]]]) -> str | None:
    """The id of the silence that mutes this episode, or None. Each comes with its matchers parsed: that takes long."""
    return next((name for name, matchers in silences if all_hold(matchers, facts)), None)


def load_policy(path: Path) -> Policy:
    """Read it. Raises `Misconfigured`."""
    try:
        return Policy(read_yaml("ROUTES_FILE", path, PolicyFile))
    except Rejected as exc:
        raise Misconfigured("ROUTES_FILE", f"{path}: {exc.reason}") from exc
