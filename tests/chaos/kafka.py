"""Faults of Kafka and of the line to it."""

import asyncio

from tests.chaos.load import distinct, storm
from tests.chaos.proxy import Proxy
from tests.chaos.rig import Rig
from tests.chaos.scenarios import scenario
from tests.model_server import slow


@scenario(brokers=("apache", "cluster"))
async def broker_restart(rig: Rig) -> None:
    """Kafka is stopped under load and started again on its data: everything that it acknowledged is settled."""
    await rig.worker()
    async with rig.sending(storm(rig.chance, 3000, 60), 150):
        await rig.anomalies(600)
        await rig.broker.stop()
        await asyncio.sleep(rig.chance.uniform(1, 5))
        await rig.broker.start()
        rig.over()


@scenario(brokers=("apache", "cluster"))
async def broker_killed(rig: Rig) -> None:
    """Every node of Kafka is killed with -9 while decisions are under way, and started again on its data."""
    await rig.with_model(slow(0.5))
    await rig.worker()
    async with rig.sending(distinct(rig.chance, 400), 30):
        await rig.decisions(80)
        await rig.broker.kill()
        await rig.broker.start()
        rig.over()


@scenario(brokers=("apache", "cluster"))
async def broker_killed_under_feed_and_slack(rig: Rig) -> None:
    """Kafka is killed while the relay and the Slack role follow it, and comes back after some seconds: a client that
    stays connected is shown every decision once, and so is Slack.
    """
    await rig.with_slack()
    listener = await rig.with_relay()
    await rig.worker()
    await rig.run("slack")
    async with rig.sending(distinct(rig.chance, 30), 2):
        await rig.decisions(8)
        await rig.broker.kill()
        await asyncio.sleep(rig.chance.uniform(1, 6))
        await rig.broker.start()
        rig.over()
    rig.promise(listener.gaps == 0, f"{listener.gaps} times the client was told of a gap")


@scenario(brokers=("embedded",))
async def embedded_broker_restart(rig: Rig) -> None:
    """The embedded broker is stopped and forgets its topics. What was settled stays, counted once; a worker that is
    started on the new topics settles what is sent there. What was acknowledged and not settled is gone, as said.
    """
    worker = await rig.worker()
    await rig.send(storm(rig.chance, rig.many(1000, 200), 10))
    await rig.idle()
    await rig.send(storm(rig.chance, 300, 10, "half"))
    await rig.terminate(worker)
    await rig.forget()
    await rig.broker.stop()
    await rig.broker.start()
    await rig.worker()
    await rig.send(storm(rig.chance, 100, 10, "anew"))
    rig.over()


@scenario(brokers=("cluster",))
async def broker_leader_killed(rig: Rig) -> None:
    """The leader of an input partition is killed with -9 in a cluster of three, later the leader of an output's."""
    await rig.worker()
    async with rig.sending(storm(rig.chance, 4000, 100), 150):
        for count, topic in ((400, "anomalies"), (1600, "decisions")):
            await rig.anomalies(count)
            node = await rig.broker.kill_leader(topic, rig.chance.randrange(4))
            rig.say(f"killed node {node}, which led a partition of {topic}")
            await rig.anomalies(count + 300)
            await rig.broker.start()
        rig.over()


@scenario(fast=True, proxied=True)
async def kafka_line_cut(rig: Rig) -> None:
    """Every connection between the worker and Kafka is reset, and refused for some seconds, twice."""
    await rig.worker()
    line = _line(rig)
    count = rig.many(2000, 400)
    async with rig.sending(storm(rig.chance, count, 40), 150):
        for share in (0.2, 0.5):
            await rig.anomalies(int(count * share))
            line.hang_up()
            await asyncio.sleep(rig.chance.uniform(1, 4))
            line.heal()
        rig.over()
    rig.promise(line.broken > 0, "no connection was cut")


@scenario(proxied=True)
async def kafka_line_stalled(rig: Rig) -> None:
    """Nothing passes between the worker and Kafka for longer than a session, and the connections stay."""
    await _faulty(rig, "stall", 14)


@scenario(proxied=True)
async def kafka_line_half_open(rig: Rig) -> None:
    """What the worker says reaches Kafka, and no answer comes back, for longer than a session."""
    await _faulty(rig, "half_open", 14)


@scenario(proxied=True)
async def kafka_line_slow(rig: Rig) -> None:
    """Each piece between the worker and Kafka comes 50 ms late."""
    await _faulty(rig, "delay", 10)


@scenario(proxied=True)
async def kafka_line_drips(rig: Rig) -> None:
    """Between the worker and Kafka pass 2,000 bytes a second."""
    await _faulty(rig, "drip", 15)


def _line(rig: Rig) -> Proxy:
    assert rig.line is not None
    return rig.line


async def _faulty(rig: Rig, fault: str, seconds: float) -> None:
    await rig.with_model(slow(0.3))
    await rig.worker()
    line = _line(rig)
    async with rig.sending(storm(rig.chance, 800, 100), 40):
        await rig.anomalies(150)
        line.fault = fault
        await asyncio.sleep(seconds)  # the fault is the time itself
        line.heal()
        rig.over()
