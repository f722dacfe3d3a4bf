"""The register of cases. Each is a function of a `Ground`; its docstring says what is measured and is true."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.bench.ground import Ground
from tests.bench.result import Result

Play = Callable[[Ground, Result], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """``unit`` is that of its values."""

    name: str
    play: Play
    says: str
    unit: str

    def result(self, scale: float) -> Result:
        """Nothing found yet."""
        return Result(self.name, self.says, self.unit, scale)


CASES: dict[str, Case] = {}


def case(unit: str) -> Callable[[Play], Play]:
    """Register a function under its name."""

    def register(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        CASES[name] = Case(name, play, " ".join((play.__doc__ or "").split()), unit)
        return play

    return register
