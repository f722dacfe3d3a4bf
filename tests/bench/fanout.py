"""The relay's fan-out: deliveries of decisions to websocket clients, beside Node's `ws`."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator

import websockets

from tests.bench.cases import case
from tests.bench.environments import PEERS, NotHere, node_with_ws
from tests.bench.ground import OURS_SECONDS, Ground, cpu_of, stop
from tests.bench.result import Kind, Result
from tests.program import Program, free_port

CLIENTS, MESSAGES = 200, 2000
_PATH = "/ws/incidents?types=decision"


@case("deliveries/s")
async def relay(ground: Ground, result: Result) -> None:
    """2,000 decisions to 200 websocket clients that read; Node's ws gets them from a client, ours out of Kafka."""
    told = await ground.anew()
    port = free_port()
    program = await ground.run("relay", told | {"RELAY_PORT": str(port)})
    messages = list(decisions(ground.many(MESSAGES)))

    async def into_kafka() -> None:
        await ground.send(told["TOPIC_DECISIONS"], messages)

    await _fan_out(ground, result, "ours", "run relay, a message each", program, port, _PATH, into_kafka)
    messages = list(decisions(ground.many(MESSAGES), "again"))
    await _fan_out(ground, result, "ours", "run relay, batch=1", program, port, f"{_PATH}&batch=1", into_kafka)
    await stop(program)
    if ground.peers:
        await _node(ground, result, messages)


async def _node(ground: Ground, result: Result, messages: list[bytes]) -> None:
    name = "Node ws, a message each"
    try:
        node, folder = await node_with_ws()
    except NotHere as exc:
        result.add("peers", name, None, note=str(exc))
        return
    port = free_port()
    program = ground.spawn([node, str(PEERS / "relay.mjs"), str(port)], {"BENCH_NODE": str(folder)})
    await program.says("ready")

    async def through_a_client() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as line:
            for message in messages:
                await line.send(message.decode())
            await line.ping()

    await _fan_out(ground, result, "peers", name, program, port, "/", through_a_client)
    await stop(program)


async def _fan_out(
    ground: Ground, result: Result, kind: Kind, name: str, program: Program, port: int, path: str,
    publish: Callable[[], Awaitable[None]],
) -> None:  # fmt: skip
    """Connect the clients, publish, and wait until each has each message."""
    each = ground.many(MESSAGES)
    clients = ground.many(CLIENTS, 20)
    module = [sys.executable, "-m", "tests.bench.peers.receivers", str(port), path, str(clients), str(each)]
    receivers = ground.spawn(module, {})
    await receivers.says("connected")
    cpu = cpu_of([program])
    await publish()
    try:
        await asyncio.to_thread(receivers.process.wait, OURS_SECONDS)
    except subprocess.TimeoutExpired:
        result.add(kind, name, None, note=f"not done within {OURS_SECONDS:g} s")
        return
    said = json.loads(receivers.output.strip().splitlines()[-1])
    spent = (cpu_of([program]) - cpu) / max(said["deliveries"], 1) * 1e6
    missing = clients * each - said["deliveries"]
    note = f"{missing:,} deliveries missing, {said['dropped']} clients dropped" if missing else ""
    value = said["deliveries"] / said["seconds"] if said["seconds"] else None
    result.add(kind, name, value, cpu_us=spent, note=note)


def decisions(count: int, mark: str = "first") -> Iterator[bytes]:
    """About a kilobyte each."""
    for number in range(count):
        evidence = [
            {"incident_id": f"inc-{each}", "title": "Connection pool exhausted after a deployment", "score": 0.71}
            for each in range(5)
        ]
        body = {
            "id": f"dec_{mark}{number:016x}", "episode_id": f"ep_{number:020x}", "revision": 1, "service": "checkout",
            "error_type": "connection_pool_exhausted", "severity": "critical", "verdict": "recommend",
            "recommended_action": "Restart checkout, one instance at a time.", "confidence_score": 0.83,
            "rationale": "As in inc-0: the pool was exhausted after a deployment, and a rolling restart mended it.",
            "evidence": evidence, "occurrences": 12, "engine": "nearest", "latency_ms": 41.7,
        }  # fmt: skip
        yield json.dumps(body, separators=(",", ":")).encode()
