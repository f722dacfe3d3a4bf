"""When a process is not well, and when it only waits."""

import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from prometheus_client import REGISTRY

from pipeline import metrics, watch
from pipeline.catalogue import load_catalogue
from pipeline.confidence import load_calibration
from pipeline.errors import EngineFailed, Unavailable
from pipeline.handover import Place
from pipeline.kafka import Message
from pipeline.stages.decide import advised
from pipeline.stages.publish import bury
from pipeline.watch import SILENT_SECONDS, STALLED_SECONDS, Health, Stall, WorkerWatch
from tests.program import ROOT, free_port
from tests.unit.test_prompt import asked

A, B = ("anomalies", 0), ("anomalies", 1)
LATER = STALLED_SECONDS + 1


@pytest.mark.parametrize(
    ("before", "after", "end", "stalled"),
    [
        (Place(5, idle=True), Place(5, idle=True), 9, True),
        (Place(None, idle=True), Place(None, idle=True), 9, True),
        (Place(5, idle=True), Place(7, idle=True), 9, False),
        (Place(9, idle=True), Place(9, idle=True), 9, False),
        (Place(None, idle=True), Place(None, idle=True), 0, False),
        (Place(5, idle=False), Place(5, idle=False), 9, False),
        (Place(5, idle=False), Place(5, idle=True), 9, False),
        (Place(5, idle=True), Place(5, idle=False), 9, False),
    ],
)  # fmt: skip
def test_a_partition_has_stalled_when_records_wait_and_nothing_is_under_way(
    before: Place, after: Place, end: int, stalled: bool
):
    """One that moves, one that is level and one whose stage waits for an outage to end have not."""
    stall = Stall()
    assert stall.look({A: before}, {A: end}, 0.0) is None
    found = stall.look({A: after}, {A: end}, LATER)
    assert found == ("nothing is fetched from anomalies[0], though records wait" if stalled else None)


def test_partitions_are_told_apart():
    """One that is served does not hide another one that is not."""
    stall = Stall()
    for now, done in ((0.0, 5), (LATER, 6)):
        found = stall.look({A: Place(done, idle=True), B: Place(1, idle=True)}, {A: 9, B: 9}, now)
    assert found == "nothing is fetched from anomalies[1], though records wait"


def test_what_the_broker_does_not_say_proves_nothing():
    """After an outage of the broker the time begins anew."""
    stall = Stall()
    waiting = {A: Place(5, idle=True)}, {A: 9}
    assert stall.look(*waiting, 0.0) is None
    stall.forget()
    assert stall.look(*waiting, LATER) is None
    assert stall.look(*waiting, 2 * LATER + 1) is not None


def test_a_worker_without_partitions_is_spare_unless_nobody_has_them():
    """More workers than partitions are no fault; a group that never comes to be is one."""
    stall = Stall()
    assert [stall.look_outside(now, joined=True) for now in (0.0, LATER)] == [None, None]
    assert stall.look_outside(LATER, joined=False) is None
    assert stall.look_outside(2 * LATER + 1, joined=False) is not None


def test_a_process_that_does_not_come_round_is_not_well():
    """The thread that is asked lives on when the program hangs."""
    now = [0.0]
    health = Health(lambda: now[0])
    said = [health.fault()]
    health.came_round()
    for now[0] in (SILENT_SECONDS, SILENT_SECONDS + 1):
        said.append(health.fault())
    health.came_round("stalled")
    said.append(health.fault())
    assert said == [None, None, "nothing has moved for 61 s", "stalled"]


class Behind:
    """A broker that says these ends, or is away."""

    def __init__(self, ends: dict[watch.Where, int] | None) -> None:
        self.known = ends

    async def ends(self, places: Any) -> dict[watch.Where, int]:
        if self.known is None:
            raise Unavailable("kafka", "away")
        return {where: self.known[where] for where in places}

    async def is_joined(self, _: str) -> bool:
        return True


def watching(behind: Behind, places: Callable[[], Mapping[watch.Where, Place]], health: Health) -> WorkerWatch:
    return WorkerWatch(health, behind, "group", {"anomalies": "enrich"}, places)  # type: ignore[arg-type]


def shown(partition: int) -> float | None:
    labels = {"stage": "enrich", "topic": "anomalies", "partition": str(partition)}
    return REGISTRY.get_sample_value("pulseguard_lag", labels)


async def test_the_lag_is_shown_while_a_partition_is_held():
    """What went to another worker is no more ours to tell of."""
    held = {A: Place(5, idle=True), B: Place(9, idle=False)}
    look = watching(Behind({A: 9, B: 9}), lambda: held, Health())
    await look()
    assert (shown(0), shown(1)) == (4, 0)
    del held[A]
    await look()
    assert (shown(0), shown(1)) == (None, 0)
    held.clear()
    await look()
    assert shown(1) is None


async def test_an_outage_of_the_broker_is_no_fault_of_the_process():
    """A restart would mend nothing."""
    health = Health()
    with pytest.raises(Unavailable):
        await watching(Behind(None), lambda: {A: Place(5, idle=True)}, health)()
    assert health.fault() is None


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def test_health_is_served_beside_the_metrics():
    """200, or 503 with what is amiss: what a probe needs of a role that speaks no HTTP."""
    found: list[str] = []
    port = free_port()
    with metrics.served("127.0.0.1", port, lambda: found[0] if found else None):
        assert ask(port, "/healthz") == (200, "ok\n")
        found.append("stalled")
        assert ask(port, "/healthz") == (503, "stalled\n")
        status, text = ask(port, "/metrics")
    assert status == 200
    assert 'pulseguard_dead_letters_total{reason="refused"}' in text


class Grave:
    async def send(self, *_: Any) -> None:
        """Take it."""


async def test_every_dead_letter_is_counted_whoever_writes_it():
    """Those of the Slack role, too."""

    def counted() -> float | None:
        return REGISTRY.get_sample_value("pulseguard_dead_letters_total", {"reason": "refused"})

    before = counted() or 0.0
    await bury(Grave(), "dlq", Message("decisions", 0, 1, None, b"{}", [], 0), "refused", "why")  # type: ignore[arg-type]
    assert counted() == before + 1


class Failing:
    """A model that gives no advice."""

    async def advise(self, *_: Any) -> Any:
        raise EngineFailed("budget", "the day's budget is spent")


async def test_why_the_rule_decides_in_place_of_the_model_is_counted_by_kind():
    """The reason in the decision is a sentence; an alert needs one of a few."""

    def counted() -> float:
        return REGISTRY.get_sample_value("pulseguard_fallbacks_total", {"reason": "budget"}) or 0.0

    before, catalogue = counted(), load_catalogue(ROOT / "deploy" / "actions.yaml")
    advice = await advised(asked(), catalogue, load_calibration(None), 0.5, Failing(), [])  # type: ignore[arg-type]
    assert (advice.engine, advice.fallback_reason) == ("nearest", "the day's budget is spent")
    assert counted() == before + 1
