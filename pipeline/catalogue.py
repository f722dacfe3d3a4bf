"""The action catalogue: what may be advised at all, and within which bounds. Every decision obeys it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pipeline.errors import Misconfigured, Rejected
from pipeline.files import read_yaml
from pipeline.redact import visible
from schemas import Action, Value

ESCALATE = "escalate_to_human"
_NAME = re.compile(r"(?!.*\. )[\w .,()+-]{1,60}")
"""A free text is part of what a human reads and may do: a name, with no room for a link, a mention or a sentence."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One parameter: a number within bounds (in ``unit``), one of ``choices``, or a short text without markup."""

    type: Literal["number", "text"]
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: Sequence[str] = ()
    default: Value | None = None

    def fault(self, value: Value) -> str | None:
        """Why ``value`` is not allowed, or None."""
        if self.type == "number":
            if isinstance(value, bool) or not isinstance(value, int | float):
                return "is not a number"
            if self.minimum is not None and not value >= self.minimum:
                return f"is below {self.minimum:g} {self.unit}".rstrip()
            if self.maximum is not None and not value <= self.maximum:
                return f"is above {self.maximum:g} {self.unit}".rstrip()
            return None
        if self.choices:
            return None if value in self.choices else f"is none of {', '.join(self.choices)}"
        plain = value == self.default or (isinstance(value, str) and _is_name(value))
        return None if plain else "is not a short text without markup"


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and visible(text) == text


class ActionSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One action. ``sentence`` is what a human reads, with {target} and the parameters filled in."""

    description: str
    sentence: str
    risk: Literal["low", "medium", "high"]
    example: str
    parameters: dict[Annotated[str, Meta(pattern="^[a-z_]+$")], Parameter] = {}


class Catalogue:
    """The actions by name."""

    def __init__(self, actions: Mapping[str, ActionSpec]) -> None:
        self._actions = dict(actions)

    @property
    def names(self) -> list[str]:
        """Every action's name."""
        return list(self._actions)

    def get(self, name: str) -> ActionSpec:
        """The action called ``name``; KeyError when there is none."""
        return self._actions[name]

    def check(self, action: Action) -> None:
        """Raise `Rejected`, with the reason, unless the action is in the catalogue and within its bounds."""
        spec = self._actions.get(action.name)
        if spec is None:
            raise Rejected(f"action {action.name[:60]!r} is not in the catalogue")
        for name, value in action.parameters.items():
            if name not in spec.parameters:
                raise Rejected(f"{action.name} has no parameter {name[:60]!r}")
            fault = spec.parameters[name].fault(value)
            if fault:
                raise Rejected(f"{action.name}: {name} {fault}")
        for name, parameter in spec.parameters.items():
            if name not in action.parameters and parameter.default is None:
                raise Rejected(f"{action.name}: {name} is missing")

    def fault(self, action: Action) -> str | None:
        """Why `check` would raise, or None."""
        try:
            self.check(action)
        except Rejected as exc:
            return exc.reason
        return None

    def sentence(self, action: Action) -> str:
        """The action in words, as one sentence in one line, whatever its target is called."""
        spec = self._actions[action.name]
        values = {name: parameter.default for name, parameter in spec.parameters.items()} | action.parameters
        shown = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
        return " ".join(spec.sentence.format_map({"target": action.target, **shown}).split())


def load_catalogue(path: Path) -> Catalogue:
    """Read the catalogue. Raises `Misconfigured` naming what is wrong in it."""
    actions = read_yaml("ACTIONS_FILE", path, dict[str, ActionSpec])
    if ESCALATE not in actions:
        raise Misconfigured("ACTIONS_FILE", f"{path} lacks {ESCALATE}")
    for name, spec in actions.items():
        fault = _fault(spec)
        if fault:
            raise Misconfigured("ACTIONS_FILE", f"{path}: {name}: {fault}")
    return Catalogue(actions)


def _fault(spec: ActionSpec) -> str | None:
    """Why this action could not be said one day, or None: found at start and not at its first decision."""
    for name, parameter in spec.parameters.items():
        if name == "target":
            return "no parameter may be called target"
        fault = None if parameter.default is None else parameter.fault(parameter.default)
        if fault:
            return f"the default of {name} {fault}"
    try:
        spec.sentence.format_map(dict.fromkeys([*spec.parameters, "target"], ""))
    except KeyError as exc:
        return f"its sentence names {exc.args[0]!r}, which is no parameter"
    except (ValueError, IndexError, AttributeError) as exc:
        return f"its sentence cannot be filled in: {exc}"
    return None
