"""`python -m tests.bench CASE`: measure one case, or `all`; `--list` names them.

Ours, the peers and the floor run on one machine, one broker and one PostgreSQL, one after the other in the same run:
only the ratios mean something. Nothing is asserted on times.
"""

import argparse
import asyncio
import sys

from rich.console import Console

from tests import brokers
from tests.bench import counting, deciding, fanout  # noqa: F401 - they register
from tests.bench.cases import CASES
from tests.bench.ground import opened
from tests.bench.result import Result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("case", nargs="?", help="a name from --list, or: all")
    parser.add_argument("--list", action="store_true", help="name the cases and what they measure")
    parser.add_argument("--json", action="store_true", help="end each case with one line of JSON")
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the full size, such as 0.01")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long one contestant may take")
    parser.add_argument("--no-peers", action="store_true", help="ours only")
    parser.add_argument("--broker", choices=brokers.KINDS, default="embedded")
    asked = parser.parse_args()
    if asked.list:
        for name, case in CASES.items():
            print(f"{name:<9} {case.says}  [{case.unit}]")
        return 0
    chosen = list(CASES) if asked.case == "all" else [asked.case]
    if chosen[0] not in CASES:
        parser.error("name a case out of --list, or: all")
    console = Console(width=None if sys.stdout.isatty() else 150)
    for name in chosen:
        try:
            result = asyncio.run(_measured(name, asked))
        except brokers.Missing as exc:
            print(f"no {asked.broker}: {exc}", file=sys.stderr)
            return 3
        result.show(console)
        if asked.json:
            print(result.line(), flush=True)
    return 0


async def _measured(name: str, asked: argparse.Namespace) -> Result:
    case = CASES[name]
    result = case.result(asked.scale)
    print(f"{name} on {asked.broker}, scale {asked.scale:g}: {case.says}", flush=True)
    peers = not asked.no_peers
    async with opened(asked.broker, scale=asked.scale, peers=peers, seconds=asked.seconds) as ground:
        await case.play(ground, result)
    return result


if __name__ == "__main__":
    sys.exit(main())
