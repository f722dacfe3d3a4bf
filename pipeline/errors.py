"""What can go wrong, by what is to be done about it.

PulseGuardError
├── Rejected        the input is bad and will never work: dead letter, with the reason
├── Unavailable     an outside system is away: wait, and try again
├── EngineFailed    the model gave no usable advice in time: the nearest-incident rule decides
└── Misconfigured   a setting is wrong or what it names does not answer: refuse to start, naming the variable

Anything else that is raised is a bug.
"""

from typing import Literal

from schemas import Usage

Failure = Literal["budget", "busy", "rate", "circuit", "call", "answer"]
"""Why there is no advice: the day's budget is spent, all slots are taken, a rate is reached, the model is left alone,
its call failed, or its answer was refused."""


class PulseGuardError(Exception):
    """The root of the tree above."""


class Rejected(PulseGuardError):
    """Bad input. ``reason`` is one sentence for the dead letter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unavailable(PulseGuardError):
    """An outside system (``system``: postgres, qdrant, kafka, slack) is away. ``retry_after``: seconds, if it said."""

    def __init__(self, system: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{system}: {detail}")
        self.system = system
        self.detail = detail
        self.retry_after = retry_after


class EngineFailed(PulseGuardError):
    """The model gave no usable advice. ``reason`` becomes `fallback_reason`; ``usage`` is what it cost."""

    def __init__(self, failure: Failure, reason: str, usage: Usage | None = None) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason
        self.usage = usage or Usage()


class Misconfigured(PulseGuardError):
    """A setting is wrong. ``variable`` names it, ``mend`` says what to do."""

    def __init__(self, variable: str, detail: str, mend: str = "") -> None:
        super().__init__(f"{variable}: {detail}" + (f" ({mend})" if mend else ""))
        self.variable = variable
        self.detail = detail
        self.mend = mend
