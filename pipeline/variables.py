"""A variable of the environment: how a setting is declared, and how its text is cast, or refused by its name."""

import math
from dataclasses import field
from pathlib import Path
from typing import Any

from pipeline.errors import Misconfigured

_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
PORTS = 65_535
"""The highest."""
DAY = 86_400
"""Seconds."""
_CENTURY = {"DAYS": 36_500, "HOURS": 36_500 * 24, "SECONDS": 36_500 * DAY, "TIMEOUT": 36_500 * DAY}
"""By the end of a variable's name, where no maximum is told: what is longer overflows a date or a timer."""


def setting(
    variable: str, default: Any, doc: str, *, secret: bool = False, minimum: float | None = None,
    maximum: float | None = None, cast: type | None = None,
) -> Any:  # fmt: skip
    """A field of the settings that is read from ``variable``, as the type of its default unless ``cast`` names one."""
    cast = cast or (str if default is None else type(default))
    if maximum is None:
        maximum = _CENTURY.get(variable.rpartition("_")[2])
    metadata = {"variable": variable, "doc": doc, "secret": secret, "bounds": (minimum, maximum), "cast": cast}
    return field(default=default, repr=not secret, metadata=metadata)


def listed(text: str) -> list[str]:
    """What stands between commas. Nothing is no element: as a secret it would be everybody's."""
    return [part for part in map(str.strip, text.split(",")) if part]


def cast_to(variable: str, raw: str, cast: type, minimum: float | None, maximum: float | None) -> Any:
    """The value of ``raw``. Raises `Misconfigured`."""
    if cast is bool:
        if raw.lower() not in _WORDS:
            raise Misconfigured(variable, f"{raw!r} is neither yes nor no")
        return _WORDS[raw.lower()]
    try:
        value = Path(raw).expanduser() if cast is Path else cast(raw)
    except ValueError:
        raise Misconfigured(variable, f"{raw!r} is no {'whole ' if cast is int else ''}number") from None
    if minimum is not None and isinstance(value, int | float):
        fault = _out_of_bounds(value, minimum, maximum)
        if fault:
            raise Misconfigured(variable, f"{raw} {fault}")
    return value


def _out_of_bounds(value: float, minimum: float, maximum: float | None) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "is not finite"
    if maximum is not None and not minimum <= value <= maximum:
        return f"is not from {minimum} to {maximum}"
    return f"is below {minimum}" if value < minimum else None
