"""Plays a scenario and gives its account."""

import json
import time
import traceback
from dataclasses import dataclass

from tests.chaos import (  # noqa: F401 - they register
    feed,
    kafka,
    model,
    postgres,
    producers,
    qdrant,
    slack,
    soak,
    workers,
)  # fmt: skip
from tests.chaos.ledger import Account
from tests.chaos.rig import rigged
from tests.chaos.scenarios import SCENARIOS


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended. ``kept``: every promise holds."""

    scenario: str
    seed: int
    broker: str
    account: Account
    recovery_s: float | None

    @property
    def kept(self) -> bool:
        return not self.account.broken

    def line(self) -> str:
        """The last line of a run: one JSON object."""
        account = self.account
        return json.dumps(
            {
                "scenario": self.scenario, "seed": self.seed, "broker": self.broker, "sent": account.sent,
                "settled": account.settled, "lost": account.lost, "extra_occurrences": account.extra_occurrences,
                "duplicate_decisions": account.duplicate_decisions, "duplicate_messages": account.duplicate_messages,
                "recovery_s": self.recovery_s,
            }
        )  # fmt: skip


async def play(name: str, seed: int, kind: str, *, small: bool = False, minutes: float = 30) -> Verdict:
    """Play one scenario. Whatever ends it early is a broken promise too: a run that stopped has proved nothing."""
    scenario = SCENARIOS[name]
    print(f"{name} on {kind}, seed {seed}: {scenario.says}", flush=True)
    began = time.monotonic()
    async with rigged(kind, seed, small=small, minutes=minutes, proxied=scenario.proxied) as rig:
        try:
            await scenario.play(rig)
            played = rig.healed or time.monotonic()
            account = await rig.settle()
            if not account.sent:
                account.broken.append("Kafka acknowledged nothing: there is nothing to judge")
        except Exception as exc:  # noqa: BLE001 - whatever it is, the account has to say so
            traceback.print_exception(exc)
            played, account = time.monotonic(), await rig.settle(seconds=0)
            account.broken.append(f"the scenario could not be played to its end: {exc!s:.300}")
        unsure = len(rig.ledger.refused)
        recovery = round(time.monotonic() - played, 1)
        if account.broken:
            print(rig.last_words(), flush=True)
    print(
        f"  {account.sent} acknowledged by Kafka, {account.settled} settled, {account.lost} lost; "
        f"{account.seen_again} decisions published again; {time.monotonic() - began:.0f} s"
    )
    if unsure:
        print(
            f"  {unsure} were not acknowledged: they may be there or not, and the counts of their faults are not judged"
        )
    for sentence in account.broken:
        print(f"  BROKEN: {sentence}")
    return Verdict(name, seed, kind, account, recovery)
