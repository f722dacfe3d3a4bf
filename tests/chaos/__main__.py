"""`python -m tests.chaos SCENARIO --seed N`: play one scenario, or `all`; `--list` names them.

A run ends with one line of JSON. The exit code is 1 when a promise is broken, 3 when the broker cannot be had here.
"""

import argparse
import asyncio
import random
import sys

from tests import brokers
from tests.chaos.play import play
from tests.chaos.scenarios import SCENARIOS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenario", nargs="?", help="a name from --list, or: all")
    parser.add_argument("--list", action="store_true", help="name the scenarios and what they do")
    parser.add_argument("--seed", type=int, help="repeats a run; none: a new one, which is printed")
    parser.add_argument("--broker", choices=brokers.KINDS, default="embedded")
    parser.add_argument("--small", action="store_true", help="small counts, as with every run of the tests")
    parser.add_argument("--minutes", type=float, default=30, help="how long `soak` goes on")
    asked = parser.parse_args()
    if asked.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:<44} {scenario.says}  [{', '.join(scenario.brokers)}]")
        return 0
    chosen = [name for name in SCENARIOS if name != "soak"] if asked.scenario == "all" else [asked.scenario]
    if chosen[0] not in SCENARIOS:
        parser.error("name a scenario out of --list, or: all")
    return max(_played(name, asked) for name in chosen)


def _played(name: str, asked: argparse.Namespace) -> int:
    if asked.broker not in SCENARIOS[name].brokers:
        print(f"{name} is not played on {asked.broker}, but on: {', '.join(SCENARIOS[name].brokers)}")
        return 0 if asked.scenario == "all" else 3
    seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    try:
        verdict = asyncio.run(play(name, seed, asked.broker, small=asked.small, minutes=asked.minutes))
    except brokers.Missing as exc:
        print(f"no {asked.broker}: {exc}", file=sys.stderr)
        return 3
    print(verdict.line(), flush=True)
    return 0 if verdict.kept else 1


if __name__ == "__main__":
    sys.exit(main())
